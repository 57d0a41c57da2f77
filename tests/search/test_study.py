"""A study: what is asked meets every limit, what is told is kept for good, and nothing else costs budget."""

from __future__ import annotations

import json
import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import optuna
import pytest

from search import stored
from search._database import Database
from search.ends import failures
from search.job import Job
from search.known import Foresight
from search.preparation import planned_teacher
from search.record import Record
from search.reference import Reference
from search.samplers.sampler import SAMPLERS
from search.session import Session
from search.space import Space
from search.study import Study
from search.views import StudyViews
from tests.devices import ONE_CORE
from tests.search.told_space import TOLD
from trainers.cache import Cache
from trainers.errors import UserError

SPACE = (
    TOLD
    + """\
budget: {trials: 14, images: 1_000}
sampler: {tpe: {seed: 0}}
confirm: false
"""
)
WIDE = {"fid": 1e6, "size_mb": 0.2}
HALVED = ("budget.images={min: 300, max: 900}", "budget.trials=4", "sampler={budget_ei: {seed: 3}}")


@pytest.fixture
def open_study(tmp_path: Path, cache: Cache):
    def build(*overrides: str, limits: dict[str, float] | None = None, name: str = "told") -> Study:
        (tmp_path / "told.yaml").write_text(SPACE)
        space = Space.read(tmp_path / "told.yaml", overrides)
        foresight = Foresight(space, planned_teacher(space), ONE_CORE, limits or {"fid": 50.0, "size_mb": 0.2})
        return Study(tmp_path / name, space, foresight, {"values": {}, "stderr": {}})

    return build


def next_job(study: Study) -> Job:
    job = study.next()
    assert job is not None
    return job


def result(study: Study, job: Job, *, rung: int = -1, fid: float | None = None) -> dict[str, Any]:
    """What a trial would measure: the true size, and an FID that falls with it, and with training."""
    images = study.space.budget.rungs[rung]
    is_last = images == study.space.budget.images
    size = study.foresight.of(job.candidate).costs["size_mb"]
    measured = {"fid": 5 / size * (study.space.budget.images / images) ** 0.3 if fid is None else fid}
    measured |= {"size_mb": size} if is_last else {}
    return {
        "images": images,
        "is_last": is_last,
        "measurements": {
            name: {"value": value, "stderr": 0.1, "samples": 9, "by": "x"} for name, value in measured.items()
        },
        "seconds": {"prune": 0.5},
        "notes": [],
    }


def done(study: Study, job: Job, *, fid: float | None = None) -> Record:
    """Report all that a job measures."""
    for rung in range(job.first_rung, job.last_rung + 1):
        record = study.report(job.number, result(study, job, rung=rung, fid=fid))
    return record


def run_through(study: Study, *, until: Callable[[Job], bool] = lambda job: False) -> list[Job]:
    """The jobs of a study one after the other, up to and without the first for which ``until`` holds."""
    jobs = []
    while (job := study.next()) is not None and not until(job):
        jobs.append(job)
        done(study, job)
    return jobs


def by_state(study: Study) -> dict[str, list[int]]:
    found: dict[str, list[int]] = {}
    for record in study.records():
        found.setdefault(record.state, []).append(record.number)
    return found


@pytest.mark.parametrize("name", SAMPLERS.names())
@pytest.mark.parametrize("images", ["1_000", "{min: 300, max: 900}"])
def test_every_sampler_runs_a_study_to_its_end(open_study, name: str, images: str) -> None:
    # Optuna's Gaussian process takes seconds for each suggestion after its random ones.
    sampler = "{gp: {startup_trials: 4}}" if name == "gp" else name
    study = open_study(f"sampler={sampler}", "budget.trials=6", f"budget.images={images}")
    for job in run_through(study):
        assert job.candidate["prune.ratio.mid"] >= job.candidate["prune.ratio.up_0"]
        assert study.foresight.of(job.candidate).costs["size_mb"] <= 0.2
    records = study.records()
    complete, stopped = (sum(record.state == state for record in records) for state in ("complete", "stopped"))
    assert study.is_finished() and 0 <= study.left() < 2 / 3
    assert complete + stopped / 3 == pytest.approx(6 - study.left())
    assert (complete == 6 and stopped == 0) if images == "1_000" else (2 <= complete < 6 and stopped >= complete)
    assert {record.state for record in records} <= {"complete", "rejected", "stopped"}
    views = study.write_views()
    assert [trial.number for trial in views.trials] == [record.number for record in records]
    # FID falls with size, so every distinct size within the limits is on the front, of those trained to the end.
    sizes = {round(record.values["size_mb"], 9) for record in records if record.state == "complete"}
    within = {size for size in sizes if 5 / size <= 50.0}
    assert {round(point.values["size_mb"], 9) for point in views.front.points} == within


def test_limits_reach_the_sampler_as_constraints(open_study) -> None:
    study = open_study()
    done(study, next_job(study), fid=75.0)
    storage = f"sqlite:///{(study.folder / 'study.db').resolve()}"
    (trial,) = [
        trial
        for trial in optuna.load_study(study_name="told", storage=storage).get_trials()
        if trial.state == optuna.trial.TrialState.COMPLETE
    ]
    assert trial.constraints["fid"] == pytest.approx(0.5) and trial.constraints["size_mb"] <= 0
    assert study.write_views().front.points == []


def test_failed_trials_have_a_reason_and_cost_budget(open_study) -> None:
    study = open_study("budget.trials=2")
    study.fail(next_job(study).number, "FloatingPointError: the loss is not finite")
    assert study.left() == 1
    missing = next_job(study)
    broken = result(study, missing)
    del broken["measurements"]["fid"]
    assert study.report(missing.number, broken).reason == "objective fid was not measured"
    assert study.next() is None and study.is_finished()
    assert [record.state for record in study.records() if record.state != "rejected"] == ["failed", "failed"]


def test_a_narrow_region_is_found(open_study) -> None:
    """A limit that a few candidates in a hundred meet: the study still asks for those alone."""
    wide, generator = open_study(), random.Random(1)
    known = [wide.foresight.of(wide.space.random_candidate(generator)) for _ in range(500)]
    sizes = sorted(answer.costs["size_mb"] for answer in known if not answer.reasons)
    narrow = sizes[len(known) // 50]
    study = open_study("sampler={random: {seed: 1}}", limits={"fid": 1e6, "size_mb": narrow})
    for _ in range(3):
        job = next_job(study)
        assert study.foresight.of(job.candidate).costs["size_mb"] <= narrow
        done(study, job)


def test_a_region_that_is_empty_is_an_error(open_study) -> None:
    with pytest.raises(UserError, match="random candidates meets the limits"):
        open_study(limits={"size_mb": 0.001}).next()


def test_reopening_goes_on_and_does_not_repeat(open_study) -> None:
    first = open_study("sampler={random: {seed: 3}}")
    candidates = []
    for _ in range(3):
        job = next_job(first)
        done(first, job)
        candidates.append(job.candidate)
    again = open_study("sampler={random: {seed: 3}}")
    assert [record.candidate for record in again.records() if record.state == "complete"] == candidates
    assert again.left() == 11 and next_job(again).candidate not in candidates


def test_views_are_rebuilt_from_the_database(open_study) -> None:
    study = open_study(*HALVED)
    run_through(study)
    study.write_views()
    before = {name: (study.folder / name).read_bytes() for name in ("front.json", "trials.jsonl")}
    (study.folder / "front.json").write_text("{ torn")
    (study.folder / "trials.jsonl").unlink()
    open_study(*HALVED).write_views()
    assert (study.folder / "trials.jsonl").read_bytes() == before["trials.jsonl"]
    rebuilt, kept = (json.loads(text) for text in ((study.folder / "front.json").read_text(), before["front.json"]))
    assert rebuilt["points"] == kept["points"] and rebuilt["hypervolume"] == kept["hypervolume"]


def test_references_reach_the_report_and_count_for_nothing(open_study) -> None:
    plain = open_study(*HALVED)
    run_through(plain)
    before = json.loads((plain.folder / "front.json").read_text()) if plain.write_views() else {}
    # Better than anything, were it a trial.
    marked = open_study(*HALVED, "references=[{name: theirs, values: {fid: 0.1, size_mb: 0.001}, source: Table 1}]")
    views = marked.write_views()
    assert views.front.references == [
        Reference(name="theirs", values={"fid": 0.1, "size_mb": 0.001}, source="Table 1", note="")
    ]
    after = json.loads((marked.folder / "front.json").read_text())
    differing = {key for key in after if after[key] != before[key]}
    assert differing <= {"references", "seconds"} and before["points"] and before["references"] == []


# Stopping early


def test_weak_trials_stop_early_and_cost_their_part(open_study) -> None:
    study = open_study(*HALVED)
    jobs = run_through(study)
    begun, promoted = [job for job in jobs if job.is_new], [job for job in jobs if not job.is_new]
    assert len(begun) > 4 > len(promoted) >= 2
    assert all((job.first_rung, job.last_rung) == (0, 0) for job in begun)
    assert all((job.first_rung, job.last_rung) == (1, 1) for job in promoted)
    assert study.left() == pytest.approx(4 - len(begun) / 3 - len(promoted) * 2 / 3)
    assert by_state(study)["complete"] == sorted(job.number for job in promoted)
    assert by_state(study)["stopped"] == sorted({job.number for job in begun} - {job.number for job in promoted})


def test_a_stopped_trial_keeps_its_low_share_values_apart(open_study) -> None:
    study = open_study(*HALVED)
    job = next_job(study)
    record = done(study, job, fid=1.0)
    assert (record.state, record.images) == ("stopped", 300)
    assert record.reason == "stopped at 300 of 900 images: others promised more"
    assert record.values == {"fid": 1.0, "size_mb": study.foresight.of(job.candidate).costs["size_mb"]}
    assert record.stderr == {"fid": 0.1} and record.rungs == [{"images": 300, "values": {"fid": 1.0}}]
    assert study.records() == [record]
    # The best value of all, but of a third of the training.
    assert study.write_views().front.points == []


def test_a_complete_trial_has_all_its_rungs_and_their_time(open_study) -> None:
    study = open_study(*HALVED)
    run_through(study)
    record = next(record for record in study.records() if record.state == "complete")
    assert [rung["images"] for rung in record.rungs] == [300] and record.images == 900
    assert record.rungs[0]["values"]["fid"] == pytest.approx(record.values["fid"] * 3**0.3)
    assert record.stages == {"prune": 1.0} and set(record.stderr) == {"fid", "size_mb"}


def test_without_halving_a_job_goes_through_all_rungs(open_study) -> None:
    study = open_study("budget.images={min: 100, max: 900}", "halving=false", "budget.trials=2")
    jobs = run_through(study)
    assert [(job.is_new, job.first_rung, job.last_rung) for job in jobs] == [(True, 0, 2)] * 2
    assert by_state(study)["complete"] == [job.number for job in jobs]


def test_whoever_opens_the_study_decides_the_same(open_study) -> None:
    """Opened anew before every job, it gives the same jobs; with so short a start-up the process decides most."""
    overrides = (HALVED[0], "budget.trials=6", "sampler={budget_ei: {seed: 3, startup_trials: 4}}")
    unbroken = run_through(open_study(*overrides))
    jobs = []
    while (job := (study := open_study(*overrides, name="again")).next()) is not None:
        jobs.append(job)
        done(study, job)
    assert jobs == unbroken and len(jobs) > 8 and not all(job.is_new for job in jobs)


def test_nothing_now_is_not_the_end(open_study) -> None:
    """While a trial runs that the rest of the budget waits for, there is nothing to do and it is not finished."""
    study = open_study("budget.images={min: 300, max: 900}", "budget.trials=1", "sampler={budget_ei: {seed: 3}}")
    job = next_job(study)
    assert study.next() is None and not study.is_finished()
    done(study, job)
    # A second beginning would leave too little to finish anything.
    last = next_job(study)
    assert (last.number, last.is_new, last.last_rung) == (job.number, False, 1)
    assert study.next() is None and not study.is_finished()
    done(study, last)
    assert study.is_finished() and by_state(study)["complete"] == [job.number]


def test_more_budget_goes_on_with_stopped_trials(open_study) -> None:
    study = open_study(*HALVED, limits=WIDE)
    run_through(study)
    stopped = set(by_state(study)["stopped"])
    assert study.is_finished()
    more = open_study(HALVED[0], "budget.trials=8", *HALVED[2:], limits=WIDE)
    assert not more.is_finished() and more.left() == pytest.approx(4 + study.left())
    promoted = set()
    while (job := more.next()) is not None:
        # New ones are no good, so that those of before are worth going on with.
        promoted |= set() if job.is_new else {job.number}
        done(more, job, fid=1e5 if job.number > max(stopped) else None)
    assert promoted & stopped and promoted <= set(by_state(more)["complete"])


def test_a_failed_trial_costs_what_it_was_given(open_study) -> None:
    study = open_study(*HALVED)
    study.fail(next_job(study).number, "x")
    assert study.left() == pytest.approx(4 - 1 / 3)
    jobs = run_through(study, until=lambda job: not job.is_new)
    running = next(job.number for job in jobs if job.number not in by_state(study)["stopped"])
    left = study.left()
    record = study.fail(running, "y")
    assert (record.images, [rung["images"] for rung in record.rungs]) == (300, [300])
    assert study.left() == pytest.approx(left) and record.reason == "y"


# Drivers that die


def test_a_dead_driver_s_trial_goes_back_to_its_rung(open_study) -> None:
    dead = open_study(*HALVED)
    run_through(dead, until=lambda job: not job.is_new)
    running = next(trial.number for trial in dead._database.trials() if stored.is_training(trial))
    left = dead.left()
    heir = open_study(*HALVED)
    assert heir.adopt_orphans() == {running: "wait"} and heir.adopt_orphans() == {}
    assert heir.left() == pytest.approx(left + 2 / 3) and running in by_state(heir)["stopped"]
    again = next_job(heir)
    assert (again.number, again.first_rung, again.last_rung) == (running, 1, 1)
    # The third time it takes its driver with it, it is given up.
    second = open_study(*HALVED)
    assert second.adopt_orphans() == {running: "wait"} and next_job(second).number == running
    third = open_study(*HALVED)
    assert third.adopt_orphans() == {running: "failed"}
    assert third.records()[running].reason == "its driver ended while it ran (attempt 3)"


def test_a_dead_driver_s_first_rung_is_queued_again(open_study) -> None:
    dead = open_study(*HALVED)
    lost = next_job(dead)
    heir = open_study(*HALVED)
    assert heir.adopt_orphans() == {lost.number: "queued"} and heir.left() == 4
    again = next_job(heir)
    assert again.number != lost.number and again.candidate == lost.candidate and again.is_new


def test_a_finished_trial_of_a_dead_driver_is_told_from_its_folder(open_study) -> None:
    dead = open_study("budget.trials=1")
    job = next_job(dead)
    measured = result(dead, job)
    written = {key: measured[key] for key in ("images", "measurements", "seconds")}
    folder = dead.folder / dead.trial_path(job.number)
    folder.mkdir(parents=True)
    (folder / "measurements.json").write_text(
        json.dumps({**written, "achieved": [], "versions": {"torch": "2"}, "device": "cpu", "trial": job.number})
    )
    heir = open_study("budget.trials=1")
    assert heir.adopt_orphans() == {job.number: "finished"} and heir.is_finished()
    (record,) = [record for record in heir.records() if record.state == "complete"]
    assert record.values == {name: each["value"] for name, each in measured["measurements"].items()}
    assert record.versions == {"torch": "2"}


def test_a_rung_that_was_stored_but_not_told_is_told(open_study, monkeypatch: pytest.MonkeyPatch) -> None:
    """Between the rung's commit and Optuna's tell the driver dies."""
    dead = open_study("budget.trials=1")
    job = next_job(dead)

    def die(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(Study, "_end", die)
    with pytest.raises(KeyboardInterrupt):
        done(dead, job)
    monkeypatch.undo()
    heir = open_study("budget.trials=1")
    assert heir.adopt_orphans() == {job.number: "finished"} and heir.is_finished()


def test_a_driver_that_dies_while_it_has_a_trial_tried_again_loses_no_candidate(
    open_study, monkeypatch: pytest.MonkeyPatch
) -> None:
    for dies_in in ("queue", "end"):
        dead = open_study("budget.trials=1", name=dies_in)
        job = next_job(dead)
        lost, _ = dead.try_by_hand(job.candidate)
        assert next_job(dead).number == lost

        def die(*_: object, **__: object) -> None:
            raise KeyboardInterrupt

        with monkeypatch.context() as patch:
            patch.setattr(Database, dies_in, die)
            with pytest.raises(KeyboardInterrupt):
                dead.fail(lost, "why", "lost_worker")
        heir = open_study("budget.trials=1", name=dies_in)
        assert heir.adopt_orphans() == {job.number: "queued", lost: "queued"}
        again = [next_job(heir), next_job(heir)]
        assert [each.candidate for each in again] == [job.candidate] * 2 and heir.next() is None
        assert len({job.number, lost} | {each.number for each in again}) == 4


def test_the_seconds_of_a_trial_are_those_that_workers_say(open_study) -> None:
    study = open_study("budget.trials=2", "budget.images={min: 300, max: 900}", "halving=false")
    job = next_job(study)
    study.report(job.number, result(study, job, rung=0), seconds=7.0)
    study.fail(job.number, "why", "lost_worker", seconds=2.0)
    again = next_job(study)
    assert (again.number, again.seconds_before) == (job.number, 7.0)
    assert study.report(again.number, result(study, again), seconds=4.0).seconds == 11.0
    failed = next_job(study)
    assert study.fail(failed.number, "why", "timeout", seconds=3.0).seconds == 3.0


# Confirming


def again(study: Study, job: Job, fid: float) -> Record:
    return study.confirm(job.number, {"fid": {"value": fid, "stderr": 0.1, "draws": 3}})


def test_the_front_is_measured_again_when_the_search_has_ended(open_study) -> None:
    study = open_study("budget.trials=5", "confirm=3", "sampler={random: {seed: 1}}", limits=WIDE)
    jobs = {job.number: job for job in run_through(study, until=lambda job: job.kind == "confirm")}
    study = open_study("budget.trials=5", "confirm=3", "sampler={random: {seed: 1}}", limits=WIDE)
    assert study.adopt_orphans() == {} and not study.is_finished()
    front = {point.trial for point in study.write_views().front.points}
    confirmed = []
    while (job := study.next()) is not None:
        assert job.kind == "confirm" and job.candidate == jobs[job.number].candidate and not job.is_new
        assert not study.is_finished()
        record = again(study, job, study.records()[job.number].values["fid"] + 1)
        assert record.confirmed["fid"]["draws"] == 3
        confirmed.append(job.number)
    assert set(confirmed) == front and len(confirmed) == len(front) > 1 and study.is_finished()
    assert open_study("budget.trials=5", "confirm=3", limits=WIDE).is_finished()


def test_what_comes_onto_the_front_by_it_is_measured_again_too(open_study) -> None:
    study = open_study("budget.trials=2", "confirm=3", "sampler={random: {seed: 1}}", limits=WIDE)
    lucky, honest = next_job(study), next_job(study)
    if study.foresight.of(lucky.candidate).costs["size_mb"] > study.foresight.of(honest.candidate).costs["size_mb"]:
        lucky, honest = honest, lucky
    # The smaller model was lucky, and dominates the other by far more than two standard errors.
    done(study, lucky, fid=10.0)
    done(study, honest, fid=20.0)
    first = next_job(study)
    assert first.number == lucky.number and study.next() is None and not study.is_finished()
    again(study, first, fid=30.0)
    second = next_job(study)
    assert second.number == honest.number
    again(study, second, fid=20.5)
    assert study.next() is None and study.is_finished()


def test_a_trial_that_cannot_be_measured_again_is_tried_when_the_study_is_opened_again(open_study) -> None:
    study = open_study("budget.trials=1", "confirm=3", limits=WIDE)
    done(study, next_job(study))
    job = next_job(study)
    assert job.kind == "confirm" and study.confirm(job.number, {}).confirmed == {}
    assert study.next() is None and study.is_finished()
    assert next_job(open_study("budget.trials=1", "confirm=3", limits=WIDE)).number == job.number


# The folder


def test_a_file_in_the_database_s_place_is_refused(open_study, tmp_path: Path) -> None:
    (tmp_path / "told").mkdir()
    (tmp_path / "told" / "study.db").write_bytes(b"not a database" * 100)
    with pytest.raises(UserError, match="not a usable database"):
        open_study()


# Failures


@pytest.mark.parametrize("kind", ["out_of_memory", "out_of_memory_cuda", "lost_worker", "lost_node"])
def test_what_may_be_the_machine_s_fault_is_tried_once_more(open_study, kind: str) -> None:
    study = open_study(*HALVED)
    lost = next_job(study)
    record = study.fail(lost.number, "why", kind)
    assert (record.state, record.kind, record.reason) == ("failed", kind, "why (it begins again)")
    assert study.left() == 4
    again = next_job(study)
    assert again.number != lost.number and again.candidate == lost.candidate
    assert again.micro_batches == (2 if kind == "out_of_memory_cuda" else 1)
    assert study.fail(again.number, "why", kind).reason == "why"
    assert study.left() == pytest.approx(4 - 1 / 3) and next_job(study).candidate != lost.candidate
    assert [record.kind for record in study.records() if record.state == "failed"] == [kind, kind]


def test_a_space_with_nothing_left_open_is_tried_once_more_too(open_study) -> None:
    """It has no knob, and so no parameter in Optuna, by which one could see that it had begun."""
    fixed = ("recipe=[{quantize: {bits: 8}}]", "constraints=[]", "budget.trials=1")
    dead = open_study(*fixed)
    lost = next_job(dead)
    study = open_study(*fixed)
    assert study.adopt_orphans() == {lost.number: "queued"}
    record = study.fail(next_job(study).number, "why", "out_of_memory_cuda")
    assert record.reason == "why (it begins again)" and not study.is_finished()
    again = next_job(study)
    assert again.micro_batches == 2 and study.next() is None
    done(study, again)
    assert study.is_finished() and by_state(study)["complete"] == [again.number]


@pytest.mark.parametrize("kind", ["crash", "diverged", "timeout", "missing_objective", "disk_full"])
def test_a_trial_s_own_fault_is_not_tried_again(open_study, kind: str) -> None:
    study = open_study(*HALVED)
    lost = next_job(study)
    assert study.fail(lost.number, "why", kind).kind == kind
    assert study.left() == pytest.approx(4 - 1 / 3) and next_job(study).candidate != lost.candidate


@pytest.mark.parametrize("halving", ["true", "false"])
def test_a_lost_worker_s_trial_goes_on_from_its_last_rung(open_study, halving: str) -> None:
    study = open_study("budget.images={min: 300, max: 900}", "budget.trials=1", "confirm=0", f"halving={halving}")
    job = next_job(study)
    study.report(job.number, result(study, job, rung=0))
    job = job if halving == "false" else next_job(study)
    kept = study.folder / study.trial_path(job.number) / "training.safetensors"
    kept.parent.mkdir(parents=True)
    kept.touch()
    assert study.fail(job.number, "why", "lost_worker").reason == "why (it goes on from its last rung)"
    assert kept.exists() and study.left() == pytest.approx(2 / 3)
    again = next_job(study)
    assert (again.number, again.first_rung, again.last_rung) == (job.number, 1, 1) and not again.is_new
    done(study, again)
    assert study.is_finished() and by_state(study) == {"complete": [job.number]} and not kept.exists()


def test_without_halving_a_dead_driver_s_trial_goes_on_too(open_study) -> None:
    overrides = ("budget.images={min: 300, max: 900}", "budget.trials=1", "halving=false")
    dead = open_study(*overrides)
    job = next_job(dead)
    dead.report(job.number, result(dead, job, rung=0))
    heir = open_study(*overrides)
    assert heir.adopt_orphans() == {job.number: "wait"}
    again = next_job(heir)
    assert (again.number, again.first_rung, again.last_rung) == (job.number, 1, 1)


def test_five_alike_in_a_row_pause_the_study(open_study) -> None:
    study = open_study()
    jobs = [next_job(study) for _ in range(8)]
    for job in jobs[:4]:
        study.fail(job.number, "why", "timeout")
    done(study, jobs[4])
    running = next_job(study)
    for job, kind in zip(jobs[5:], ("timeout", "crash", "timeout"), strict=True):
        study.fail(job.number, "why", kind)
    for count in range(2, 6):
        assert not study.streak.is_too_long
        study.fail(next_job(study).number, f"why {count}", "timeout")
    assert study.streak.is_too_long and (study.streak.kind, study.streak.reason) == ("timeout", "why 5")
    assert study.next() is None and not study.is_finished()
    # What runs is kept, and opened again the study goes on.
    assert done(study, running).state == "complete"
    assert open_study().next() is not None


@pytest.mark.parametrize("trials", [5, 6])
def test_a_pause_says_where_nothing_is_left_to_go_on_with(open_study, trials: int) -> None:
    """Five trainings in full that failed may have been all of a small budget."""
    study = open_study(f"budget.trials={trials}", "budget.images=900")
    for _ in range(5):
        study.fail(next_job(study).number, "why", "crash")
    session = Session(Path("told.yaml"))
    session.folder = study.folder
    said = session._paused(study)
    assert ("nothing is left of it: add a larger --trials." in said) == (trials == 5)
    assert said.endswith("put right, go on with:\n  python -m search.run told.yaml\n")
    assert (open_study(f"budget.trials={trials}", "budget.images=900").next() is None) == (trials == 5)


def test_all_that_is_lost_with_a_node_is_one_loss(open_study) -> None:
    """Machines are taken away many at a time, and what ran on them goes on elsewhere: no fault is there to be found."""
    study = open_study()
    jobs = [next_job(study) for _ in range(8)]
    for job in jobs:
        study.fail(job.number, "its node was lost", "lost_node")
    assert not study.streak.is_too_long
    # What begins after that and is lost again, and again, tells of another fault.
    for count in range(2, 6):
        assert not study.streak.is_too_long and study.streak.length == count - 1
        study.fail(next_job(study).number, "its node was lost", "lost_node")
    assert study.streak.is_too_long and study.next() is None


def test_rungs_that_succeed_do_not_hide_that_the_last_one_never_does(open_study) -> None:
    study = open_study("budget.images={min: 300, max: 900}", "budget.trials=30")
    ended = 0
    while (job := study.next()) is not None and ended < 200:
        is_last = job.last_rung == len(study.space.budget.rungs) - 1
        if is_last:
            study.fail(job.number, "cannot save", "crash")
        else:
            done(study, job)
        ended += 1
    assert study.streak.is_too_long and study.left() > 15 and not by_state(study).get("complete")


def test_a_measurement_that_lacks_an_objective_is_no_success(open_study) -> None:
    study = open_study("budget.images=900")
    for _ in range(5):
        job = next_job(study)
        told = result(study, job, rung=job.last_rung)
        del told["measurements"]["size_mb"]
        assert study.report(job.number, told).kind == "missing_objective"
    assert study.streak.is_too_long and study.next() is None


def test_a_worker_lost_while_it_measured_again_is_tried_once_more(open_study) -> None:
    study = open_study("budget.trials=1", "confirm=3", limits=WIDE)
    done(study, next_job(study))
    job = next_job(study)
    record = study.fail_to_confirm(job.number, "its worker was lost", "lost_worker")
    assert record.confirmed == {} and record.reason == "its worker was lost (it is tried once more)"
    assert not study.is_finished() and next_job(study).number == job.number
    record = study.fail_to_confirm(job.number, "its worker was lost", "lost_worker")
    assert record.reason == "its worker was lost (it is not on the front)" and study.is_finished()
    study = open_study("budget.trials=1", "confirm=3", limits=WIDE)
    assert study.fail_to_confirm(next_job(study).number, "gone", "crash").reason == "gone (it is not on the front)"
    assert study.is_finished()


def test_measuring_again_that_ends_its_driver_is_given_up_at_the_third_time(open_study) -> None:
    def again() -> Study:
        return open_study("budget.trials=1", "confirm=3", limits=WIDE)

    study = again()
    done(study, next_job(study))
    number = next_job(study).number
    # One end that is told, and the count begins anew.
    study.fail_to_confirm(number, "its worker was lost", "lost_worker")
    for _ in range(3):
        assert not again().ended_drivers and not again().is_finished()
        assert next_job(again()).number == number
    last = again()
    assert last.ended_drivers == {number} and last.next() is None and last.is_finished()
    assert last.records()[number].state == "complete"


def test_a_success_lets_a_paused_study_go_on(open_study) -> None:
    study = open_study()
    running = next_job(study)
    for _ in range(5):
        study.fail(next_job(study).number, "why", "crash")
    assert study.next() is None
    done(study, running)
    assert study.next() is not None


def test_views_of_an_older_version_have_no_kind(open_study) -> None:
    study = open_study()
    study.fail(next_job(study).number, "why", "timeout")
    views = study.write_views()
    assert [trial.kind for trial in views.trials if trial.state == "failed"] == ["timeout"]
    assert failures(views.trials) == "1 failed (1 timeout)"
    path = study.folder / "trials.jsonl"
    lines = [json.loads(line) for line in path.read_text().splitlines()]
    path.write_text("".join(json.dumps({key: line[key] for key in line if key != "kind"}) + "\n" for line in lines))
    assert failures(StudyViews.open(study.folder).trials) == "1 failed (1 of no kind kept)"
