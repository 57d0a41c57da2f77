"""``search.best``: the answer in Python, on the command line and as JSON; damaged and missing studies."""

import json
import math
from pathlib import Path

import pytest
from rich.console import Console

from search.best import best, main, with_proposal
from search.by_hand import read_candidates
from search.report.answer import NO_MODEL
from search.report.answer import record as as_record
from search.report.table import front_table, roles_table
from search.space import Space
from search.views import StudyViews
from tests.called import Outcome, called
from tests.search.insight_study import known_study
from tests.search.study_folder import OBJECTIVES, study_folder, trial, write_views
from trainers.errors import UserError


def run(*arguments: str | Path) -> Outcome:
    return called("search.best", arguments)


@pytest.fixture
def folder(tmp_path):
    return write_views(
        tmp_path / "small",
        [
            trial(0, fid=25.0, size_mb=1.1),
            trial(1, fid=30.0, size_mb=0.9),
            trial(2, fid=31.0, size_mb=0.8),
            trial(3, fid=22.0, size_mb=1.4),
            trial(4, fid=20.0, size_mb=0.1, state="stopped"),
        ],
    )


def numbers(answer):
    return [found and found.number for found in (answer.best, answer.runner_up, answer.nearest_miss)]


def test_best_runner_up_and_nearest_miss(folder):
    answer = best(StudyViews.open(folder), {"size_mb": 1.0})
    assert numbers(answer) == [1, 2, 0]
    assert answer.excess == pytest.approx({"size_mb": 0.1})


def test_without_a_budget_the_best_of_all_complete_trials_wins(folder):
    assert numbers(best(StudyViews.open(folder), {})) == [3, 0, None]


def test_nothing_fits_names_the_nearest(folder):
    answer = best(StudyViews.open(folder), {"size_mb": 0.4})
    assert numbers(answer) == [None, None, 2]
    assert answer.excess == pytest.approx({"size_mb": 1.0})


def test_trials_off_the_front_are_asked_too(tmp_path):
    folder = write_views(tmp_path / "study", [trial(0, fid=25.0), trial(1, fid=26.0, size_mb=0.6)])
    assert [point.trial for point in StudyViews.open(folder).front.points] == [0]
    assert best(StudyViews.open(folder), {}).runner_up.number == 1


@pytest.mark.parametrize(("stderr", "is_tied"), [(0.36, True), (0.35, False)])
def test_tied_means_within_two_combined_errors(tmp_path, stderr, is_tied):
    assert (2 * math.hypot(stderr, stderr) >= 1.0) is is_tied
    records = [trial(number, fid=30.0 + number, stderr={"fid": stderr}) for number in range(2)]
    assert best(StudyViews.open(write_views(tmp_path / "study", records)), {}).tied == (
        [StudyViews.open(tmp_path / "study").complete[1]] if is_tied else []
    )


def test_everyone_who_is_tied_is_named(tmp_path):
    records = [trial(number, fid=fid) for number, fid in enumerate([31.2, 30.0, 33.0, 30.9])]
    folder = write_views(tmp_path / "study", [*records, trial(4, fid=30.1, size_mb=2.0)])
    assert [found.number for found in best(StudyViews.open(folder), {"size_mb": 1.0}).tied] == [3, 0]
    done = run(folder, "--max", "size_mb=1")
    assert "Trials 1, 3 and 0 are tied at this sample count" in done.out


def confirmed(value):
    return {"fid": {"value": value, "stderr": 0.1, "draws": 4}}


def test_confirmed_values_count_and_come_before_first_ones(tmp_path):
    records = [
        trial(0, fid=25.0, confirmed=confirmed(28.0)),
        trial(1, fid=26.0, confirmed=confirmed(26.5)),
        trial(2, fid=20.0),
        trial(3, fid=40.0, size_mb=0.1),
    ]
    views = StudyViews.open(write_views(tmp_path / "study", records))
    answer = best(views, {})
    assert (numbers(answer), list(answer.tied)) == ([1, 0, None], [])
    assert answer.best.value("fid") == 26.5
    told = json.loads(run(views.folder, "--json").out)
    assert (told["values"]["fid"], told["stderr"]["fid"], told["confirmed"]) == (26.5, 0.1, True)


def test_where_no_confirmed_trial_fits_the_others_are_asked_and_it_is_said(tmp_path):
    records = [trial(0, fid=25.0, confirmed=confirmed(26.0)), trial(1, fid=40.0, size_mb=0.1)]
    folder = write_views(tmp_path / "study", records)
    assert numbers(best(StudyViews.open(folder), {"size_mb": 0.2})) == [1, None, 0]
    said = "No trial that was measured again fits. Trial 1 was measured once"
    assert said in run(folder, "--max", "size_mb=0.2").out
    assert "measured once" not in run(folder, "--max", "size_mb=1").out


def test_objectives_to_maximise_are_bounded_from_below(tmp_path):
    objectives = [*OBJECTIVES[:2], {"name": "inception_score", "goal": "max", "title": "Inception score"}]
    records = [trial(0, fid=25.0), trial(1, fid=30.0)]
    for record, score in zip(records, (3.0, 4.5), strict=True):
        record["values"]["inception_score"] = score
    views = StudyViews.open(write_views(tmp_path / "study", records, objectives=objectives))
    answer = best(views, {}, {"inception_score": 4.0})
    assert numbers(answer) == [1, None, 0]
    assert answer.excess == pytest.approx({"inception_score": 0.25})
    with pytest.raises(UserError, match="only --min bounds it"):
        best(views, {"inception_score": 4.0})


def test_command_prints_one_json_object(folder):
    done = run(folder, "--max", "size_mb=1", "--max", "latency_ms=25", "--json")
    answer = json.loads(done.out)
    assert (done.code, done.err) == (0, "")
    assert (answer["trial"], answer["path"], answer["values"]["fid"]) == (1, "trials/0001", 30.0)
    assert answer["runner_up"]["trial"] == 2
    assert answer["nearest_miss"]["excess"] == pytest.approx({"size_mb": 0.1})
    assert (answer["tied"], answer["tied_with"]) == (True, [2])
    assert answer["max"] == {"size_mb": 1.0, "latency_ms": 25.0}


def test_json_has_no_word_for_what_is_not_known(tmp_path):
    """NaN is none of JSON's, and other programs refuse it."""
    study = study_folder(tmp_path / "study", trials=8)
    lines = [json.loads(line) for line in (study / "trials.jsonl").read_text().splitlines()]
    for line in lines:
        line["stderr"] = dict.fromkeys(line["values"], float("nan"))
    (study / "trials.jsonl").write_text("\n".join(map(json.dumps, lines)))
    told = as_record(StudyViews.open(study).complete[0])
    assert told is not None and set(told["stderr"].values()) == {None}
    json.dumps(told, allow_nan=False)


def test_json_says_null_when_nothing_fits(folder):
    answer = json.loads(run(folder, "--max", "size_mb=0.4", "--json").out)
    assert (answer["trial"], answer["runner_up"], answer["nearest_miss"]["trial"]) == (None, None, 2)


def with_models(folder):
    for path in (folder / "trials.jsonl").read_text().splitlines():
        place = folder / json.loads(path)["path"]
        place.mkdir(parents=True, exist_ok=True)
        (place / "model.safetensors").write_bytes(b"")
    return folder


def test_a_copy_of_the_results_offers_nothing_that_it_cannot_do(folder):
    done = run(folder, "--max", "size_mb=1")
    assert done.out.splitlines()[-1] == NO_MODEL and "Export:" not in done.out
    assert run(folder, "--max", "size_mb=0.4").out.splitlines()[-1] == NO_MODEL
    assert run(folder, "--knee").out.splitlines()[-1] == NO_MODEL


def test_command_ends_with_the_export_command(folder):
    done = run(with_models(folder), "--max", "size_mb=1")
    assert done.out.splitlines()[-1] == f"Export: python -m search.export {folder} --trial 1 --out my-student"
    assert "tied at this sample count" in done.out
    assert "size_mb is 10 % above 1" in done.out


def test_lowest_weighted_sum_wins_whatever_the_units(folder):
    views = StudyViews.open(folder)
    limits = {"fid": 60.0, "size_mb": 1.5}
    assert {name: views.front.limits[name] for name in limits} == limits
    for weights, expected in (({"fid": 1, "size_mb": 0.1}, 3), ({"fid": 1.0, "size_mb": 1.0}, 2), ({"fid": 3.0}, 3)):
        sums = {
            found.number: sum(weight * found.value(name) / limits[name] for name, weight in weights.items())
            for found in views.complete
        }
        answer = best(views, {}, weights=weights)
        assert answer.best.number == expected == min(sums, key=sums.get)
        assert answer.runner_up.number == sorted(sums, key=sums.get)[1]
        assert answer.weighing.score(answer.best) == pytest.approx(sums[expected])
    assert numbers(best(views, {"size_mb": 1.0}, weights={"fid": 1.0}))[0] == 1


def test_tied_by_the_error_of_the_weighted_sum(tmp_path):
    records = [
        trial(0, fid=30.0, size_mb=0.5, stderr={"fid": 0.5}),
        trial(1, fid=30.0, size_mb=0.52, stderr={"fid": 0.5}),
        trial(2, fid=30.0, size_mb=0.6, stderr={"fid": 0.5}),
    ]
    views = StudyViews.open(write_views(tmp_path / "study", records))
    # 2 errors are 2 x hypot(0.5, 0.5) / 60 = 0.0236; 0.02 MB are 0.0133 of their limit, 0.1 MB are 0.067.
    assert [found.number for found in best(views, {}, weights={"fid": 1.0, "size_mb": 1.0}).tied] == [1]


def test_what_is_to_be_large_is_subtracted(tmp_path):
    objectives = [*OBJECTIVES[:2], {"name": "inception_score", "goal": "max", "title": "Inception score"}]
    records = [trial(0, fid=25.0), trial(1, fid=25.5)]
    for record, score in zip(records, (3.0, 4.5), strict=True):
        record["values"]["inception_score"] = score
    teacher = {"values": {"inception_score": 5.0}}
    views = StudyViews.open(write_views(tmp_path / "study", records, objectives=objectives, teacher=teacher))
    answer = best(views, {}, weights={"fid": 2.0, "inception_score": 1.0})
    assert answer.weighing.formula == "2 x fid / 60 - inception_score / 5"
    assert answer.best.number == 1
    assert answer.weighing.score(answer.best) == pytest.approx(2 * 25.5 / 60 - 4.5 / 5)


def test_command_says_what_it_weighed(folder):
    done = run(folder, "--weight", "fid=1", "--weight", "size_mb=2")
    assert "Lowest fid / 60 + 2 x size_mb / 1.5: " in done.out
    told = json.loads(run(folder, "--weight", "fid=1", "--weight", "size_mb=2", "--json").out)
    assert told["weighing"]["weights"] == {"fid": 1.0, "size_mb": 2.0}
    assert told["weighing"]["scores"]["best"] == pytest.approx(31.0 / 60 + 2 * 0.8 / 1.5)
    assert told["trial"] == 2


def test_knee_comes_with_its_reason(folder):
    views = StudyViews.open(folder)
    done = run(with_models(folder), "--knee")
    assert f"Trial {views.front.knee} is the knee" in done.out
    assert done.out.splitlines()[-1].endswith(f"--trial {views.front.knee} --out my-student")
    told = json.loads(run(folder, "--knee", "--json").out)
    assert told["trial"] == views.front.knee and told["reason"].startswith(f"Trial {views.front.knee} is the knee")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--weight", "sise_mb=1"], "unknown objective 'sise_mb'"),
        (["--weight", "fid=0"], "must be a number from 1e-09 to 1e+09"),
        (["--weight", "fid=1e308", "--weight", "size_mb=1e308"], "must be a number from"),
        (["--weight", "fid"], "is not OBJECTIVE=NUMBER"),
        (["--knee", "--max", "size_mb=1"], "--knee goes with no budget"),
        (["--weight", "fid=1", "--write-candidate", "x.yaml"], "goes with a budget"),
        (["--max", "size_mb=1", "--write-candidate", "x.yaml"], "knows no candidate to try"),
    ],
)
def test_bad_requests_are_one_message(folder, arguments, message, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    done = run(folder, *arguments)
    assert done.code == 2 and message in done.err and "Traceback" not in done.err
    assert not (tmp_path / "x.yaml").exists()


def test_study_without_a_knee_says_so(tmp_path):
    done = run(write_views(tmp_path / "study", [trial(0, fid=70.0)]), "--knee")
    assert done.code == 2 and "has no knee" in done.err


@pytest.fixture(scope="module")
def known(tmp_path_factory):
    """A study whose trials are all larger than 0.1 MB, and from which others can be foretold."""
    folder = tmp_path_factory.mktemp("known") / "known"
    return known_study(folder, trials=24, is_within=lambda values: values["size_mb"] > 0.1)


def test_where_nothing_fits_a_candidate_is_predicted_and_written(known, tmp_path, capsys, monkeypatch):
    file = tmp_path / "candidate.yaml"
    assert main(known.folder, maxima=["size_mb=0.1"], write_candidate=file) == 0
    assert f"The study cannot go on from {known.folder}, a copy" in capsys.readouterr().out
    (known.folder / "study.db").write_bytes(b"")
    monkeypatch.setattr("search.views.RUNS", known.folder.parent)
    assert main(known.folder, maxima=["size_mb=0.1"], write_candidate=file) == 0
    said = capsys.readouterr().out
    assert "No trial fits the budget" in said and "Not tried, but predicted: fid " in said
    space = known.folder / "space.yaml"
    assert f"To try it: python -m search.run {space} --name known --try {file}" in said
    main(known.folder, maxima=["size_mb=0.1"], json=True)
    told = json.loads(capsys.readouterr().out)
    assert told["trial"] is None and told["predicted"]["costs"]["size_mb"] <= 0.1
    assert read_candidates([file], Space.read(space)) == [told["predicted"]["candidate"]]


def test_without_a_budget_the_model_is_not_asked(known, capsys):
    main(known.folder, json=True)
    assert json.loads(capsys.readouterr().out)["predicted"] is None


def test_only_a_probably_better_candidate_is_named_unasked(known):
    answer = best(known, {"latency_ms": 40.0})
    asked = with_proposal(known, answer, least_chance=0.0).proposal
    assert asked is not None
    assert with_proposal(known, answer, least_chance=asked.chance + 0.001).proposal is None
    assert with_proposal(known, answer, least_chance=asked.chance - 0.001).proposal == asked


@pytest.mark.parametrize(
    ("bound", "message"),
    [
        (["sise_mb=1"], "Did you mean 'size_mb'?"),
        (["size_mb"], "is not OBJECTIVE=NUMBER"),
        (["size_mb=nan"], "is not OBJECTIVE=NUMBER"),
        (["=1"], "is not OBJECTIVE=NUMBER"),
        (["size_mb=1", "size_mb=2"], "is given twice"),
    ],
)
def test_bad_bounds_are_one_message(folder, bound, message):
    done = run(folder, *[part for text in bound for part in ("--max", text)])
    assert done.code == 2 and message in done.err and "Traceback" not in done.err


def test_no_complete_trial_is_a_message(tmp_path):
    folder = write_views(tmp_path / "my study", [trial(0, state="failed", reason="loss is nan")])
    with pytest.raises(UserError, match="no trial is complete yet") as raised:
        best(StudyViews.open(folder), {})
    # The study may be called otherwise than its space.
    assert f"`python -m search.run '{folder}/space.yaml' --name 'my study'`" in str(raised.value)


def test_values_of_two_extractors_are_never_compared(tmp_path):
    records = [trial(0), trial(1, by={"fid": "inception-2048d"})]
    with pytest.raises(UserError, match="inception-2048d"):
        best(StudyViews.open(write_views(tmp_path / "study", records)), {})


def test_missing_study_lists_its_neighbours(folder):
    done = run(folder.parent / "smal")
    assert done.code == 2 and "does not exist" in done.err and str(folder) in done.err
    with pytest.raises(UserError, match="Studies in it"):
        StudyViews.open(folder.parent)


@pytest.mark.parametrize("file", ["front.json", "trials.jsonl"])
@pytest.mark.parametrize("content", ["{", '{"study": 1}', "\udcff", "[]"])
def test_damaged_views_say_how_they_are_rebuilt(folder, file, content):
    (folder / file).write_text(content, errors="surrogateescape")
    with pytest.raises(UserError, match=r"(?s)cannot be used.*search\.run"):
        StudyViews.open(folder)


@pytest.mark.parametrize("value", [None, float("nan"), float("inf")])
def test_complete_trial_without_a_number_is_refused(tmp_path, value):
    record = trial(0)
    views = write_views(tmp_path / "study", [])
    record["values"]["fid"] = value
    (views / "trials.jsonl").write_text(json.dumps(record))
    with pytest.raises(UserError, match="trial 0 has fid"):
        StudyViews.open(views)


@pytest.mark.parametrize("value", [None, float("nan"), float("inf")])
def test_confirmed_value_that_is_no_number_is_refused(tmp_path, value):
    record = trial(0, confirmed={"fid": {"value": value, "stderr": 0.1, "draws": 4}})
    folder = write_views(tmp_path / "study", [])
    (folder / "trials.jsonl").write_text(json.dumps(record))
    with pytest.raises(UserError, match=r"trials\.jsonl.*cannot be used"):
        StudyViews.open(folder)


def test_failed_trial_may_have_diverged(tmp_path):
    record = trial(0, state="failed", values={"fid": float("nan")})
    assert len(StudyViews.open(write_views(tmp_path / "study", [record])).trials) == 1


@pytest.mark.parametrize("path", ["../other", "/etc", "trials/../../x", "trials\\..\\x"])
def test_paths_out_of_the_study_are_refused(tmp_path, path):
    with pytest.raises(UserError, match="leads out"):
        StudyViews.open(write_views(tmp_path / "study", [trial(0, path=path)]))


def test_links_out_of_the_study_are_refused(tmp_path):
    (tmp_path / "secret").mkdir()
    (tmp_path / "secret" / "samples.webp").write_bytes(b"RIFF")
    views = StudyViews.open(write_views(tmp_path / "study", [trial(0)]))
    (views.folder / "trials").mkdir()
    (views.folder / "trials" / "0000").symlink_to(tmp_path / "secret")
    with pytest.raises(UserError, match="leads out"):
        views.file("trials/0000", "samples.webp")


def test_seven_objectives_leave_room_for_the_trial_in_eighty_columns(tmp_path, capsys):
    others = {"kid": 3.21, "compressed_mb": 0.234, "memory_mb": 1234.0}
    objectives = [*OBJECTIVES, *[{"name": name} for name in others]]
    rows = [{**trial(0)["values"], "size_mb": size, **others} for size in (0.3, 0.6)]
    records = [trial(117 + number, values=values) for number, values in enumerate(rows)]
    points = [{"trial": each["number"], "values": each["values"], "stderr": {"fid": 0.4}} for each in records]
    candidate = {"prune.criterion": "magnitude", "quantize.bits": 8}
    points[0] |= {"candidate": candidate, "tied": [118]}
    changes = {"objectives": objectives, "points": points, "limits": {}, "teacher": None, "knee": 117}
    views = StudyViews.open(write_views(tmp_path / "study", records, **changes))
    console = Console(width=80)
    console.print(front_table(views))
    said = capsys.readouterr().out
    assert "~* 117  30.0" in said and "\n117: magnitude, bits 8 " in said and "…" not in said
    console.print(roles_table(views, {"nearest miss": views.complete[0]}))
    said = capsys.readouterr().out
    assert "nearest miss    117  30.0" in said and "…" not in said


def test_front_table_has_a_row_per_point_and_marks_the_knee(tmp_path):
    views = StudyViews.open(study_folder(tmp_path / "study"))
    table = front_table(views)
    shown = [str(cell) for cell in table.columns[0].cells]
    assert len(shown) == len(views.front.points) > 3
    assert [cell for cell in shown if "*" in cell] in ([f"* {views.front.knee}"], [f"~* {views.front.knee}"])
    tied = {str(point.trial) for point in views.front.points if point.tied}
    assert {cell.split()[-1] for cell in shown if "~" in cell} == tied
