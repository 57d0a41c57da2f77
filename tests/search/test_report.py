"""The report: what is on it, and that nothing in a study can become markup."""

import base64
import io
import json
import math
import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import plotly.graph_objects as go
import pytest
from PIL import Image
from safetensors.numpy import save_file

from search.best import best
from search.contrast.contrast import Contrast
from search.contrast.wording import notes as contrast_notes
from search.ending import next_commands
from search.explore import main as explore
from search.rank_fidelity import described
from search.report.answer import listed
from search.report.budget import stops
from search.report.cards import strip_image, trial_table
from search.report.embedded import STRIP_FILE, embedded_strips
from search.report.figure import figures
from search.report.foretell import foretelling_figures
from search.report.knee import knee_reason
from search.report.overlay import overlay
from search.report.page import page, write_report
from search.report.parallel import parallel_figures
from search.report.part import parts
from search.report.sections import nothing_yet, state
from search.report.table import largest_first
from search.views import StudyViews
from tests.search.browser import Elements
from tests.search.study_folder import OBJECTIVES, study_folder, trial, write_views
from trainers.errors import UserError
from trainers.models.pictures import smaller

ROOT = Path(__file__).parents[2]
EVIL = "<script>alert(1)</script>"


@pytest.fixture(scope="module")
def views(tmp_path_factory):
    return StudyViews.open(study_folder(tmp_path_factory.mktemp("runs") / "digits"))


@pytest.fixture(scope="module")
def elements(views):
    return Elements(page(views))


@pytest.fixture(scope="module")
def confirmed(tmp_path_factory):
    return StudyViews.open(study_folder(tmp_path_factory.mktemp("runs") / "confirmed", trials=48, confirmed=True))


def test_figures_are_valid_and_titled_with_units(views):
    drawn = [go.Figure(figure) for figure in figures(views)]
    titles = [figure.layout.xaxis.title.text for figure in drawn]
    assert titles == ["Size [MB]", "MACs [G]", "Latency [ms]"]
    assert all(figure.layout.yaxis.type == "log" and "FID" in figure.layout.yaxis.title.text for figure in drawn)
    assert all(len(figure.layout.shapes) == 2 for figure in drawn)


def test_each_complete_trial_is_on_each_figure_once(views):
    for figure in figures(views):
        traces = {trace["meta"]: trace for trace in figure["data"]}
        shown = [*traces["front"]["customdata"], *traces["dominated"]["customdata"]]
        assert sorted(shown) == [trial.number for trial in views.complete]
        assert sorted(traces["front"]["customdata"]) == sorted(point.trial for point in views.front.points)
        assert traces["front"]["error_y"]["array"][0] > 0
        assert traces["knee"]["customdata"] == [views.front.knee]


def test_references_are_marked_beside_the_front_and_told_in_a_table(tmp_path):
    references = [
        {"name": "theirs", "values": {"fid": 3.0, "size_mb": 10.77}, "source": "Table 1", "note": "of 10,000 images"},
        {"name": "pruned", "values": {"size_mb": 0.4, "latency_ms": 2.0}},
        {"name": "older", "values": {"fid": 25.0, "kid": 3.0}},
    ]
    records = [trial(0), trial(1, fid=25.0, size_mb=0.9)]
    marked, plain = (
        StudyViews.open(write_views(tmp_path / name, records, **changes))
        for name, changes in (("marked", {"references": references}), ("plain", {}))
    )
    # Each where it has both values; the first is better in all, and nevertheless no best model of this study.
    traces = [next(trace for trace in figure["data"] if trace["meta"] == "reference") for figure in figures(marked)]
    assert [(trace["x"], trace["y"]) for trace in traces] == [([10.77], [3.0]), ([], []), ([], [])]
    assert traces[0]["text"] == [
        "<b>theirs</b><br>FID (digits-cnn-64d): 3<br>Size: 10.77 MB<br>Table 1<br>of 10,000 images"
    ]
    go.Figure(figures(marked)[0])
    assert best(marked, {}).best == best(plain, {}).best and trial_table(marked, {}) == {
        **trial_table(plain, {}),
        "folder": str(marked.folder),
    }
    # The axes end where what is shown ends.
    layout = figures(marked)[0]["layout"]
    without = layout["meta"]["axes"][""]
    assert layout["xaxis"]["range"][1] > 10 > without["xaxis"]["range"][1]
    assert without == {axis: figures(plain)[0]["layout"][axis] for axis in ("xaxis", "yaxis")}
    elements = Elements(page(marked))
    assert [button["data-role"] for button in elements.named("button") if "data-role" in button][-1] == "reference"
    assert "References: values of other works, no trials of this study (3)" in elements.text
    assert "theirs310.77--Table 1of 10,000 images" in elements.text and "pruned-0.4-2" in elements.text
    assert "References" not in Elements(page(plain)).text


def test_references_of_a_study_without_results_are_listed(tmp_path):
    references = [{"name": "theirs", "values": {"fid": 3.0, "size_mb": 10.77}}]
    elements = Elements(page(StudyViews.open(write_views(tmp_path / "study", [], references=references))))
    assert "theirs310.77" in elements.text and not elements.named("button")


def test_once_trials_are_confirmed_the_others_are_apart(confirmed):
    again = {trial.number for trial in confirmed.complete if trial.confirmed}
    for figure in figures(confirmed):
        traces = {trace["meta"]: trace for trace in figure["data"]}
        assert {*traces["front"]["customdata"], *traces["dominated"]["customdata"]} == again
        assert {*traces["once"]["customdata"]} == {trial.number for trial in confirmed.complete} - again != set()
        point = confirmed.front.points[0]
        place = traces["front"]["customdata"].index(point.trial)
        assert traces["front"]["y"][place] == point.values["fid"] != point.first["fid"]
        assert traces["front"]["error_y"]["array"][place] == point.stderr["fid"]


def test_stopped_trials_are_never_among_full_results(views):
    numbers = {trial.number for trial in views.stopped}
    for figure in figures(views):
        traces = {trace["meta"]: trace for trace in figure["data"]}
        others = [trace for trace in figure["data"] if trace["meta"] != "stopped"]
        assert not numbers & {number for trace in others for number in trace.get("customdata", [])}
        assert set(traces["stopped"]["customdata"]) == numbers
        assert sorted(traces["stopped"]["y"]) == sorted(trial.values["fid"] for trial in views.stopped)
        assert all("stopped early: 2,667 of 24,000 images" in text for text in traces["stopped"]["text"])
        # Off until asked for: the axes are those of the full results, and others are ready for when it is on.
        shown, wide = figure["layout"]["yaxis"]["range"], figure["layout"]["meta"]["axes"]["stopped"]["yaxis"]["range"]
        assert shown[1] < math.log10(max(traces["stopped"]["y"])) < wide[1]


def test_stopped_trials_without_known_costs_are_only_listed(tmp_path):
    records = [trial(0), trial(1, state="stopped", values={"fid": 80.0}, images=8_000, reason="others promised more")]
    views = StudyViews.open(write_views(tmp_path / "study", records))
    assert all(not trace["x"] for trace in figures(views)[0]["data"] if trace["meta"] == "stopped")
    elements = Elements(page(views))
    assert "others promised more" in elements.text
    assert [button["data-role"] for button in elements.named("button")] == []


def test_ties_are_marked_in_figure_table_and_card(confirmed):
    tied = {point.trial for point in confirmed.front.points if point.tied}
    front = next(trace for trace in figures(confirmed)[0]["data"] if trace["meta"] == "front")
    pairs = zip(front["customdata"], front["marker"]["symbol"], strict=True)
    assert {number for number, symbol in pairs if symbol == "circle-open-dot"} == tied != set()
    text, ties = Elements(page(confirmed)).text, trial_table(confirmed, {})["ties"]
    assert set(ties) == tied
    for point in confirmed.front.points:
        if point.tied:
            assert f"tied with {listed(point.tied)}" in text
            said = f"Tied with trial{'s' if len(point.tied) > 1 else ''} {listed(point.tied)}, which do"
            assert ties[point.trial].startswith(said)


def test_times_of_another_device_are_told_and_answer_no_budget(tmp_path):
    records = [trial(0), trial(1, fid=25.0, size_mb=0.9), trial(2, fid=24.0), trial(3, fid=28.0)]
    # Better in everything, were times of two devices comparable.
    records[2]["values"]["latency_ms"] = records[3]["values"]["latency_ms"] = 1.0
    strangers = [{"trial": number, "objective": "latency_ms", "device": "cuda: T4"} for number in (2, 3)]
    points = [{"trial": number, "values": records[number]["values"]} for number in (0, 1)]
    folder = write_views(tmp_path / "study", records, elsewhere=strangers, points=points, knee=0)
    views = StudyViews.open(folder)
    for figure in figures(views):
        assert {number for trace in figure["data"] for number in trace.get("customdata", [])} == {0, 1}
    # Nothing meets this but they; even so, neither answers.
    answer = best(views, {"latency_ms": 5.0})
    assert answer.best is None and answer.nearest_miss.number in (0, 1)
    table = trial_table(views, {})
    assert table["orders"] == [[1, 0]] and table["elsewhere"] == [2, 3]
    assert [table["standings"][place] for place in table["standing"]][2:] == ["timed on another device"] * 2
    said = (
        "Trials 2 and 3 are left out of the front, its figures and the budget: Latency was measured on cuda: T4, the "
        "teacher's on another device, and times of different devices cannot be compared."
    )
    assert said in Elements(page(views)).text
    front = json.loads((folder / "front.json").read_text())
    (folder / "front.json").write_text(json.dumps({**front, "elsewhere": strangers[:1]}))
    assert "Trial 2 is left out of the front" in Elements(page(StudyViews.open(folder))).text


def test_trials_of_several_versions_are_told(tmp_path):
    given = [{"torch": "2.14.1", "ray": "2.60.0"}, {"torch": "2.15.0", "ray": "2.60.0", "commit": EVIL}]
    for count, said in ((1, None), (2, f"may differ for that alone: torch 2.14.1 and 2.15.0; commit {EVIL} and none.")):
        records = [trial(number, versions=versions) for number, versions in enumerate(given[:count])]
        text = Elements(page(StudyViews.open(write_views(tmp_path / f"of{count}", records)))).text
        assert said in text if said else "same versions" not in text


def test_a_study_of_times_of_another_device_alone_has_no_best_model(tmp_path):
    stranger = {"trial": 0, "objective": "latency_ms", "device": EVIL}
    folder = write_views(tmp_path / "study", [trial(0)], elsewhere=[stranger], points=[], knee=None)
    views = StudyViews.open(folder)
    text = page(views)
    assert "<script>alert" not in text and f"was measured on {EVIL}" in Elements(text).text
    assert not Elements(text).named("input")
    with pytest.raises(UserError, match="the teacher on another device"):
        best(views, {})


@pytest.mark.parametrize(
    ("again", "said"), [(31.0, "rose by 3 %"), (29.1, "fell by 3 %"), (30.1, "stayed the same in the median")]
)
def test_the_winners_curse_in_a_sentence(tmp_path, again, said):
    records = [trial(0, fid=30.0, confirmed={"fid": {"value": again, "stderr": 0.2, "draws": 4}})]
    views = StudyViews.open(write_views(tmp_path / "study", records))
    text = Elements(page(views)).text
    assert f"of the 1 trials that led {said}" not in text
    assert f"of the trial that led {said}" in text
    assert trial_table(views, {})["first"] == {0: {"FID (digits-cnn-64d)": "30"}}


def test_short_trainings_are_drawn_against_full_ones(confirmed):
    (figure,) = foretelling_figures(confirmed)
    drawn = go.Figure(figure)
    assert drawn.layout.xaxis.title.text == "FID (digits-cnn-64d) at a share"
    assert (drawn.layout.xaxis.type, drawn.layout.yaxis.type) == ("log", "log")
    traces = {trace["meta"]: trace for trace in figure["data"]}
    for role, images in (("share0", 2_667), ("share1", 8_000)):
        trace = traces[role]
        assert trace["customdata"] == [trial.number for trial in confirmed.complete]
        for number, x, y in zip(trace["customdata"], trace["x"], trace["y"], strict=True):
            found = next(trial for trial in confirmed.complete if trial.number == number)
            assert (x, y) == (next(r.values["fid"] for r in found.rungs if r.images == images), found.values["fid"])
    text = Elements(page(confirmed)).text
    assert all(line in text for line in described(confirmed.front.rank_fidelity))


def test_a_study_of_an_older_version_is_still_shown():
    kept = StudyViews.open(ROOT / "studies" / "pruning_ratios")
    views = replace(kept, front=replace(kept.front, rank_fidelity=(), winners_curse=None))
    views = replace(views, trials=[replace(trial, confirmed={}) for trial in views.trials])
    text = Elements(page(views)).text
    assert "24.0 of 24" in text
    assert "foretell" not in text and "Measured again" not in text


def test_steps_only_improve(views):
    for figure in figures(views):
        steps = next(trace for trace in figure["data"] if trace["meta"] == "steps")
        assert steps["x"] == sorted(steps["x"])
        assert steps["y"] == sorted(steps["y"], reverse=True)
        assert len(set(steps["y"])) == len(steps["y"]) > 1


def test_rows_run_from_largest_to_smallest_and_take_the_focus(views, elements):
    rows = [row for row in elements.named("tr") if "data-trial" in row]
    sizes = {point.trial: point.values["size_mb"] for point in views.front.points}
    shown = [sizes[int(row["data-trial"])] for row in rows]
    assert shown == sorted(sizes.values(), reverse=True)
    assert all(row["tabindex"] == "0" for row in rows)


@pytest.mark.parametrize(
    ("last", "order", "words", "first_figure"),
    [
        ({"name": "size_mb", "title": "Size"}, [1, 2, 0], "from the largest model to the smallest", "Size"),
        ({"name": "ssim", "title": "SSIM", "goal": "max", "learned": True}, [0, 1, 2], "from the best model", "KID"),
    ],
)
def test_no_other_objective_passes_for_the_size_of_a_model(tmp_path, last, order, words, first_figure):
    objectives = [
        {"name": "fid", "title": "FID", "learned": True},
        {"name": "kid", "title": "KID", "learned": True},
        {"name": "images_per_s", "title": "Throughput", "goal": "max"},
        last,
    ]
    measured = [(20.0, 3.0, 10.0, 0.3), (21.0, 1.0, 30.0, 0.9), (22.0, 2.0, 40.0, 0.6)]
    names = [each["name"] for each in objectives]
    rows = [{**trial(0)["values"], **dict(zip(names, row, strict=True))} for row in measured]
    records = [trial(number, values=values) for number, values in enumerate(rows)]
    points = [{"trial": each["number"], "values": each["values"], "path": each["path"]} for each in records]
    changes = {"objectives": objectives, "points": points, "limits": {}, "teacher": None, "knee": 0}
    views = StudyViews.open(write_views(tmp_path / "study", records, **changes))
    assert [point.trial for point in largest_first(views)] == order == trial_table(views, {})["front"]
    assert f"The front, {words}" in Elements(page(views)).text
    drawn = figures(views)
    assert drawn[0]["layout"]["xaxis"]["title"]["text"] == first_figure and len(drawn) == 3
    assert ("--max size_mb=0.3" in next_commands(views)) == ("size_mb" in names) and "kid" not in next_commands(views)


@pytest.mark.parametrize(
    ("changed", "limit", "is_share"),
    [({}, 1.0, True), ({"goal": "max"}, 10.0, False), ({"goal": "max"}, None, True), ({"least": -0.1}, 1.0, False)],
)
def test_a_volume_without_end_is_not_called_a_share(tmp_path, changed, limit, is_share):
    other = {"name": "other", "goal": changed.get("goal", "min")}
    rows = [{**trial(0)["values"], "other": value} for value in (changed.get("least", 0.5), 20.0)]
    records = [trial(number, values=values) for number, values in enumerate(rows)]
    limits = {"fid": 60.0, **({"other": limit} if limit else {})}
    changes = {"objectives": [OBJECTIVES[0], other], "limits": limits, "hypervolume": 50.5}
    views = StudyViews.open(write_views(tmp_path / "study", records, **changes))
    text = Elements(page(views)).text
    assert ("share of the region" in text, "in units of the limits" in text) == (is_share, not is_share)
    if limit:
        told = contrast_notes(Contrast.of([views, StudyViews.open(write_views(tmp_path / "b", records, **changes))]))
        assert ("share of the region" in told[0], "in units of the reference" in told[0]) == (is_share, not is_share)


def test_page_is_one_file_with_pictures_that_are_described(elements, views):
    images = elements.named("img")
    assert len(images) == 1 + len(views.front.points)  # the teacher's, too; all others are in the script's table
    assert all(image["src"].startswith("data:image/webp;base64,") and "noise" in image["alt"] for image in images)
    assert not any("src" in script for script in elements.named("script"))
    assert [link["href"] for link in elements.named("link")] == ["data:,"]


def test_states_and_reasons_are_told(elements):
    for words in (
        "22, worth 19.3 of 24 full ones",  # two were rejected untrained and cost no budget, three stopped at a ninth
        "3 stopped",
        "Stopped early (3)",
        "2,667 of 24,000 images (11 %)",
        "loss is nan after 9,216 images",
        "norm groups of 8 channels",
        "digits-cnn-64d",
    ):
        assert words in elements.text


def test_candidates_by_hand_cost_no_budget(tmp_path):
    records = [trial(number, by_hand=number > 3) for number in range(6)]
    views = StudyViews.open(write_views(tmp_path / "study", records, budget_trials=4))
    assert "Trials4 of 46 complete; 2 of them by hand, beside the budget" in Elements(str(state(views))).text


def test_nothing_in_a_study_becomes_markup(tmp_path):
    records = [
        trial(
            0, candidate={f"prune.{EVIL}": EVIL}, achieved=[{"what": EVIL, "asked": EVIL, "achieved": 1, "note": EVIL}]
        ),
        trial(1, state="failed", reason=EVIL, candidate={"a": [EVIL, {EVIL: 1}]}),
        trial(2, fid=29.0, by={"fid": EVIL}, path=f"trials/{EVIL[8:13]}"),
    ]
    objectives = [{"name": "fid", "title": EVIL, "unit": EVIL, "learned": True}, {"name": "size_mb", "title": EVIL}]
    reference = {"name": EVIL, "values": {"fid": 20.0, "size_mb": 0.3}, "source": EVIL, "note": EVIL}
    changes = {"study": EVIL, "question": EVIL, "objectives": objectives, "references": [reference]}
    folder = write_views(tmp_path / "study", records, **changes)
    text = page(StudyViews.open(folder))
    elements = Elements(text)
    assert "<script>alert" not in text
    assert [script.get("type") for script in elements.named("script")] == ["application/json"] * 2 + [None] * 2
    assert elements.text.count(EVIL) > 8


@pytest.mark.parametrize(
    ("records", "message"),
    [
        ([], "The study has ended, and no trial of it is complete."),
        ([trial(0, state="failed", reason="out of memory")], "The study has ended, and no trial of it is complete."),
        ([trial(0, fid=300.0)], "1 trial is complete, but none lies within the limits"),
    ],
)
def test_page_without_a_front_says_so(tmp_path, records, message):
    views = StudyViews.open(write_views(tmp_path / "study", records, teacher=None))
    assert not views.front.points
    text = Elements(page(views)).text
    assert message in text and "so far" not in text and "Reload" not in text
    running = replace(views, front=replace(views.front, finished=False))
    assert ("No trial is complete yet. Reload" in str(nothing_yet(running))) == (not views.complete)
    assert ("empty so far" in str(nothing_yet(running))) == bool(views.complete)


def test_a_page_that_draws_nothing_shows_all_its_rows_at_once(tmp_path, elements):
    records = [trial(number, state="failed", values={}, stderr={}, reason="out of memory") for number in range(40)]
    # The sheet hides rows from the 25th on until the script says that the figures are drawn.
    found = Elements(page(StudyViews.open(write_views(tmp_path / "study", records))))
    assert found.named("html")[0].get("data-opened") == "true"
    assert "data-opened" not in elements.named("html")[0]


def test_a_study_of_one_objective_is_drawn_against_trials(tmp_path):
    objectives = [{"name": "fid", "title": "FID", "learned": True}]
    views = StudyViews.open(write_views(tmp_path / "study", [trial(0), trial(1, fid=29)], objectives=objectives))
    (figure,) = figures(views)
    assert go.Figure(figure).layout.xaxis.title.text == "Trial"


def test_pictures_that_are_no_webp_are_left_out(tmp_path):
    folder = write_views(tmp_path / "study", [trial(0)])
    (folder / "trials" / "0000").mkdir(parents=True)
    (folder / "trials" / "0000" / "samples.webp").write_bytes(b"<svg onload=alert(1)>")
    elements = Elements(page(StudyViews.open(folder)))
    assert not elements.named("img") and "Pictures" not in [head.get("data-label") for head in elements.named("td")]


def test_report_is_replaced_whole_and_leaves_nothing_beside_it(tmp_path):
    folder = write_views(tmp_path / "study", [trial(0)])
    (folder / "report.html").write_text("old")
    path = write_report(StudyViews.open(folder))
    assert path == folder / "report.html"
    assert path.read_text().endswith("</html>")
    assert {file.name for file in folder.iterdir()} == {"front.json", "trials.jsonl", "report.html"}


def test_a_page_that_cannot_be_written_is_the_search_s_to_explain_and_one_message_of_explore(tmp_path):
    folder = write_views(tmp_path / "study", [trial(0)])
    (folder / "report.html").mkdir()
    with pytest.raises(OSError):
        write_report(StudyViews.open(folder))
    with pytest.raises(UserError, match=r"it cannot be written \(.*report\.html.*\)\. Make the folder writable"):
        explore(folder)


def test_three_hundred_trials_stay_under_eight_megabytes(tmp_path):
    views = StudyViews.open(study_folder(tmp_path / "study", trials=300))
    size = len(page(views).encode())
    assert 5e6 < size < 8e6
    # 0.4 kB for each trial without a picture: with ten thousand, the page stays under 20 MB.
    table = trial_table(views, {})
    assert len(json.dumps(table)) < 450 * len(table["trials"])


def test_stops_of_a_slider_let_one_more_in_each(views):
    for objective in (views.learned, *views.costs):
        bounds = [float(text) for text in stops(views, objective)]
        values = sorted(trial.value(objective.name) for trial in views.complete)
        assert bounds == sorted(bounds)
        admitted = [sum(value <= bound for value in values) for bound in bounds]
        assert admitted[0] >= 1 and admitted[-1] == len(values)
        assert admitted == sorted(set(admitted))


def test_stops_of_an_objective_to_be_large_run_down(tmp_path):
    objectives = [*OBJECTIVES[:1], {**OBJECTIVES[1], "goal": "max"}]
    records = [trial(number, size_mb=size) for number, size in enumerate([0.12349, 0.5, 0.98765])]
    views = StudyViews.open(write_views(tmp_path / "study", records, objectives=objectives, points=[], knee=None))
    assert stops(views, views.costs[0]) == ["0.987", "0.5", "0.123"]


def test_the_knee_is_explained_by_what_it_gains(tmp_path):
    records = [trial(0, fid=30.0, size_mb=0.6), trial(1, fid=45.0, size_mb=0.5), trial(2, fid=29.0, size_mb=1.4)]
    views = StudyViews.open(write_views(tmp_path / "study", records))
    assert views.front.knee == 0
    reason = knee_reason(views)
    assert reason.startswith("Trial 0 is the knee")
    assert "FID (digits-cnn-64d) 30.00 ± 0.50, 2 times below the limit, 60;" in reason
    assert "Size 0.600 MB, 60 % below the limit, 1.5;" in reason


def test_time_is_told_by_stage(tmp_path):
    records = [trial(0, stages={"prune": 1.0, "distil": 6.0}), trial(1, fid=20.0, stages={"distil": 10.0})]
    text = Elements(page(StudyViews.open(write_views(tmp_path / "study", records)))).text
    assert re.search(r"distil16\.0 s80\.0 %8\.0 s in 2 trialsprune1\.0 s5\.0 %1\.0 s in 1 trials", text)
    assert "everything else3.0 s15.0 %" in text


def test_lines_run_through_every_answer_and_absent_knobs_lie_at_the_foot(views):
    (figure,) = parallel_figures(views)
    go.Figure(figure)
    titles = [text.replace("<br>", "") for text in figure["layout"]["xaxis"]["ticktext"]]
    assert {"threshold", "mid", "bits", "Size [MB]"} < set(titles)
    traces = {trace["meta"]: trace for trace in figure["data"]}
    front = traces["front"]
    assert {*front["customdata"]} - {None} == {point.trial for point in views.front.points}
    absent = {trial.number for trial in views.eligible if trial.candidate["prune.criterion"] == "magnitude"}
    for meta in ("front", "dominated"):
        points = zip(*(traces[meta][key] for key in ("customdata", "x", "y")), strict=True)
        below = {number for number, x, y in points if x == titles.index("threshold") and y < 0}
        assert below == absent & {*traces[meta]["customdata"]} != set()
    largest = max(views.front.points, key=lambda point: point.values["size_mb"]).trial
    places = [index for index, number in enumerate(front["customdata"]) if number == largest]
    heights = [front["y"][index] for index in places if front["x"][index] == titles.index("Size [MB]")]
    assert heights[0] == max(y for x, y in zip(front["x"], front["y"], strict=True) if x == titles.index("Size [MB]"))


def test_a_point_of_the_front_shows_recipe_layers_and_log(tmp_path, tiny):
    records = [trial(0, achieved=[{"what": "prune mid", "asked": 0.5, "achieved": 0.25, "note": "groups"}])]
    folder = write_views(tmp_path / "study", [*records, trial(1, fid=31.0, size_mb=0.9)])
    before = tiny.spec
    name, layer = next((name, layer) for name, layer in before.layers.items() if layer.kind == "conv")
    changed = before.with_layers({name: replace(layer, outputs=layer.outputs - 3, bits=4, format="nf4")})
    for path, spec in (("teacher", before), ("trials/0000", changed)):
        (folder / path).mkdir(parents=True)
        save_file({}, folder / path / "model.safetensors", metadata={"spec": spec.to_json()})
    (folder / "trials" / "0000" / "recipe.yaml").write_text(f"recipe:\n- prune: {EVIL}\n")
    (folder / "trials" / "0000" / "log.txt").write_text("".join(f"line {number}\n" for number in range(30)))
    text = Elements(str(parts(StudyViews.open(folder)))).text
    assert f"recipe:\n- prune: {EVIL}" in text
    assert "line 29" in text and "line 12" not in text
    assert "prune mid0.50.25groups" in text
    assert f"Layers that changed (1 of {sum(each.is_product for each in before.layers.values())})" in text
    assert f"{name}{layer.inputs} to {layer.outputs}{layer.inputs} to {layer.outputs - 3}324 (nf4)" in text


def test_a_damaged_model_file_costs_only_its_layers(tmp_path):
    folder = write_views(tmp_path / "study", [trial(0)])
    (folder / "trials" / "0000").mkdir(parents=True)
    (folder / "trials" / "0000" / "model.safetensors").write_bytes(b"not safetensors")
    assert "Layers" not in Elements(page(StudyViews.open(folder))).text


def test_fronts_overlay_where_studies_measure_alike(views, tmp_path):
    objectives = [*OBJECTIVES[:2], {**OBJECTIVES[2], "unit": "M"}]
    other = StudyViews.open(write_views(tmp_path / "other", [trial(0, size_mb=0.2)], objectives=objectives))
    elements = Elements(overlay([views, other]))
    assert len([panel for panel in elements.named("div") if "data-figure" in panel]) == 1  # size: MACs in another unit
    assert "Left out, as not all measured it, or not on the same device: MACs, Latency." in elements.text
    assert len([row for row in elements.named("tr") if "data-trial" in row]) == len(views.front.points) + 1


@pytest.mark.parametrize(
    ("records", "objectives", "message"),
    [
        ([trial(0, by={"fid": "inception"})], OBJECTIVES, "fid was measured by different extractors"),
        ([trial(0, samples={"fid": 50_000})], OBJECTIVES, r"numbers of samples \(.*: 2,000; .*other: 50,000\)"),
        ([trial(0)], [{**OBJECTIVES[0], "name": "kid"}, *OBJECTIVES[1:]], "they cannot share a figure"),
        ([trial(0)], [OBJECTIVES[0], {**OBJECTIVES[1], "name": "size_gb"}], "have no cost in common"),
        ([trial(0, fid=300.0)], OBJECTIVES, "has no front yet"),
    ],
)
def test_studies_that_cannot_be_compared_are_refused(views, tmp_path, records, objectives, message):
    names = {old["name"]: new["name"] for old, new in zip(OBJECTIVES, objectives, strict=False)}
    for key in ("values", "stderr", "by"):
        records[0][key] = {names.get(name, name): value for name, value in records[0][key].items()}
    changes = {"objectives": objectives} if objectives is not OBJECTIVES else {}
    folder = tmp_path / "other"
    points = [] if "front" in message else [{"trial": 0, "values": records[0]["values"], "path": "trials/0000"}]
    (folder).mkdir()
    front = {"study": "other", "objectives": OBJECTIVES, "points": points, **changes}
    (folder / "front.json").write_text(json.dumps(front))
    (folder / "trials.jsonl").write_text(json.dumps(records[0]))
    with pytest.raises(UserError, match=message):
        overlay([views, StudyViews.open(folder)])


def test_failed_trials_are_marked_at_what_they_would_have_cost(views):
    failed = [trial for trial in views.trials if trial.state == "failed"]
    assert failed
    for cost, figure in zip(views.costs, figures(views), strict=True):
        (trace,) = (trace for trace in figure["data"] if trace["meta"] == "failed")
        assert trace["x"] == [trial.values[cost.name] for trial in failed]
        assert set(trace["y"]) == {views.front.limits["fid"]} and "loss is nan" in trace["text"][0]
    (switch,) = (found for found in Elements(page(views)).named("button") if found.get("data-role") == "failed")
    assert switch["aria-pressed"] == "true"


def test_students_of_different_teachers_are_told_apart(tmp_path):
    studies = [
        StudyViews.open(
            write_views(tmp_path / name, [trial(0)], teacher={"values": {"fid": fid}, "fingerprint": fingerprint})
        )
        for name, fid, fingerprint in (("one", 26.0, "a"), ("two", 9.5, "b"), ("three", 26.0, "a"))
    ]
    told = "The teachers differ: FID (digits-cnn-64d) 26 in one, 9.5 in two."
    assert told in Elements(overlay(studies[:2])).text
    assert "teachers differ" not in overlay([studies[0], studies[2]])
    assert any(told in note for note in contrast_notes(Contrast.of(studies[:2])))


def test_large_strips_are_made_smaller_the_front_last(tmp_path):
    folder = tmp_path / "study"
    noise = np.random.default_rng(0).integers(0, 255, (256, 2048, 3), dtype=np.uint8)
    for number in range(250):
        (folder / "trials" / f"{number:04d}").mkdir(parents=True)
    Image.fromarray(noise).save(folder / "trials" / "0000" / STRIP_FILE, "WEBP", lossless=True)
    strip = (folder / "trials" / "0000" / STRIP_FILE).read_bytes()
    paths = [f"trials/{number:04d}" for number in range(250)]
    for path in paths[:-3]:
        (folder / path / STRIP_FILE).write_bytes(strip)
    (folder / paths[-2] / STRIP_FILE).write_bytes(b"GIF89a")
    broken = b"RIFF....WEBP" + bytes(5_000)
    (folder / paths[-1] / STRIP_FILE).write_bytes(broken)
    found = embedded_strips(StudyViews.open(write_views(folder, [])), paths[:20], paths[20:])
    assert sum(map(len, found.values())) <= 1_600_000 * 4 / 3 + 100 * len(found)
    sizes = [Image.open(io.BytesIO(base64.b64decode(found[path].split(",")[1]))).width for path in paths[:20]]
    assert min(sizes) >= 256 and set(found) == {*paths[:-3], paths[-1]}
    assert all(found[path] for path in paths[:-3]) and smaller(broken, most=4_000) == b""
    few = embedded_strips(StudyViews.open(folder), paths[:-3], part=0.003)
    assert found[paths[0]] and len(few) == len(paths) - 3 and 0 < sum(map(bool, few.values())) < len(few)
    assert [strip_image("trial 1", source) for source in (None, "")] == [
        '<p class="quiet">No pictures kept.</p>',
        '<p class="quiet">Left out, as the page is full: samples.webp in its folder.</p>',
    ]


def test_exploring_several_studies_writes_each_report_and_one_page_of_all(tmp_path, capsys):
    folders = [write_views(tmp_path / name, [trial(0, fid=fid)]) for name, fid in (("one", 30.0), ("two", 25.0))]
    assert explore(*folders) == 0
    pages = [folders[0] / "report.html", folders[1] / "report.html", folders[0] / "overlay.html"]
    assert capsys.readouterr().out.split() == [str(path) for path in pages]
    assert explore(*folders, out=tmp_path / "both.html") == 0
    assert (tmp_path / "both.html").read_text() == pages[2].read_text()
    with pytest.raises(UserError, match="Name another one"):
        explore(folders[0], out=tmp_path / "alone.html")


def test_studies_that_cannot_share_a_page_write_none(tmp_path):
    folders = [write_views(tmp_path / name, [trial(0, by={"fid": name})]) for name in ("one", "two")]
    with pytest.raises(UserError, match="different extractors"):
        explore(*folders)
    assert not list(tmp_path.rglob("*.html"))
