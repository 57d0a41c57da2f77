"""What a study teaches: importance and effect of knobs against known functions, its course, and what it foretells."""

from __future__ import annotations

import json
import math
import random
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from search.front_file import relative_volume
from search.insight.course import course
from search.insight.effects import effect
from search.insight.forecast import forecast
from search.insight.importance import drawn, importances
from search.insight.proposal import proposal
from search.insight.study_model import StudyModel, study_model
from search.insight.wording import how, knob_sentences
from search.preparation import planned_teacher
from search.report.history import history_figures, history_section, history_sentences
from search.report.knobs import knob_figures, knobs_section
from search.report.page import page
from search.space import Space
from search.views import PointView, StudyViews, TrialView
from tests.search.insight_study import LIMITS, known_study, log_fid
from tests.search.study_folder import trial, write_views

MID, UP = "prune.ratio.mid", "prune.ratio.up_0"
THRESHOLD, CRITERION = "prune.criterion.diff_pruning.threshold", "prune.criterion"
RATE, BITS = "distil.learning_rate", "quantize.bits"


@pytest.fixture(scope="module")
def views(tmp_path_factory: pytest.TempPathFactory) -> StudyViews:
    return known_study(tmp_path_factory.mktemp("study") / "known")


@pytest.fixture(scope="module")
def model(views: StudyViews) -> StudyModel:
    found = study_model(views)
    assert found is not None and found.process is not None
    return found


def part_of(views: StudyViews, count: int, *, finished: bool = False) -> StudyViews:
    return replace(views, trials=views.trials[:count], front=replace(views.front, finished=finished))


def test_importances_are_the_total_indices_of_the_true_function(model: StudyModel) -> None:
    generator = random.Random(5)
    values = [log_fid(model.space.random_candidate(generator)) for _ in range(20_000)]
    variance = np.var(values)
    # Each knob's own variance: a uniform effect of height h has h^2 / 12, a choice of two with distance d d^2 / 4. The
    # threshold exists in one half, where its height is 0.6; where the criterion changes, it goes with its mean.
    jump = (0.2 - 0.3) ** 2 + 0.6**2 / 12
    true = {MID: 1 / 12, UP: 0.3**2 / 12, THRESHOLD: 0.5 * 0.6**2 / 12, CRITERION: jump / 4, RATE: 0.0, BITS: 0.0}
    found = {each.knob: each for each in importances(model)}
    assert set(found) == set(true)
    for knob, amount in true.items():
        assert found[knob].share == pytest.approx(amount / variance, abs=0.06), knob
        assert found[knob].low <= found[knob].share <= found[knob].high
    assert importances(model)[0].knob == MID
    assert found[THRESHOLD].exists == 0.5 and found[UP].exists == 1


def test_effects_follow_the_true_function(model: StudyModel) -> None:
    rising = effect(model, MID)
    assert rising.values[0] == 0 and rising.values[-1] == 0.8
    assert rising.expected[-1] / rising.expected[0] == pytest.approx(math.e, rel=0.1)
    assert all(
        low < expected < high for low, expected, high in zip(rising.low, rising.expected, rising.high, strict=True)
    )
    flat = effect(model, RATE)
    assert flat.is_log and max(flat.expected) / min(flat.expected) < 1.06
    # Where the choice is diff_pruning the threshold is drawn at random as well: 0.3 on average, against 0.2.
    choice = effect(model, CRITERION)
    at = dict(zip(choice.values, choice.expected, strict=True))
    assert at["diff_pruning"] / at["magnitude"] == pytest.approx(math.exp(0.1), rel=0.05)


def test_words_say_what_matters_most_and_how(model: StudyModel) -> None:
    said = list(knob_sentences(model))
    assert said[0].startswith(f"{MID} matters most: it has a hand in ")
    assert "FID gets worse beyond 0" in said[0]
    assert "R² 0.9" in said[-1] and "40 full trainings" in said[-1]
    assert "best at diff_pruning" in how(model, CRITERION) or "best at magnitude" in how(model, CRITERION)


def test_nothing_is_said_of_knobs_where_results_are_noise(tmp_path: Path) -> None:
    views = known_study(tmp_path / "noise", trials=20, noise=0.5, of=lambda candidate: 3.0, seed=2)
    model = study_model(views)
    assert model is not None and model.process is None
    assert importances(model) == () and knob_figures(views) == []
    assert "cannot be said yet" in str(knobs_section(views, figure=0))
    assert forecast(model, 5) is None and proposal(model, {}, better_than=None) is None


def test_draws_have_the_mean_and_covariance_of_the_process(model: StudyModel) -> None:
    assert model.process is not None
    rows = model.knobs.spread(np.random.default_rng(0).random((12, len(model.knobs.names))))
    features = model.knobs.features(rows)
    mean, covariance = model.process.posterior(features)
    expected, deviation = model.process.predict(features)
    np.testing.assert_allclose(mean, expected)
    np.testing.assert_allclose(np.sqrt(np.diag(covariance)), deviation, rtol=1e-4)
    values = drawn(mean, covariance, count=20_000, seed=1)
    np.testing.assert_allclose(values.mean(axis=0), mean, atol=4 * deviation.max() / math.sqrt(20_000))
    np.testing.assert_allclose(np.cov(values.T), covariance, atol=0.05 * np.diag(covariance).max())


def test_study_without_enough_to_learn_from_has_no_model(views: StudyViews, tmp_path: Path) -> None:
    assert study_model(part_of(views, 7)) is None
    assert study_model(replace(views, folder=tmp_path)) is None
    other = [replace(each, by={"fid": str(each.number % 2)}) for each in views.trials]
    assert study_model(replace(views, trials=other)) is None
    (tmp_path / "space.yaml").write_text((views.folder / "space.yaml").read_text().replace("[32, 8, 4]", "[32, 16]"))
    assert study_model(replace(views, folder=tmp_path)) is None, "the space was edited since"


def test_running_study_is_fitted_again_when_a_quarter_more_is_known(views: StudyViews) -> None:
    ten = study_model(part_of(views, 10))
    assert ten is not None and ten.learned.trials == 10
    assert study_model(part_of(views, 11)) is ten
    twelve = study_model(part_of(views, 13))
    assert twelve is not None and twelve.learned.trials == 12
    ended = study_model(part_of(views, 13, finished=True))
    assert ended is not None and ended.learned.trials == 13


def test_long_study_is_fitted_to_a_part_with_its_front(views: StudyViews, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("search.insight.study_model._AT_MOST", 12)
    points = [PointView(trial=each.number, values={}) for each in views.trials[20:23]]
    found = study_model(replace(views, front=replace(views.front, points=points)))
    assert found is not None
    numbers = [each.number for each in found.views.complete]
    assert {0, 39, 20, 21, 22} <= set(numbers) and 12 <= len(numbers) <= 15


def test_course_is_the_hypervolume_of_what_was_there(views: StudyViews) -> None:
    names = [objective.name for objective in views.front.objectives]
    bounds = np.array([LIMITS[name] for name in names])
    went = course(views)
    for count in (1, 7, 40):
        values = np.array([[each.value(name) for name in names] for each in views.trials[:count]])
        expected = relative_volume(values[(values <= bounds).all(axis=1)], bounds)
        assert went.volumes[count - 1] == pytest.approx(expected, rel=1e-9)
    assert went.trainings[-1] == 40 and went.hours[-1] == pytest.approx(200 / 3600)


def test_course_counts_parts_of_stopped_trials_but_not_their_values(tmp_path: Path) -> None:
    records = [
        trial(0, fid=30.0),
        trial(1, fid=1.0, state="stopped", images=6_000),
        trial(2, fid=25.0, seconds=20.0),
        trial(3, state="rejected", seconds=0.0),
    ]
    went = course(StudyViews.open(write_views(tmp_path / "study", records, seconds=3600.0)))
    assert (went.trials, went.trainings) == ([0, 2], [1.0, 2.25])
    assert went.hours == [0.25, 1.0]
    assert 0 < went.volumes[0] < went.volumes[1] < 0.6


def test_forecast_is_corrected_by_what_became_of_earlier_ones(model: StudyModel) -> None:
    found = forecast(model, 10)
    assert found is not None and found.gain > 0 and found.spread > 0
    volumes = course(model.views).volumes
    assert [each.trainings for each in found.hindsights] == [20, 10]
    assert [each.came for each in found.hindsights] == pytest.approx(
        [volumes[-1] - volumes[19], volumes[-1] - volumes[29]]
    )
    promised = [each.promised for each in found.hindsights]
    parts = [min(1.0, each.came / each.promised) for each in found.hindsights]
    assert found.kept == pytest.approx(np.average(parts, weights=promised))
    more = forecast(model, 20)
    assert more is not None and more.gain > found.gain
    assert forecast.__wrapped__(model, 10) == found, "the same study has the same forecast"


def test_hindsight_knows_nothing_of_what_came_later(views: StudyViews) -> None:
    def better(each: TrialView) -> TrialView:
        return replace(each, values={**each.values, "fid": 0.8 * each.value("fid")}) if each.number >= 30 else each

    later = [better(each) for each in views.trials]
    changed = study_model(replace(views, trials=later))
    unchanged = study_model(views)
    assert changed is not None and unchanged is not None
    one, other = forecast(changed, 5), forecast(unchanged, 5)
    assert one is not None and other is not None
    assert one.hindsights[1].promised == other.hindsights[1].promised
    assert one.hindsights[1].came > other.hindsights[1].came


def test_proposal_fits_and_is_better_than_what_was_tried(tmp_path: Path) -> None:
    bound = 0.1
    views = known_study(tmp_path / "few", trials=24, is_within=lambda values: values["size_mb"] > bound)
    model = study_model(views)
    assert model is not None
    found = proposal(model, {"size_mb": bound}, better_than=None)
    assert found is not None and found.chance is None
    space = Space.read(views.folder / "space.yaml")
    spec = space.fill(found.candidate).plan(planned_teacher(space))
    assert found.costs["size_mb"] == space.named_objectives["size_mb"].predict(spec, None)  # type: ignore[arg-type]
    assert found.costs["size_mb"] <= bound
    assert found.low < math.exp(log_fid(found.candidate)) < found.high
    assert found.candidate not in [each.candidate for each in views.trials]
    # Any random candidate that fits is expected to be worse.
    rows = model.knobs.spread(np.random.default_rng(1).random((3_000, len(model.knobs.names))))
    fitting = rows[(model.costs_NK(rows)[:, 0] <= bound) & (model.costs_NK(rows)[:, 1] <= LIMITS["latency_ms"])]
    assert len(fitting) > 50
    assert math.log(found.expected) <= model.believed(fitting)[0].min() + 1e-3


def test_chance_is_high_where_much_better_is_known_and_low_where_nothing_can_be(model: StudyModel) -> None:
    worst = max(each.value("fid") for each in model.views.complete)
    sure = proposal(model, {}, better_than=worst)
    vain = proposal(model, {}, better_than=10.0)
    assert sure is not None and sure.chance is not None and sure.chance > 0.95
    assert vain is not None and vain.chance is not None and vain.chance < 0.05
    assert proposal(model, {}, better_than=10.0, least_chance=0.5) is None
    assert proposal(model, {"size_mb": 1e-4}, better_than=None) is None


def test_sections_have_room_for_their_figures_whose_axes_are_titled(views: StudyViews) -> None:
    for section, figures in ((knobs_section, knob_figures), (history_section, history_figures)):
        drawn_figures = figures(views)
        text = str(section(views, figure=5))
        assert len(drawn_figures) >= 2
        assert [f'data-figure="{5 + place}"' in text for place in range(len(drawn_figures) + 1)] == [
            *[True] * len(drawn_figures),
            False,
        ]
        for figure in drawn_figures:
            assert all(figure["layout"][axis]["title"]["text"] for axis in ("xaxis", "yaxis"))
        json.dumps(drawn_figures, allow_nan=False)
    told = page(views)
    assert "Which knobs matter, and how" in told and "How it went, and what more would add" in told


def test_history_says_what_more_is_expected_to_add(views: StudyViews, tmp_path: Path) -> None:
    said = list(history_sentences(views))
    assert said[0].startswith("The hypervolume was ") and "40 full trainings (3 min 20 s)" in said[0]
    assert said[1].startswith("20 more full trainings are expected to add ") and "±" in said[1]
    running = replace(views, front=replace(views.front, finished=False, budget_trials=44))
    assert "more full trainings are expected" in list(history_sentences(running))[1]
    short = list(history_sentences(part_of(views, 9, finished=True)))
    assert "at most" in short[1] and "too short" in short[1]
    one = StudyViews.open(write_views(tmp_path / "one", [trial(0)]))
    boundless = replace(views, front=replace(views.front, limits={}))
    for study in (one, boundless):
        assert history_section(study, figure=0) is None and history_figures(study) == []


def test_what_is_maximised_is_best_where_it_is_largest(views: StudyViews) -> None:
    objectives = [replace(each, goal="max") if each.learned else each for each in views.front.objectives]
    front = replace(views.front, objectives=objectives, limits={**LIMITS, "fid": 20.0})
    turned = [replace(each, values={**each.values, "fid": 100 - each.value("fid")}) for each in views.trials]
    model = study_model(replace(views, front=front, trials=turned))
    assert model is not None and model.sign == -1
    assert "FID gets worse beyond 0" in how(model, MID)
    expected = forecast(model, 5)
    assert expected is not None and expected.before > 0 and expected.gain >= 0
    most = max(each.value("fid") for each in turned)
    found = proposal(model, {}, better_than=most)
    assert found is not None and found.chance is not None and found.chance > 0.1
    assert found.expected > np.median([each.value("fid") for each in turned])


def test_history_has_a_point_for_each_trial_that_changed_it(views: StudyViews) -> None:
    went = course(views)
    steps = history_figures(views)[0]["data"][0]
    rose = [
        trial
        for trial, before, after in zip(went.trials, [0.0, *went.volumes], went.volumes, strict=False)
        if after > before
    ]
    assert set(rose) <= set(steps["customdata"]) and len(steps["x"]) < len(went.trials)
    assert steps["x"][-1] == 40 and steps["y"][-1] == went.volumes[-1]
