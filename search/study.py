"""A study: one folder, one Optuna study in a database, which is the truth; the view files can be rebuilt from it."""

from __future__ import annotations

import json
import time
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from optuna.trial import TrialState

from search import stored
from search._candidates import Candidates
from search._database import Database
from search._stored_check import BEGUN_AGAIN, CONFIRMED, check_stored, goals_of, is_result
from search.checkpoints import Checkpoints, of_trial
from search.confirmation import unconfirmed
from search.devices import elsewhere, timed_by
from search.ends import TRIED_AGAIN
from search.front_file import front_json
from search.halving import Step
from search.job import Job
from search.known import Foresight
from search.next_step import Pace
from search.other_studies import keep_others, read_others
from search.record import Record
from search.streak import Streak
from search.views import StudyViews
from trainers.atomic import write_atomically
from trainers.foreign import json_inside
from trainers.states import STATE_FILE, drop_state
from trainers.visible import all_visible

if TYPE_CHECKING:
    from optuna.trial import FrozenTrial

    from search.ends import Kind
    from search.lease import Lease
    from search.space import Space

MOST_ATTEMPTS = 3
"""At a trial, or at measuring it again, of which each ended with the driver."""
_MICRO_BATCHES = 2
_KEPT = (stored.CANDIDATE, stored.BY_HAND, stored.ATTEMPT, stored.RETRIED, stored.MICRO_BATCHES)
"""What another trial in its place has of a trial."""
_RESULT = ("images", "measurements", "seconds", "versions", "device")


class Study:
    """The results of a space, the sampler that proposes what to try, and the rule that stops weak trials early.

    All decisions are taken in ``next`` and follow from what is stored, so every way to run the jobs comes to the same
    for the same order of results.

    Args:
        folder: Holds ``study.db``, unless the space names another storage, the views and one folder per trial.
        space: What is searched.
        foresight: What is known of a candidate before training.
        teacher: What the teacher measures: ``{"values": ..., "stderr": ...}``.
        lease: Held by this driver: once it is lost, nothing is written any more. None where there is no other driver.
    """

    def __init__(
        self,
        folder: Path,
        space: Space,
        foresight: Foresight,
        teacher: Mapping[str, Any],
        *,
        lease: Lease | None = None,
    ) -> None:
        self.folder = folder
        self.space = space
        self.foresight = foresight
        self.teacher = teacher
        self.names = list(space.objective_names)
        self.limits = dict(foresight.limits)
        #: Objectives that depend on the device, and the device whose values are compared.
        self.times = timed_by(teacher, space.named_objectives)
        self._signs = {name: -1.0 if each.goal == "max" else 1.0 for name, each in space.named_objectives.items()}
        #: Failures in a row, since the study was opened.
        self.streak = Streak()
        #: How many failures there had been when the job of a trial began.
        self._failures_before: dict[int, int] = {}
        self._opened = time.monotonic()
        #: Trials that are being measured again, those where that failed for good until the study is opened again, and
        #: those where it failed at all.
        self._confirming: set[int] = set()
        self._not_confirmed: set[int] = set()
        self._confirmed_in_vain: set[int] = set()
        self._database = Database(folder, goals=goals_of(space), storage=space.storage, is_named=space.is_storage_named)
        check_stored(self._database, space)
        if lease is not None:
            lease.guard(self._database.engine)
        others = read_others(space, folder)
        keep_others(others, folder)
        #: Those whose driver ended each time that they were measured again; it is not done once more.
        self.ended_drivers = self._ended_drivers()
        self._not_confirmed |= self.ended_drivers
        self._candidates = Candidates(space, foresight, self._database, others)
        self._pace = Pace(budget=space.budget, halving=space.halving, signs=self._signs)
        self._database.set_of_study("space", space.effective_text)
        self._seconds_before = float(self._database.attributes.get("seconds", 0.0))

    # What is next

    def next(self) -> Job | None:
        """What a free worker does; None when there is nothing until a running job has ended, or for good.

        When the budget is spent, the front is measured again. When too many failed alike in a row, nothing is begun.

        Raises:
            UserError: when no candidate meets the limits and constraints of the space.
        """
        if self.streak.is_too_long:
            return None
        step = self._next_step()
        if step is not None:
            return self._begin(step)
        number = None if self._is_training() else next(iter(self._unconfirmed()), None)
        if number is None:
            return None
        self._confirming.add(number)
        begun = self._database.attributes.get(f"{BEGUN_AGAIN}{number}", 0)
        self._database.set_of_study(f"{BEGUN_AGAIN}{number}", begun + 1)
        self._failures_before[number] = self.streak.ever
        return Job(number=number, candidate=self._candidate(number), kind="confirm")

    def is_finished(self) -> bool:
        """Whether nothing runs and ``next`` has nothing more: the budget is spent and the front confirmed."""
        is_busy = bool(self._confirming) or self._is_training()
        return not is_busy and self._next_step() is None and not self._unconfirmed()

    @property
    def is_spent(self) -> bool:
        """Whether it is finished and stays so when it is opened again: what failed is not measured again then."""
        return self.is_finished() and not self._not_confirmed

    def try_by_hand(self, candidate: Mapping[str, Any]) -> tuple[int, bool]:
        """Train a candidate in full, beside the budget and before all others; its trial, and whether that is a new one.

        A candidate that was tried in full, or is about to be, is not tried again; one whose trial failed is.
        """
        known = stored.tried_by(self._database.trials(), candidate)
        if known is not None:
            return known, False
        return self._database.queue(candidate, {stored.CANDIDATE: dict(candidate), stored.BY_HAND: True}), True

    def left(self) -> float:
        """Full trainings' worth that the budget still allows to give out."""
        return self._pace.left(self._database.trials())

    def _next_step(self) -> Step | None:
        by_hand = stored.next_by_hand(self._database.trials())
        if by_hand is not None:
            return Step(trial=by_hand, share=1.0)
        return self._pace.next(self._database.trials(), self._candidates.foresee)

    def _is_training(self) -> bool:
        return any(stored.is_training(trial) for trial in self._database.trials())

    def _begin(self, step: Step) -> Job:
        shares = self.space.budget.shares
        number = self._candidates.ask() if step.trial is None else step.trial
        if self._database.trial(number).state == TrialState.WAITING:
            self._candidates.take(number)
        reached = stored.reached(self._database.trial(number))
        self._database.set(number, stored.TARGET, step.share)
        self._failures_before[number] = self.streak.ever
        return Job(
            number=number,
            candidate=self._candidate(number),
            first_rung=sum(share <= reached for share in shares),
            last_rung=shares.index(step.share),
            micro_batches=self._database.trial(number).user_attrs.get(stored.MICRO_BATCHES, 1),
            seconds_before=stored.seconds_in(self._database.trial(number)),
        )

    def _unconfirmed(self) -> list[int]:
        if not self.space.confirm:
            return []
        # One that could not be measured again is no rival, and no hope.
        records = [record for record in self.records() if record.number not in self._not_confirmed]
        records = [record for record in records if not elsewhere(record.by, self.times)]
        waiting = unconfirmed(records, self.space.named_objectives, self.limits)
        return [number for number in waiting if number not in self._confirming]

    def _ended_drivers(self) -> set[int]:
        begun = self._database.attributes
        complete = (trial.number for trial in self._database.trials() if trial.state == TrialState.COMPLETE)
        return {number for number in complete if begun.get(f"{BEGUN_AGAIN}{number}", 0) >= MOST_ATTEMPTS}

    def _end_again(self, number: int) -> None:
        self._confirming.discard(number)
        self._database.set_of_study(f"{BEGUN_AGAIN}{number}", 0)

    # Telling

    def report(self, number: int, result: Mapping[str, Any], *, seconds: float | None = None) -> Record:
        """Keep for good what a trial measured at a rung, as plain data, and say what the trial is now.

        It is complete after the last rung, failed where that lacks an objective, and stopped for now after any other.

        Args:
            seconds: That a worker was busy with it since the rung before. None: those of its stages; no more is known.
        """
        learned = {name: measurement["value"] for name, measurement in result["measurements"].items()}
        rung = {
            "share": result["images"] / self.space.budget.images,
            # Costs as they are known beforehand, at the last rung too: rungs are compared with each other.
            "values": {**learned, **self.foresight.of(self._candidate(number)).costs},
            "result": dict(result),
            "seconds": round(sum(result["seconds"].values()) if seconds is None else seconds, 3),
        }
        before = [old for old in stored.rungs(self._database.trial(number)) if old["share"] < rung["share"]]
        self._database.set(number, stored.RUNGS, [*before, rung])
        missing = [name for name in self.names if name not in learned] if result["is_last"] else []
        if missing:
            return self.fail(number, f"objective {missing[0]} was not measured", "missing_objective")
        if rung["share"] >= stored.target(self._database.trial(number)) - 1e-9:
            self.streak.end(rung["share"])
        if not result["is_last"]:
            return self._stopped(self._database.trial(number))
        record = stored.complete_record(self._database.trial(number), self.names, path=self.trial_path(number))
        self._end(record)
        return record

    def fail(self, number: int, reason: str, kind: Kind = "crash", *, seconds: float = 0.0) -> Record:
        """Keep that a trial failed, how and why.

        What may be the machine's fault is tried once more, from the last rung where there is one; where the memory of a
        device was too small, with batches in two parts.

        Args:
            seconds: That a worker was busy with it since its last rung.
        """
        trial = self._database.trial(number)
        self._count_failure(number, reason, kind, share=stored.target(trial))
        if kind not in TRIED_AGAIN or stored.RETRIED in trial.user_attrs:
            return self._failed(trial, reason, kind, seconds=seconds)
        changed: dict[str, Any] = {stored.RETRIED: kind}
        if kind == "out_of_memory_cuda":
            changed |= {stored.MICRO_BATCHES: _MICRO_BATCHES}
        fate = self._tried_again(trial, reason, kind, changed, seconds=seconds)
        then = {"wait": "it goes on from its last rung", "queued": "it begins again"}[fate]
        return replace(self._failed_record(trial, reason, kind, seconds=seconds), reason=f"{reason} ({then})")

    def _count_failure(self, number: int, reason: str, kind: Kind, *, share: float) -> None:
        since = self._failures_before.get(number, self.streak.ever)
        self.streak.add(kind, reason, self.trial_path(number), share=share, since=since)

    def _failed(self, trial: FrozenTrial, reason: str, kind: Kind, *, seconds: float = 0.0) -> Record:
        record = self._failed_record(trial, reason, kind, seconds=seconds)
        self._end(record)
        return record

    def _failed_record(self, trial: FrozenTrial, reason: str, kind: Kind, *, seconds: float) -> Record:
        path = self.trial_path(trial.number)
        record = stored.failed_record(trial, reason, kind=kind, path=path, seconds=seconds)
        # What it would have cost tells where in the space trials fail.
        return replace(record, values=dict(self.foresight.of(record.candidate).costs)) if record.candidate else record

    def _tried_again(
        self, trial: FrozenTrial, reason: str, kind: Kind, changed: Mapping[str, Any], *, seconds: float = 0.0
    ) -> str:
        """Have a trial go on from its last rung, or another begin in its place; ``failed`` where it had not begun."""
        if stored.reached(trial):
            for key, value in {**changed, stored.TARGET: stored.reached(trial)}.items():
                self._database.set(trial.number, key, value)
            return "wait"
        # A driver may die while its sampler still chooses.
        has_begun = bool(trial.params) or stored.CANDIDATE in trial.user_attrs
        if has_begun:
            self._replace(trial, changed)
        self._failed(trial, reason, kind, seconds=seconds)
        return "queued" if has_begun else "failed"

    def _replace(self, trial: FrozenTrial, changed: Mapping[str, Any]) -> None:
        """Queue another in its place, before it ends: a driver that dies in between is followed by one that ends it."""
        self._database.set(trial.number, stored.REPLACED, True)
        if any(each.user_attrs.get(stored.RETRIES) == trial.number for each in self._database.trials()):
            return
        kept = {key: trial.user_attrs[key] for key in _KEPT if key in trial.user_attrs}
        self._database.queue(trial.params, {**kept, **changed, stored.RETRIES: trial.number})

    def confirm(self, number: int, measured: Mapping[str, Mapping[str, Any]]) -> Record:
        """Keep what a complete trial measured again, without times of another device."""
        by = {name: str(value.get("by", "")) for name, value in measured.items() if value.get("by")}
        other = elsewhere(by, self.times)
        kept = {
            name: {key: figure for key, figure in value.items() if key != "by"}
            for name, value in measured.items()
            if name not in other
        }
        if kept:
            self._database.set_of_study(f"{CONFIRMED}{number}", kept)
            self.streak.end(1.0)
        else:
            self._not_confirmed.add(number)
        self._end_again(number)
        return self._record(number)

    def fail_to_confirm(self, number: int, reason: str, kind: Kind) -> Record:
        """A complete trial could not be measured again; what may be the machine's fault is tried once more."""
        self._end_again(number)
        self._count_failure(number, reason, kind, share=1.0)
        is_over = kind not in TRIED_AGAIN or number in self._confirmed_in_vain
        self._confirmed_in_vain.add(number)
        if is_over:
            self._not_confirmed.add(number)
        then = "it is not on the front" if is_over else "it is tried once more"
        return replace(self._record(number), reason=f"{reason} ({then})", kind=kind)

    def _end(self, record: Record) -> None:
        is_complete = record.state == "complete"
        # The sampler compares times of one device: in the place of another's stands what is foretold for this one.
        foretold = self.foresight.of(record.candidate).costs if elsewhere(record.by, self.times) else {}
        told = {**record.values, **{name: foretold[name] for name in elsewhere(record.by, self.times)}}
        excess = {
            name: self._signs[name] * (told[name] - limit) / limit for name, limit in self.limits.items() if is_complete
        }
        values = [told[name] for name in self.names] if is_complete else None
        folder, copies = self.folder / self.trial_path(record.number), self._checkpoints(record.number)
        if copies is not None and is_complete:
            # Before it counts: a complete trial has its files.
            copies.get(folder)
        self._database.end(record, values=values, excess=excess)
        drop_state(folder)
        if copies is not None:
            copies.drop(STATE_FILE)

    # Trials of a driver that died

    def adopt_orphans(self) -> dict[int, str]:
        """Take over the trials that a dead driver left in training, and say what became of each.

        ``finished`` ones are told, those with a rung behind them go back to it and ``wait``, the others are ``queued``
        once more. One that lost its driver time and again has ``failed``. Call this only while holding the study.
        """
        return {trial.number: self._adopt(trial) for trial in self._database.trials() if stored.is_training(trial)}

    def _adopt(self, trial: FrozenTrial) -> str:
        last = stored.rungs(trial)[-1] if stored.reached(trial) >= 1 else None
        finished = self._finished(trial) if last is None else last["result"]
        if finished is not None:
            self.report(trial.number, finished, seconds=None if last is None else last["seconds"])
            return "finished"
        attempts = int(trial.user_attrs.get(stored.ATTEMPT, 1))
        reason = f"{stored.LOST} (attempt {attempts})"
        if attempts < MOST_ATTEMPTS:
            return self._tried_again(trial, reason, "lost_driver", {stored.ATTEMPT: attempts + 1})
        self._failed(trial, reason, "lost_driver")
        return "failed"

    def _finished(self, trial: FrozenTrial) -> dict[str, Any] | None:
        """The last rung of a trial that came so far and could not tell it, from its folder."""
        folder, copies = self.folder / self.trial_path(trial.number), self._checkpoints(trial.number)
        if copies is not None and not (folder / "measurements.json").is_file():
            copies.get(folder)
        written = json_inside(folder, "measurements.json") or {}
        if not written.keys() >= {*_RESULT, "achieved"} or written["images"] != self.space.budget.images:
            return None
        if written.get("candidate", trial.user_attrs.get(stored.CANDIDATE)) != trial.user_attrs.get(stored.CANDIDATE):
            # Of an earlier study that had this name.
            return None
        found = {**{key: written[key] for key in _RESULT}, "notes": written["achieved"], "is_last": True}
        return found if is_result(found) else None

    # What is known

    def records(self) -> list[Record]:
        """Every trial that ended or waits, by number, with what it measured again."""
        again = self._database.attributes
        found = []
        for trial in self._database.trials():
            if stored.is_waiting(trial):
                found.append(self._stopped(trial))
            elif stored.RECORD in trial.user_attrs and trial.state.is_finished():
                record = Record(**all_visible(trial.user_attrs[stored.RECORD]))
                found.append(replace(record, confirmed=again.get(f"{CONFIRMED}{trial.number}", {})))
        return found

    def _record(self, number: int) -> Record:
        return next(record for record in self.records() if record.number == number)

    def write_views(self) -> StudyViews:
        """``front.json`` and ``trials.jsonl``, made new from the database."""
        records = self.records()
        seconds = self._seconds_before + time.monotonic() - self._opened
        self._database.set_of_study("seconds", seconds)
        front = front_json(self, records, seconds=seconds)
        lines = "".join(json.dumps(record.as_json()) + "\n" for record in records)
        write_atomically(self.folder / "trials.jsonl", lines.encode())
        write_atomically(self.folder / "front.json", (json.dumps(front, indent=1) + "\n").encode())
        return StudyViews.open(self.folder)

    def trial_path(self, number: int) -> str:
        """Where a trial's files are, relative to the study's folder."""
        return f"trials/{number:04d}"

    def checkpoints_uri(self, number: int) -> str:
        """Where all machines find a trial's files; empty where they share the study's folder."""
        copies = self._checkpoints(number)
        return "" if copies is None else copies.uri

    def _checkpoints(self, number: int) -> Checkpoints | None:
        return of_trial(self.space.checkpoints, self.folder.name, self.trial_path(number))

    def _stopped(self, trial: FrozenTrial) -> Record:
        path = self.trial_path(trial.number)
        return stored.stopped_record(trial, self.names, path=path, images=self.space.budget.images)

    def _candidate(self, number: int) -> dict[str, Any]:
        candidate: dict[str, Any] = self._database.trial(number).user_attrs.get(stored.CANDIDATE, {})
        return candidate
