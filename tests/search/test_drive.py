"""Jobs as they are carried out: rung by rung, from the state in the trial's folder, and measured again."""

from __future__ import annotations

import io
import json
import re
import shutil
import statistics
import time
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest
import torch
from rich.console import Console
from safetensors import safe_open
from safetensors.torch import load_file, save_file

from objectives.fid import Fid
from search import drive, watchdog
from search.drive import plan_of, search_here
from search.evaluate import TrialPlan, Workshop, confirm, train
from search.job import Job
from search.known import Foresight
from search.live import LiveWatcher, PlainWatcher, Tally
from search.preparation import teacher_run
from search.record import Record
from search.space import Space
from search.study import Study
from tests.devices import ONE_CORE
from trainers.cache import Cache
from trainers.data.dataset import Images
from trainers.distillation import _loop
from trainers.models import files
from trainers.models.diffusion_model import DiffusionModel
from trainers.run import Run

SPACE = """\
teacher: {from: somewhere}
recipe:
  - prune: {criterion: magnitude, ratio: {mid: {float: [0.0, 0.8]}, up_0: {float: [0.0, 0.6]}}}
  - distil: {batch: 64, sampling_steps: {choice: [2, 4]}, learning_rate: 1e-3}
objectives: [{fid: {extractor: labels, samples: 40}}, size_mb]
limits: {fid: 100_000}
budget: {trials: 3, images: {min: 128, max: 384}}
sampler: {budget_ei: {seed: 2, startup_trials: 4}}
confirm: 2
"""


class Watch:
    """Dies at the first event of which ``dies`` is true, as by Ctrl-C; what it is told of is a job or a record."""

    def __init__(self, dies: Callable[[str, Any], bool] = lambda event, what: False) -> None:
        self._dies = dies

    def started(self, job: Job) -> None:
        self._hear("started", job)

    def progressed(self, number: int, progress: object) -> None:
        """Once a second; these trials are faster."""

    def reported(self, job: Job, record: Record) -> None:
        self._hear("reported", job)

    def ended(self, record: Record) -> None:
        self._hear("ended", record)

    def confirmed(self, record: Record) -> None:
        self._hear("confirmed", record)

    def _hear(self, event: str, what: Any) -> None:
        if self._dies(event, what):
            raise KeyboardInterrupt


@pytest.fixture(scope="module")
def shop(tiny: DiffusionModel, digits: Images, cache: Cache) -> Workshop:
    objectives = Space.read(_written(Path(cache.folder))).objectives
    return Workshop(tiny, digits, objectives, cache, torch.device("cpu"))


def opened(folder: Path, shop: Workshop, *overrides: str) -> Study:
    space = Space.read(_written(folder.parent), overrides)
    foresight = Foresight(space, shop.teacher.spec, ONE_CORE, {"fid": 1e5})
    return Study(folder, space, foresight, {"values": {}, "stderr": {}})


@pytest.fixture
def open_study(tmp_path: Path, shop: Workshop):
    def build(*overrides: str, name: str = "study") -> Study:
        return opened(tmp_path / name, shop, *overrides)

    return build


def counted(monkeypatch: pytest.MonkeyPatch) -> Counter[tuple[int, int]]:
    """How often each batch is trained on from now, by the trial's seed and the images seen before it."""
    seen: Counter[tuple[int, int]] = Counter()
    batch = _loop._batch

    def noted(model: DiffusionModel, run: Run, images: int, *rest: Any) -> Any:
        seen[run.seed, images] += 1
        return batch(model, run, images, *rest)

    monkeypatch.setattr(_loop, "_batch", noted)
    return seen


@pytest.fixture
def trained(monkeypatch: pytest.MonkeyPatch) -> Counter[tuple[int, int]]:
    return counted(monkeypatch)


@dataclass(frozen=True)
class Unbroken:
    """A study that ran to its end at once, and the batches that were trained on for it."""

    study: Study
    trained: Counter[tuple[int, int]]


@pytest.fixture(scope="module")
def unbroken(tmp_path_factory: pytest.TempPathFactory, shop: Workshop) -> Unbroken:
    """Of the space as it is; only to be looked at."""
    study = opened(tmp_path_factory.mktemp("unbroken") / "study", shop)
    with pytest.MonkeyPatch.context() as patch:
        trained = counted(patch)
        search_here(study, shop, Watch())
    return Unbroken(study, trained)


def _written(folder: Path) -> Path:
    (folder / "tiny.yaml").write_text(SPACE)
    return folder / "tiny.yaml"


def results(study: Study) -> list[tuple[Any, ...]]:
    """Everything of a study that does not depend on the clock."""
    return [
        (record.number, record.state, record.candidate, record.values, record.rungs, record.images, record.confirmed)
        for record in study.records()
    ]


def trial_files(study: Study, record: Record) -> set[str]:
    return {path.name for path in (study.folder / record.path).iterdir()}


def test_a_study_trains_no_image_twice(unbroken: Unbroken) -> None:
    study, trained = unbroken.study, unbroken.trained
    assert study.is_finished() and set(trained.values()) == {1}
    records = study.records()
    assert 64 * len(trained) == sum(record.images for record in records) == round(384 * (3 - study.left()))
    assert {record.state for record in records} == {"complete", "stopped"}
    for record in records:
        assert ("training.safetensors" in trial_files(study, record)) == (record.state == "stopped")
        assert ("model.safetensors" in trial_files(study, record)) == (record.state == "complete")


def test_the_same_seed_gives_the_same_study_digit_for_digit(open_study, shop: Workshop) -> None:
    first, second = (open_study("budget.trials=2", name=name) for name in ("first", "second"))
    for study in (first, second):
        search_here(study, shop, Watch())
    assert results(first) == results(second) and len(results(first)) > 1
    trials = [record.path for record in first.records() if record.state == "complete"]
    assert trials
    for path in trials:
        models = [files.load(study.folder / path) for study in (first, second)]
        assert models[0].fingerprint() == models[1].fingerprint()


def test_a_trial_that_hangs_is_ended(open_study, shop: Workshop, monkeypatch: pytest.MonkeyPatch) -> None:
    study = open_study("budget.trials=1", "budget.images=128", "limits_per_trial.minutes=0.01")
    monkeypatch.setattr(_loop, "_batch", lambda *_: time.sleep(3_600))
    search_here(study, shop, Watch())
    (record,) = study.records()
    assert (record.state, record.kind) == ("failed", "timeout") and study.is_finished()


def test_a_trial_that_takes_too_much_memory_is_ended_and_tried_again(
    open_study, shop: Workshop, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(watchdog, "LOOK_SECONDS", 0.01)
    most = f"limits_per_trial.memory_gb={watchdog._memory_gb() + 0.6}"
    study = open_study("budget.trials=1", "confirm=0", "budget.images=128", most)
    batch = _loop._batch

    def greedy(*arguments: Any) -> Any:
        held: list[torch.Tensor] = []
        while study.streak.kind is None and len(held) < 100:
            held.append(torch.ones(10_000_000))
            time.sleep(0.02)
        return batch(*arguments)

    monkeypatch.setattr(_loop, "_batch", greedy)
    search_here(study, shop, Watch())
    lost, again = study.records()
    assert (lost.state, lost.kind, again.state) == ("failed", "out_of_memory", "complete")
    assert lost.candidate == again.candidate and study.is_finished()


def test_interrupted_after_every_result_it_comes_to_the_same(
    open_study, shop: Workshop, unbroken: Unbroken, trained: Counter[tuple[int, int]]
) -> None:
    broken, interruptions = open_study(name="broken"), 0
    while not broken.is_finished():
        try:
            search_here(broken, shop, Watch(lambda event, what: event != "started"))
        except KeyboardInterrupt:
            interruptions += 1
        broken = open_study(name="broken")
        assert broken.adopt_orphans() == {}
    assert interruptions > 6 and trained == unbroken.trained and set(trained.values()) == {1}
    assert results(broken) == results(unbroken.study)


def test_a_driver_that_dies_while_a_trial_goes_on_loses_no_rung(
    open_study, shop: Workshop, unbroken: Unbroken, trained: Counter[tuple[int, int]]
) -> None:
    broken = open_study(name="broken")
    with pytest.raises(KeyboardInterrupt):
        search_here(broken, shop, Watch(lambda event, job: event == "started" and not job.is_new))
    heir = open_study(name="broken")
    assert list(heir.adopt_orphans().values()) == ["wait"]
    search_here(heir, shop, Watch())
    assert set(trained.values()) == {1} and results(heir) == results(unbroken.study)


def test_more_budget_goes_on_from_the_kept_state(
    open_study, shop: Workshop, unbroken: Unbroken, trained: Counter[tuple[int, int]], tmp_path: Path
) -> None:
    shutil.copytree(unbroken.study.folder, tmp_path / "study")
    stopped = {record.number for record in unbroken.study.records() if record.state == "stopped"}
    more = open_study("budget.trials=9", "halving={keep: 1.0, rule: sort}")
    search_here(more, shop, Watch())
    assert trained and set((trained + unbroken.trained).values()) == {1}
    assert stopped <= {record.number for record in more.records() if record.state == "complete"}


def test_a_trial_that_fails_ends_as_one_failure_with_a_reason(
    open_study, shop: Workshop, monkeypatch: pytest.MonkeyPatch
) -> None:
    study = open_study("budget.trials=1", "confirm=0")
    monkeypatch.setattr(_loop._Rate, "after", lambda rate, seen: 1.0 if seen < 128 else float("nan"))
    search_here(study, shop, Watch())
    (record,) = study.records()
    assert (record.state, record.images, study.is_finished()) == ("failed", 128, True)
    assert record.reason is not None and record.reason.startswith("FloatingPointError: ")
    assert record.kind == "diverged"
    assert trial_files(study, record) == {"log.txt"}


def test_why_a_worker_was_lost_is_in_the_log_of_its_trial(open_study) -> None:
    """There is no traceback; messages name the log all the same."""
    study = open_study()
    job = study.next()
    assert job is not None
    lost = {"failed": "its worker was lost", "kind": "lost_worker", drive.BUSY_SECONDS: 1.0}
    drive.keep(study, job, lost, Watch())
    assert (study.folder / study.trial_path(job.number) / "log.txt").read_text() == "its worker was lost\n"


def test_what_a_job_took_is_the_time_of_its_worker_alone(
    plan: TrialPlan, shop: Workshop, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Not the time in which its results wait to be told, nor that before it began."""
    now = [0.0]

    def results(*_: object) -> Iterator[dict[str, Any]]:
        for seconds in (5, 7):
            now[0] += seconds
            yield {"images": seconds}
        now[0] += 9
        raise FloatingPointError

    monkeypatch.setattr(drive.time, "monotonic", lambda: now[0])
    monkeypatch.setattr(drive, "_results", results)
    took = []
    for result in drive.carried_out(plan, shop):
        now[0] += 1_000
        took.append((result.get("images"), result["busy_seconds"]))
    assert took == [(5, 5), (7, 7), (None, 9)]


# One trial


@pytest.fixture
def plan(open_study) -> TrialPlan:
    study = open_study("budget.images={min: 128, max: 1_152}", "halving=false")
    candidate = {"prune.ratio.mid": 0.5, "prune.ratio.up_0": 0.25, "distil.sampling_steps": 4}
    return plan_of(study, Job(number=0, candidate=candidate, last_rung=2))


def fids(plan: TrialPlan, shop: Workshop) -> list[float]:
    return [result.measurements["fid"].value for result in train(plan, shop)]


def test_a_trial_that_waited_ends_as_one_that_did_not(plan: TrialPlan, shop: Workshop, tmp_path: Path) -> None:
    unbroken = fids(plan, shop)
    waited = replace(plan, folder=str(tmp_path / "waited"))
    parts = [replace(waited, first_rung=rung, last_rung=rung) for rung in range(3)]
    assert [value for part in parts for value in fids(part, shop)] == unbroken and len(set(unbroken)) == 3
    assert files.load(waited.folder).fingerprint() == files.load(plan.folder).fingerprint()


def test_what_a_trial_fitted_in_is_kept_for_its_full_training(plan: TrialPlan, shop: Workshop) -> None:
    list(train(replace(plan, rungs=plan.rungs[:1], last_rung=0, micro_batches=2), shop))
    assert json.loads((Path(plan.folder) / "measurements.json").read_text())["micro_batches"] == 2


def test_a_rung_that_was_kept_but_not_told_is_only_measured(
    plan: TrialPlan, shop: Workshop, trained: Counter[tuple[int, int]]
) -> None:
    before = fids(replace(plan, last_rung=1), shop)
    trained.clear()
    assert fids(replace(plan, first_rung=1, last_rung=1), shop) == before[1:] and not trained


def with_short_moments(path: Path) -> None:
    """As a stranger may make it: each moment of the optimiser has one value, whatever its weights have."""
    with safe_open(path, framework="pt") as opened:
        metadata = opened.metadata()
    tensors = load_file(path)
    short = {name: torch.zeros(1) for name in tensors if name.endswith("exp_avg")}
    assert short
    save_file({**tensors, **short}, path, metadata=metadata)


@pytest.mark.parametrize(
    "damage", [lambda path: path.unlink(), lambda path: path.write_bytes(b"torn"), with_short_moments]
)
def test_without_its_state_a_trial_begins_again(
    plan: TrialPlan, shop: Workshop, trained: Counter[tuple[int, int]], damage: Callable[[Path], object]
) -> None:
    first = fids(replace(plan, last_rung=1), shop)
    damage(Path(plan.folder) / "training.safetensors")
    assert fids(replace(plan, first_rung=1, last_rung=1), shop) == first[1:] and set(trained.values()) == {2}


def test_a_trial_may_ask_for_what_is_no_number(plan: TrialPlan, shop: Workshop) -> None:
    recipe = [{"finetune": {"batch": 64, "optimizer": "adam_8bit"}}]
    *_, last = train(replace(plan, recipe=recipe, rungs=(64,), last_rung=0), shop)
    assert last.is_last
    assert "asked adam_8bit, achieved adam_8bit (on a CPU" in (Path(plan.folder) / "log.txt").read_text()


def test_a_model_is_measured_again_with_noise_that_the_search_never_saw(plan: TrialPlan, shop: Workshop) -> None:
    *_, last = train(plan, shop)
    seeds = (11, 12, 13)
    again = confirm(replace(plan, confirm_seeds=seeds), shop)
    # Size is counted, not measured.
    assert set(again) == {"fid"} and again["fid"]["draws"] == 3
    model, run = files.load(plan.folder), teacher_run(shop)
    drawn = [Fid(samples=40, extractor="labels", seed=seed).measure(model, run) for seed in seeds]
    values = [measurement.value for measurement in drawn]
    assert last.measurements["fid"].value not in values and len(set(values)) == 3
    assert again["fid"]["value"] == pytest.approx(statistics.fmean(values))
    own = statistics.fmean(measurement.stderr**2 for measurement in drawn) ** 0.5
    assert again["fid"]["stderr"] == pytest.approx(max(statistics.stdev(values), own) / 3**0.5)
    assert confirm(replace(plan, confirm_seeds=seeds), shop) == again


def test_all_trials_are_measured_again_with_the_same_noise(open_study) -> None:
    def seeds(study: Study, number: int) -> tuple[int, ...]:
        candidate = {"prune.ratio.mid": 0.5, "prune.ratio.up_0": 0.25, "distil.sampling_steps": 4}
        return plan_of(study, Job(number=number, candidate=candidate, kind="confirm")).confirm_seeds

    study = open_study("confirm=4")
    assert seeds(study, 3) == seeds(study, 8) and len(set(seeds(study, 3))) == 4
    assert not set(seeds(study, 3)) & set(seeds(open_study("sampler.budget_ei.seed=5", name="other"), 3))
    assert study.space.objectives[0].seed not in seeds(study, 3)


def test_a_model_that_is_gone_is_not_confirmed_and_says_why(open_study, shop: Workshop) -> None:
    study = open_study("budget.trials=1")

    def remove(event: str, what: Any) -> bool:
        if event == "ended":
            (study.folder / what.path / "model.safetensors").unlink()
        return False

    search_here(study, shop, Watch(remove))
    (record,) = study.records()
    assert record.state == "complete" and record.confirmed == {} and study.is_finished()
    assert "model.safetensors does not exist" in (study.folder / record.path / "log.txt").read_text()


# What is said meanwhile


def test_the_plain_view_has_a_line_for_each_event(open_study, shop: Workshop) -> None:
    study, said = open_study(), io.StringIO()
    search_here(study, shop, PlainWatcher(Tally(study, workers=1, expected_seconds=1.0), Console(file=said)))
    lines = said.getvalue().splitlines()
    assert re.fullmatch(r"trial 0 starts: mid [\d.]+, up_0 [\d.]+, sampling_steps [24]", lines[0])
    counts = r"\[0 running, 0 complete, 1 waiting, 0 failed; 0.333 of 3 full trainings; .* left; front: 0 points, .*\]"
    assert re.fullmatch(rf"trial 0 reached 128 images: fid [\d.]+, waits {counts}", lines[1])
    first = next(record.number for record in study.records() if record.state == "complete")
    for said_of_first in ("goes on to 384 images", "is measured again"):
        assert f"trial {first} {said_of_first}" in lines
    assert any(re.match(rf"trial {first} done in \d+ s: fid [\d.]+, size_mb", line) for line in lines)
    assert any(
        re.match(rf"trial {first} measured again: fid [\d.]+ ± [\d.]+ \(first [\d.]+\) \[", line) for line in lines
    )


def test_without_halving_a_trial_goes_on_by_itself(open_study, shop: Workshop) -> None:
    study, said = open_study("halving=false", "budget.trials=1", "confirm=0"), io.StringIO()
    search_here(study, shop, PlainWatcher(Tally(study, workers=1, expected_seconds=1.0), Console(file=said)))
    starts, reached, done = said.getvalue().splitlines()
    assert starts.startswith("trial 0 starts") and done.startswith("trial 0 done in")
    assert re.fullmatch(r"trial 0 reached 128 images: fid [\d.]+, goes on", reached)


def test_the_live_view_shows_what_runs_and_what_is_left(open_study, shop: Workshop) -> None:
    study = open_study()
    tally = Tally(study, workers=1, expected_seconds=30.0)
    assert tally.seconds_left == 90
    watch = LiveWatcher(tally, Console(file=io.StringIO()))

    def shown() -> str:
        console = Console(width=160, record=True, file=io.StringIO())
        console.print(watch._picture())
        return console.export_text()

    job = study.next()
    assert job is not None
    watch.started(job)
    assert "1 running, 0 complete, 0 waiting" in shown() and "trial 0    0%" in shown()
    assert tally.seconds_left == pytest.approx(90, abs=1)
    (result,) = train(plan_of(study, job), shop)
    watch.reported(job, study.report(job.number, result.as_json()))
    assert "0 running, 0 complete, 1 waiting" in shown() and "trial 0 reached 128 images: fid" in shown()
    assert "0.333 of 3 full trainings" in shown()
