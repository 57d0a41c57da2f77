"""Short trainings against full ones: order, choice of points, what is said of them, and what is refused."""

from __future__ import annotations

from dataclasses import replace
from itertools import permutations
from pathlib import Path
from statistics import fmean

import pytest

from objectives.fid import Fid
from search import preparation
from search.validate import main
from search.validation.finding import Validation
from search.validation.order import Figure, order
from search.validation.work import Reached, Workers, chosen
from search.views import StudyViews
from tests.search.study_folder import EXTRACTOR, study_folder
from trainers.errors import UserError


def figures(*values: float, stderr: float = 0.0) -> list[Figure]:
    return [Figure(value=value, stderr=stderr) for value in values]


@pytest.fixture(scope="module")
def views(tmp_path_factory: pytest.TempPathFactory) -> StudyViews:
    return StudyViews.open(study_folder(tmp_path_factory.mktemp("study") / "pruning", confirmed=True))


def reached(views: StudyViews, fids: list[float], *, by: str = EXTRACTOR, **costs: float) -> list[Reached]:
    """Points of the front that came to these FIDs in full training."""
    found = []
    for trial, fid in zip(chosen(views, len(fids)), fids, strict=True):
        measured = {name: {"value": trial.value(name), "stderr": 0.0, "by": ""} for name in ("size_mb", "macs_g")}
        measured["latency_ms"] = {"value": 21.0, "stderr": 0.2, "by": "cpu"}
        measured["fid"] = {"value": fid, "stderr": 0.3, "by": by}
        measured |= {name: {"value": value, "stderr": 0.0, "by": ""} for name, value in costs.items()}
        found.append(Reached(trial=trial, folder=Path(), record={"measurements": measured, "seconds": 60.0}))
    return found


def test_pairs_that_the_trials_told_apart_and_their_order() -> None:
    # 10 and 10.5 differ by less than 2 * 0.4 * sqrt(2); of the other five pairs, only (20, 30) changes places.
    found = order(figures(10, 10.5, 20, 30, stderr=0.4), figures(4, 3, 9, 8))
    assert (found.told_apart, found.kept) == (5, 4)
    assert found.kendall == pytest.approx(2 / 6) and found.low is None


def test_chance_is_the_share_of_orders_that_are_as_good() -> None:
    short = figures(1, 2, 3, 4, 5)
    taus = [order(short, figures(*other)).kendall for other in permutations(range(5))]
    found = order(short, figures(1, 2, 4, 3, 5))
    assert found.kendall is not None
    as_good = fmean(tau is not None and tau >= found.kendall - 1e-9 for tau in taus)
    assert found.chance == pytest.approx(as_good) and found.kendall == pytest.approx(0.8)


def test_five_points_in_perfect_order_are_no_certainty() -> None:
    found = order(figures(1, 2, 3, 4, 5), figures(5, 6, 7, 8, 9))
    assert found.kendall == pytest.approx(1) and found.high == pytest.approx(1)
    assert found.low is not None and 0 < found.low < 0.9
    assert found.chance == pytest.approx(1 / 120) and found.spearman.spearman == 1.0


def test_equal_values_have_no_order() -> None:
    found = order(figures(3, 3, 3), figures(1, 2, 3))
    assert found.kendall is None and found.chance is None and found.spearman.spearman is None


def test_points_are_spread_from_the_best_to_the_worst(views: StudyViews) -> None:
    fids = sorted(point.values["fid"] for point in views.front.points)
    assert len(fids) >= 6
    found = [trial.value("fid") for trial in chosen(views, 4)]
    assert found == sorted(found) and (found[0], found[-1]) == (fids[0], fids[-1]) and len(set(found)) == 4
    assert [trial.value("fid") for trial in chosen(views, 1_000)] == fids


def test_a_front_of_one_has_no_order(views: StudyViews) -> None:
    alone = replace(views, front=replace(views.front, points=views.front.points[:1]))
    with pytest.raises(UserError, match="has 1 points on its front; an order needs two"):
        chosen(alone, 5)


def test_nothing_is_written_through_a_link(tmp_path: Path) -> None:
    study, elsewhere = study_folder(tmp_path / "study", trials=4), tmp_path / "elsewhere"
    elsewhere.mkdir()
    (study / "validation").symlink_to(elsewhere)
    with pytest.raises(UserError, match="validation is a link that leads out"):
        main(study)
    assert not list(elsewhere.iterdir())


def test_points_of_no_complete_trial_are_left_out(views: StudyViews) -> None:
    """``front.json`` and ``trials.jsonl`` may be of different days, or a stranger's."""
    first, *others = views.front.points
    strange = [replace(first, trial=10_000), *others]
    found = chosen(replace(views, front=replace(views.front, points=strange)), 1_000)
    assert {trial.number for trial in found} == {point.trial for point in others}


def test_the_answer_and_the_table_say_what_became_of_the_order(views: StudyViews) -> None:
    kept = Validation.of(views, reached(views, [5, 6, 7, 8, 9]), images=100_000)
    assert kept.answer().startswith("The order of the trials survives full training: Kendall's tau 1.00")
    assert "once in 120 times" in kept.answer()
    turned = Validation.of(views, reached(views, [9, 8, 7, 6, 5]), images=100_000)
    assert turned.answer().startswith("The order of the trials does not survive full training")
    few = Validation.of(views, reached(views, [5, 6, 7]), images=100_000)
    assert few.answer().startswith("The order looks alike, but 3 points are too few")
    assert [row[4:6] for row in turned.rows()] == [["1", "5"], ["2", "4"], ["3", "3"], ["4", "2"], ["5", "1"]]
    assert kept.points[0].ratio == 5 / kept.points[0].short.value
    assert "100,000 images each in place of 24,000" in kept.notes()[0]
    assert kept.panels()[0].figure["data"][0]["y"] == [5, 6, 7, 8, 9]


def test_the_confirmed_value_counts(views: StudyViews) -> None:
    found = Validation.of(views, reached(views, [5, 6]), images=100_000)
    trial = chosen(views, 2)[0]
    assert found.points[0].short.value == trial.confirmed["fid"].value != trial.values["fid"]


def test_a_cost_that_changed_is_marked(views: StudyViews) -> None:
    found = Validation.of(views, reached(views, [5, 6], size_mb=77.0), images=100_000)
    assert [point.changed for point in found.points] == [("size_mb",)] * 2
    assert found.rows()[0][found.headings().index("size_mb")].endswith("*") and found.notes()[-1].startswith("* not")


def test_figures_of_other_extractors_are_not_compared(views: StudyViews) -> None:
    with pytest.raises(UserError, match=f"measured by '{EXTRACTOR}' in the study and by 'inception' in full"):
        Validation.of(views, reached(views, [5, 6], by="inception"), images=100_000)


def test_what_could_not_be_compared_is_refused_before_it_is_trained(
    views: StudyViews, repository: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def trained(self: Workers, trial: object, slots: object) -> None:
        raise AssertionError("it was trained")

    monkeypatch.setattr(Workers, "_export", lambda self, trial: None)
    monkeypatch.setattr(Workers, "_train", trained)
    monkeypatch.setattr(preparation, "planned_teacher", lambda space: None)
    monkeypatch.setattr(preparation, "load_images", lambda space, teacher: None)
    monkeypatch.setattr(Fid, "measured_by", lambda self, images, cache: "inception")
    monkeypatch.setattr(StudyViews, "space_file", repository / "spaces" / "pruning_ratios.yaml")
    elsewhere = replace(views, folder=tmp_path)
    crew = Workers(views=elsewhere, images=9, count=1, cpu=1, devices=0, on_line=lambda number, line: None)
    with pytest.raises(UserError, match=f"measured by '{EXTRACTOR}' in the study and by 'inception' in full"):
        list(crew.train(chosen(views, 2)))


@pytest.mark.parametrize("values", [(0.0, -0.001), (0.0, 0.002)])
def test_a_value_that_may_be_zero_has_no_ratio(views: StudyViews, values: tuple[float, float]) -> None:
    found = Validation.of(views, reached(views, [5, 6]), images=100_000)
    short = [replace(point, short=Figure(value=value)) for point, value in zip(found.points, values, strict=True)]
    found = replace(found, points=tuple(short))
    assert [row[3] for row in found.rows()] == ["-", "3000.00" if values[1] > 0 else "-"]
    assert ("times the trial's" in found.answer()) == (values[1] > 0)
    assert found.as_json()["points"][0]["ratio"] is None


@pytest.mark.parametrize("measured", [{}, {"fid": 3}, {"fid": {"value": 3.0}}, []])
def test_a_damaged_measurement_is_one_message(views: StudyViews, measured: object) -> None:
    found = [replace(one, record={"measurements": measured, "seconds": 1.0}) for one in reached(views, [5, 6])]
    with pytest.raises(UserError, match=r"measurements\.json is damaged\. Remove its folder"):
        Validation.of(views, found, images=100_000)


@pytest.mark.parametrize(
    ("options", "message"),
    [({"points": 1}, "--points must be at least 2, got 1"), ({"images": 0}, "--images must be at least 1, got 0")],
)
def test_senseless_numbers_are_refused(views: StudyViews, options: dict[str, int], message: str) -> None:
    with pytest.raises(UserError, match=message):
        main(views.folder, **options)  # type: ignore[arg-type]
