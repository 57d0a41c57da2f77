"""A study in Python: its table, front, figure and answers are those of its files and command lines."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from search import Study
from search.best import best
from search.views import StudyViews
from tests.search.study_folder import study_folder, trial, write_views
from trainers.errors import UserError


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return study_folder(tmp_path_factory.mktemp("studies") / "made", confirmed=True)


def test_the_table_has_a_row_for_each_trial_and_what_counts_of_it(folder: Path) -> None:
    table, views = Study.open(folder).table(), StudyViews.open(folder)
    assert list(table.index) == [trial.number for trial in views.trials] and table.index.name == "trial"
    assert set(table.state) == {"complete", "stopped", "failed", "rejected"} and not table.by_hand.any()
    for one in views.complete:
        row = table.loc[one.number]
        assert row.fid == one.counted["fid"] and row.fid_stderr == one.counted_stderr["fid"]
        assert row["prune.ratio.mid"] == one.candidate["prune.ratio.mid"] and row.confirmed == bool(one.confirmed)
    confirmed = next(trial for trial in views.complete if trial.confirmed)
    assert table.fid[confirmed.number] != confirmed.values["fid"]
    threshold = "prune.criterion.diff_pruning.threshold"
    assert list(table[threshold].isna()) == [threshold not in trial.candidate for trial in views.trials]


def test_the_front_is_the_one_of_the_file_the_largest_first(folder: Path) -> None:
    front, views = Study.open(folder).front(), StudyViews.open(folder)
    assert set(front.index) == {point.trial for point in views.front.points}
    assert list(front.size_mb) == sorted(front.size_mb, reverse=True)
    assert list(front.index[front.knee]) == [views.front.knee]


def test_the_figure_shows_the_cost_that_is_asked_for(folder: Path) -> None:
    study = Study.open(folder)
    figure = study.figure("latency_ms")
    drawn = next(trace for trace in figure.data if trace.meta == "front")
    assert sorted(drawn.x) == sorted(study.front().latency_ms) and sorted(drawn.y) == sorted(study.front().fid)
    assert figure.layout.xaxis.title.text == "Latency [ms]" and figure.layout.title.text.endswith("stored?")
    names = {trace.meta: (trace.name, trace.visible) for trace in figure.data}
    assert figure.layout.showlegend and figure.layout.margin.t >= 60 and "chosen" not in names
    assert names["stopped"] == ("stopped early, at what they measured then", "legendonly")
    assert names["front"] == ("on the front", None) and names["teacher"] == ("teacher", None)
    assert "Latency" not in study.figure().layout.xaxis.title.text
    with pytest.raises(UserError, match=r"'latency' is not a cost of .* Did you mean 'latency_ms'"):
        study.figure("latency")


def test_best_answers_as_the_command_does(folder: Path) -> None:
    answer, command = Study.open(folder).best(max={"size_mb": 0.3}), best(StudyViews.open(folder), {"size_mb": 0.3})
    assert answer.best is not None and command.best is not None
    assert answer.best.number == command.best.number and answer.best.value("size_mb") <= 0.3


def test_the_rest_of_the_command_lines_are_a_call_each(folder: Path, tmp_path: Path) -> None:
    study, other = Study.open(folder), Study.open(study_folder(tmp_path / "other", seed=1))
    assert study.knee().number == study.views.front.knee
    assert study.report() == folder / "report.html" and (folder / "report.html").is_file()
    assert [side.name for side in study.compare(other).sides] == ["made", "other"]
    weights = {"fid": 1.0, "size_mb": 2.0}
    light, command = study.best(weights=weights), best(study.views, {}, weights=weights)
    assert light.best is not None and command.best is not None and light.best.number == command.best.number
    with pytest.raises(UserError, match="with which other study"):
        study.compare()
    with pytest.raises(UserError, match="does not exist"):
        Study.open(write_views(tmp_path / "small", [trial(0)])).validate()


def test_only_complete_trials_are_exported(folder: Path, tmp_path: Path) -> None:
    study = Study.open(folder)
    failed = study.table().index[study.table().state == "failed"][0]
    with pytest.raises(UserError, match=rf"trial {failed} is not a complete trial"):
        study.export(failed, tmp_path / "out")
    # Made-up trials have no weights, and say so.
    with pytest.raises(UserError, match="cannot be exported"):
        study.export(study.front().index[0], tmp_path / "out")


def test_importing_it_is_light() -> None:
    check = (
        "import sys; from search import Study; print([n for n in ('torch', 'pandas', 'plotly') if n in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", check], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_a_search_that_stops_says_why_in_python_too(
    repository: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from search.session import PAUSED, Session

    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(Session, "_search", lambda self: self._ended(self._stopped("no space left on device"), PAUSED))
    with pytest.raises(UserError, match="stopped: no space left on device") as stop:
        Study.run(repository / "spaces/pruning_ratios.yaml")
    assert "go on with:" in str(stop.value)
