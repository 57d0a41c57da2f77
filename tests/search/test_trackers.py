"""Trackers: what they are told, once for each trial that ended; TensorBoard for real, the others by their calls."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import replace
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any, cast

import pytest
from rich.console import Console

from search.record import Record
from search.searching import Searching
from search.space import Space, SpaceError
from search.trackers._guarded import guarded
from search.trackers._watcher import TrackedWatcher
from search.trackers.tracker import TRACKERS, Told
from tests.search.study_folder import write_strip
from trainers.errors import UserError


@pytest.fixture
def told(tmp_path: Path) -> Told:
    write_strip(tmp_path / "samples.webp", noise=0.1)
    return Told(
        study="tiny",
        trial=7,
        state="complete",
        knobs={"prune.ratio.mid": 0.25, "prune.rule": "paper", "mask": None},
        values={"fid": 30.0, "confirmed/fid": 31.0},
        strip=tmp_path / "samples.webp",
    )


def test_a_tracker_hears_of_what_ended_and_of_what_was_measured_again(tmp_path: Path) -> None:
    heard: list[Any] = []
    watcher: Any = SimpleNamespace(
        started=lambda job: heard.append("started"),
        progressed=lambda number, progress: heard.append("progressed"),
        reported=lambda job, record: heard.append("reported"),
        ended=lambda record: heard.append("ended"),
        confirmed=lambda record: heard.append("confirmed"),
    )
    study: Any = SimpleNamespace(folder=tmp_path / "tiny")
    tracked = TrackedWatcher(watcher, SimpleNamespace(tell=heard.append), study)
    write_strip(tmp_path / "tiny" / "trials" / "0003" / "samples.webp", noise=0.1)
    record = Record(number=3, state="complete", candidate={"x": 1}, values={"fid": 30.0}, path="trials/0003")
    again = Record(**{**record.as_json(), "confirmed": {"fid": {"value": 31.0, "stderr": 0.1}}})
    job: Any = None
    tracked.started(job)
    tracked.progressed(3, job)
    tracked.reported(job, record)
    tracked.ended(record)
    tracked.confirmed(again)
    assert [each if isinstance(each, str) else "told" for each in heard] == [
        "started",
        "progressed",
        "reported",
        "ended",
        "told",
        "confirmed",
        "told",
    ]
    first, second = heard[4], heard[6]
    assert (first.name, first.knobs, first.values) == ("tiny-0003", {"x": 1}, {"fid": 30.0})
    assert first.strip == tmp_path / "tiny" / "trials" / "0003" / "samples.webp"
    assert second.values == {"fid": 30.0, "confirmed/fid": 31.0}


@pytest.mark.parametrize(("is_finished", "expected"), [(True, ["tiny-0002"]), (False, [])])
def test_a_tracker_hears_of_stopped_trials_when_none_may_go_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, *, is_finished: bool, expected: list[str]
) -> None:
    heard: list[Told] = []

    @contextmanager
    def log(study: str, folder: Path) -> Iterator[Any]:
        yield SimpleNamespace(tell=heard.append)

    monkeypatch.setattr(TRACKERS, "name_of", lambda tracker: "mine")
    monkeypatch.setattr("search.drive.search_here", lambda study, shop, watcher: None)
    space: Any = SimpleNamespace(tracker=SimpleNamespace(log=log))
    states = ("complete", "failed", "stopped", "rejected")
    records = [Record(number=number, state=state) for number, state in enumerate(states)]  # type: ignore[arg-type]
    study: Any = SimpleNamespace(folder=tmp_path / "tiny", is_finished=lambda: is_finished, records=lambda: records)
    console, shop, view = Console(), cast("Any", None), cast("Any", nullcontext())
    Searching(space=space, folder=study.folder, console=console, workers=0, address=None).run(study, shop, view)
    assert [told.name for told in heard] == expected


class Failing:
    """Its connection fails when a trial of that number is told; at None, when it is made."""

    def __init__(self, *numbers: int | None) -> None:
        self.numbers = numbers
        self.heard: list[int] = []

    @contextmanager
    def log(self, study: str, folder: Path) -> Iterator[Failing]:
        if None in self.numbers:
            raise ConnectionError("the server\nis away")
        yield self
        raise OSError("the disk is full")

    def tell(self, told: Told) -> None:
        self.heard.append(told.trial)
        if told.trial in self.numbers:
            raise ValueError(f"trial {told.trial} is refused")


def test_a_tracker_that_fails_ends_no_search_and_is_given_up_when_it_stays_away(
    tmp_path: Path, told: Told, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(TRACKERS, "name_of", lambda tracker: "mine")
    for numbers, heard, said in (
        ((None,), [], "ConnectionError: the server"),
        ((1,), [0, 1, 2, 3, 4, 5], "ValueError: trial 1 is refused"),
        ((1, 2, 3), [0, 1, 2, 3], "ValueError: trial 1 is refused"),
        ((), [0, 1, 2, 3, 4, 5], "OSError: the disk is full"),
    ):
        lines: list[str] = []
        tracker: Any = Failing(*numbers)
        with guarded(tracker, tmp_path / "tiny", lines.append) as log:
            for trial in range(6):
                log.tell(replace(told, trial=trial))
        assert tracker.heard == heard
        assert len(lines) == 1 and lines[0].startswith("warning: tracker: mine failed") and lines[0].endswith(said)


def test_what_fails_in_the_search_itself_is_not_the_trackers(tmp_path: Path) -> None:
    lines: list[str] = []
    with pytest.raises(OSError, match="study"), guarded(TRACKERS.parse("tensorboard"), tmp_path, lines.append):
        raise OSError("study")
    assert not lines


def test_tensorboard_files_hold_values_knobs_and_pictures(tmp_path: Path, told: Told) -> None:
    from tensorboardX.proto.event_pb2 import Event

    with TRACKERS.parse("tensorboard").log("tiny", tmp_path) as log:
        log.tell(told)
    tags = set()
    for file in (tmp_path / "tensorboard").rglob("events.out.tfevents.*"):
        for raw in _records(file.read_bytes()):
            event = Event.FromString(raw)
            tags |= {(value.tag, value.simple_value) for value in event.summary.value}
    assert {("fid", 30.0), ("confirmed/fid", 31.0)} <= tags
    assert {"samples", "_hparams_/experiment"} <= {tag for tag, _ in tags}


def _records(content: bytes) -> list[bytes]:
    """TFRecord: length, its checksum, the data, its checksum."""
    found = []
    while content:
        length = int.from_bytes(content[:8], "little")
        found.append(content[12 : 12 + length])
        content = content[16 + length :]
    return found


def test_wandb_gets_a_run_for_each_trial(tmp_path: Path, told: Told, monkeypatch: pytest.MonkeyPatch) -> None:
    begun, logged = [], []

    def init(**options: Any) -> Any:
        begun.append(options)
        return SimpleNamespace(log=logged.append, finish=lambda: logged.append("finished"))

    fake: Any = ModuleType("wandb")
    fake.init, fake.Image, fake.Settings = init, lambda path: f"image of {Path(path).name}", SimpleNamespace
    monkeypatch.setitem(sys.modules, "wandb", fake)
    with TRACKERS.parse({"wandb": {"project": "mine"}}).log("tiny", tmp_path) as log:
        log.tell(told)
    (run,) = begun
    assert (run["project"], run["group"], run["id"], run["resume"]) == ("mine", "tiny", "tiny-0007", "allow")
    assert run["config"] == told.knobs
    assert logged == [{**told.values, "samples": "image of samples.webp"}, "finished"]


def test_mlflow_gets_a_run_for_each_trial_and_adds_to_it(
    tmp_path: Path, told: Told, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls: list[tuple[str, tuple[Any, ...]]] = []
    runs: list[Any] = []

    class Client:
        def __init__(self, tracking_uri: str | None) -> None:
            calls.append(("client", (tracking_uri,)))

        def get_experiment_by_name(self, name: str) -> None:
            return None

        def create_run(self, experiment: str, **options: Any) -> Any:
            known = {"info": SimpleNamespace(run_id=f"run{len(runs)}"), "data": SimpleNamespace(params={})}
            runs.append(SimpleNamespace(**known, options=options))
            return runs[-1]

        def search_runs(self, experiments: list[str], wanted: str) -> list[Any]:
            assert experiments == ["5"] and wanted == "tags.trial = '7'"
            return runs

        def log_param(self, run: str, name: str, value: object) -> None:
            kept = next(each for each in runs if each.info.run_id == run).data.params
            assert kept.setdefault(name, str(value)) == str(value), "MLflow changes no parameter"
            calls.append(("log_param", (run, name, value)))

        def create_experiment(self, name: str) -> str:
            assert name == "tiny"
            return "5"

        def __getattr__(self, name: str) -> Any:
            return lambda *values: calls.append((name, values))

    fake: Any = ModuleType("mlflow.tracking")
    fake.MlflowClient = Client
    monkeypatch.setitem(sys.modules, "mlflow", ModuleType("mlflow"))
    monkeypatch.setitem(sys.modules, "mlflow.tracking", fake)
    with TRACKERS.parse({"mlflow": {"uri": "sqlite:///x"}}).log("tiny", tmp_path) as log:
        log.tell(told)
        log.tell(told)
        assert len(runs) == 1
        # An earlier study of this name tried something else in its place.
        log.tell(replace(told, knobs={"prune.rule": "flexible"}))
    assert calls[0] == ("client", ("sqlite:///x",)) and len(runs) == 2 and runs[0].options["run_name"] == "tiny-0007"
    assert ("log_param", ("run0", "prune.rule", "paper")) in calls and ("log_metric", ("run0", "fid", 30.0)) in calls
    assert ("log_artifact", ("run0", str(told.strip))) in calls and ("set_terminated", ("run0", "FINISHED")) in calls


def test_a_missing_package_is_one_clear_message(monkeypatch: pytest.MonkeyPatch) -> None:
    TRACKERS.parse("tensorboard").check()
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    for name in TRACKERS.names():
        with pytest.raises(UserError, match=rf"tracker: {name} needs the package .* leave tracker out"):
            TRACKERS.parse(name).check()


def test_a_space_names_its_tracker_and_may_change_it(tmp_path: Path, repository: Path) -> None:
    file = repository / "spaces" / "pruning_ratios.yaml"
    plain, tracked = Space.read(file), Space.read(file, ["tracker={wandb: {project: mine}}"])
    assert plain.tracker is None and tracked.tracker == TRACKERS.parse({"wandb": {"project": "mine"}})
    assert plain.fingerprint() == tracked.fingerprint()
    with pytest.raises(SpaceError, match=r"unknown tracker 'mlfow'. Did you mean 'mlflow'"):
        Space.read(file, ["tracker=mlfow"])
