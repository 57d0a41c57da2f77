"""A study: one folder, one Optuna study in a database, which is the truth; the view files can be rebuilt from it."""

from __future__ import annotations

import json
import sqlite3
import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from objectives.objective import OBJECTIVES
from search.known import Foresight
from search.record import Record
from search.samplers.sampler import Problem
from search.views import StudyViews
from trainers.errors import UserError

if TYPE_CHECKING:
    import optuna
    import pandas

    from search.knob import Knob
    from search.space import Space

_DATABASE = "study.db"
_REJECTIONS_BEFORE_RANDOM = 30
_RANDOM_TRIES = 2_000
_MAX_ATTEMPTS = 3
_LOST = "its driver ended while it ran"
_BUSY_SECONDS = 60


@dataclass(frozen=True)
class Asked:
    """A candidate to train."""

    number: int
    candidate: dict[str, Any]


class Study:
    """The results of a space, and the sampler that proposes what to try next.

    Args:
        folder: Holds ``study.db``, the views and one folder per trial.
        space: What is searched.
        foresight: What is known of a candidate before training.
        teacher: What the teacher measures: ``{"values": ..., "stderr": ...}``.
    """

    def __init__(self, folder: Path, space: Space, foresight: Foresight, teacher: Mapping[str, Any]) -> None:
        import optuna

        self.folder = folder
        self.space = space
        self.foresight = foresight
        self.teacher = teacher
        self.names = [OBJECTIVES.name_of(objective) for objective in space.objectives]
        self.limits = dict(foresight.limits)
        self._begun: dict[int, float] = {}
        self._opened = time.monotonic()
        optuna.logging.set_verbosity(optuna.logging.ERROR)
        storage = _storage(folder)
        self._optuna = optuna.create_study(
            study_name=folder.name,
            storage=storage,
            directions=["minimize" if objective.goal == "min" else "maximize" for objective in space.objectives],
            load_if_exists=True,
        )
        # Most samplers, started again with the same seed, would repeat their first suggestions.
        told = len(self._optuna.get_trials(deepcopy=False)) if space.sampler.derives_seed else 0
        self._optuna.sampler = space.sampler.build(seed=space.sampler.seed + 7919 * told)
        space.sampler.inform(self._optuna.sampler, self._problem())
        self._optuna.set_user_attr("space", space.effective_text)
        self._seconds_before = float(self._optuna.user_attrs.get("seconds", 0.0))

    # Asking

    def ask(self) -> Asked | None:
        """The next candidate, all constraints and known limits met; None when the budget is spent.

        Candidates that break one are kept in the database as rejected; they cost no budget.
        """
        if self.left() <= 0:
            return None
        for _ in range(_REJECTIONS_BEFORE_RANDOM):
            asked, reasons = self._ask_once()
            if not reasons:
                return asked
        # Little of the space is allowed and the sampler does not find it: search at random and enqueue what is.
        self._optuna.enqueue_trial(self._random_allowed())
        asked, _ = self._ask_once()
        return asked

    def left(self) -> int:
        """Trials that the budget still allows to start."""
        return self.space.budget.trials - len([trial for trial in self._trials() if not _is_free(trial)])

    def _ask_once(self) -> tuple[Asked, tuple[str, ...]]:
        trial = self._optuna.ask()
        candidate = self.space.candidate(lambda knob: _suggest(trial, knob))
        known = self.foresight.of(candidate)
        trial.set_user_attr("candidate", candidate)
        if known.reasons:
            self._end(Record(number=trial.number, state="rejected", reason=known.reasons[0], candidate=candidate))
        else:
            self._begun[trial.number] = time.monotonic()
        return Asked(trial.number, candidate), known.reasons

    def _problem(self) -> Problem:
        def costs(values: Mapping[str, Any]) -> Mapping[str, float] | None:
            # A knob that no trial has had yet may be missing, and is drawn when it comes.
            candidate = self.space.candidate(lambda knob: values.get(knob.path, knob.extremes()[0]))
            known = self.foresight.of(candidate)
            return None if known.reasons else known.costs

        return Problem(
            objectives=self.names,
            limits=self.limits,
            distributions={knob.path: _distribution(knob) for knob in self.space.knobs},
            costs=costs,
        )

    def _random_allowed(self) -> dict[str, Any]:
        import random

        generator = random.Random(f"{self.space.sampler.seed}:{len(self._trials())}")
        for _ in range(_RANDOM_TRIES):
            candidate = self.space.random_candidate(generator)
            if not self.foresight.of(candidate).reasons:
                return candidate
        raise UserError(
            f"none of {_RANDOM_TRIES} random candidates meets the limits and constraints of the space. "
            "Loosen a limit, or see which one excludes them with --dry-run."
        )

    # Telling

    def tell(self, number: int, results: list[Mapping[str, Any]]) -> Record:
        """Keep a trial's measurements for good. ``results`` are its rungs as plain data, the last one complete."""
        last = results[-1]
        measured = last["measurements"]
        missing = [name for name in self.names if name not in measured]
        if missing:
            return self.fail(number, f"objective {missing[0]} was not measured")
        record = Record(
            number=number,
            state="complete",
            candidate=self._candidate(number),
            values={name: measured[name]["value"] for name in self.names},
            stderr={name: measured[name]["stderr"] for name in self.names},
            samples={name: measured[name]["samples"] for name in self.names},
            by={name: measured[name]["by"] for name in self.names if measured[name]["by"]},
            achieved=last["notes"],
            seconds=round(time.monotonic() - self._begun.get(number, time.monotonic()), 3),
            stages=_added(result["seconds"] for result in results),
            images=last["images"],
            rungs=[
                {"images": result["images"], "values": {k: v["value"] for k, v in result["measurements"].items()}}
                for result in results[:-1]
            ],
            versions=last.get("versions", {}),
            device=last.get("device", ""),
            path=self.trial_path(number),
        )
        self._end(record)
        return record

    def fail(self, number: int, reason: str) -> Record:
        """Keep that a trial failed, and why."""
        begun = self._begun.get(number)
        record = Record(
            number=number,
            state="failed",
            reason=reason,
            candidate=self._candidate(number),
            seconds=round(time.monotonic() - begun, 3) if begun else 0.0,
            path=self.trial_path(number),
        )
        self._end(record)
        return record

    def _end(self, record: Record) -> None:
        """The record first, then Optuna's own tell: it is the one commit after which the trial counts."""
        import optuna

        trial_id = self._optuna._storage.get_trial_id_from_study_id_trial_number(self._optuna._study_id, record.number)
        trial = optuna.trial.Trial(self._optuna, trial_id)
        trial.set_user_attr("record", record.as_json())
        if record.state != "complete":
            self._optuna.tell(record.number, state=optuna.trial.TrialState.FAIL)
            return
        for name, limit in self.limits.items():
            sign = 1.0 if self._goal(name) == "min" else -1.0
            trial.set_constraint(name, sign * (record.values[name] - limit) / limit)
        self._optuna.tell(record.number, [record.values[name] for name in self.names])

    # What is known

    def adopt_orphans(self) -> list[Record]:
        """End the trials that a dead driver left running: finished ones are told, the others are queued once more.

        Call this only while holding the study.
        """
        import optuna

        ended = []
        for trial in self._trials():
            if trial.state != optuna.trial.TrialState.RUNNING:
                continue
            measured = self.folder / self.trial_path(trial.number) / "measurements.json"
            if measured.is_file():
                ended.append(self._tell_from_folder(trial, measured))
                continue
            attempts = int(trial.user_attrs.get("attempt", 1))
            ended.append(self.fail(trial.number, f"{_LOST} (attempt {attempts})"))
            if attempts < _MAX_ATTEMPTS and trial.params:
                self._optuna.enqueue_trial(trial.params, user_attrs={"attempt": attempts + 1, "retries": trial.number})
        return ended

    def _tell_from_folder(self, trial: optuna.trial.FrozenTrial, measured: Path) -> Record:
        written = json.loads(measured.read_text())
        result = {
            "images": written["images"],
            "measurements": written["measurements"],
            "seconds": written["seconds"],
            "notes": written["achieved"],
            "versions": written["versions"],
            "device": written["device"],
        }
        return self.tell(trial.number, [result])

    def records(self) -> list[Record]:
        """Every ended trial, by number."""
        return [
            Record(**trial.user_attrs["record"])
            for trial in self._trials()
            if "record" in trial.user_attrs and trial.state.is_finished()
        ]

    def table(self) -> pandas.DataFrame:
        """Ended trials, one row each: number, state, knobs, values, standard errors."""
        import pandas

        return pandas.json_normalize([record.as_json() for record in self.records()])

    def is_finished(self) -> bool:
        """Whether the budget is spent and nothing runs."""
        return self.left() <= 0 and all(trial.state.is_finished() for trial in self._trials())

    # Views

    def write_views(self) -> StudyViews:
        """``front.json`` and ``trials.jsonl``, made new from the database."""
        from search.front_file import front_json
        from trainers.atomic import write_atomically

        records = self.records()
        seconds = self._seconds_before + time.monotonic() - self._opened
        self._optuna.set_user_attr("seconds", seconds)
        front = front_json(self, records, seconds=seconds)
        lines = "".join(json.dumps(record.as_json()) + "\n" for record in records)
        write_atomically(self.folder / "trials.jsonl", lines.encode())
        write_atomically(self.folder / "front.json", (json.dumps(front, indent=1) + "\n").encode())
        return StudyViews.open(self.folder)

    def _trials(self) -> list[optuna.trial.FrozenTrial]:
        return self._optuna.get_trials(deepcopy=False)

    def _candidate(self, number: int) -> dict[str, Any]:
        candidate: dict[str, Any] = self._trials()[number].user_attrs.get("candidate", {})
        return candidate

    def _goal(self, name: str) -> str:
        return next(objective.goal for objective in self.space.objectives if OBJECTIVES.name_of(objective) == name)

    def trial_path(self, number: int) -> str:
        """Where a trial's files are, relative to the study's folder."""
        return f"trials/{number:04d}"


def _storage(folder: Path) -> optuna.storages.RDBStorage:
    import optuna

    folder.mkdir(parents=True, exist_ok=True)
    path = folder / _DATABASE
    try:
        # Write-ahead logging lets others read while the driver writes; the setting stays with the file.
        with sqlite3.connect(path, timeout=_BUSY_SECONDS) as connection:
            connection.execute("PRAGMA journal_mode=WAL")
    except sqlite3.DatabaseError as error:
        raise UserError(
            f"{path} is not a usable database ({error}). Move it away, or give the run another --name."
        ) from None
    return optuna.storages.RDBStorage(
        f"sqlite:///{path.resolve()}", engine_kwargs={"connect_args": {"timeout": _BUSY_SECONDS}}
    )


def _suggest(trial: optuna.trial.Trial, knob: Knob) -> Any:
    from optuna.distributions import CategoricalDistribution, IntDistribution

    asked = _distribution(knob)
    if isinstance(asked, CategoricalDistribution):
        return trial.suggest_categorical(knob.path, asked.choices)
    if isinstance(asked, IntDistribution):
        return trial.suggest_int(knob.path, asked.low, asked.high, step=asked.step, log=asked.log)
    return trial.suggest_float(knob.path, asked.low, asked.high, step=asked.step, log=asked.log)


def _distribution(
    knob: Knob,
) -> (
    optuna.distributions.CategoricalDistribution
    | optuna.distributions.IntDistribution
    | optuna.distributions.FloatDistribution
):
    from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution

    if knob.kind == "choice":
        return CategoricalDistribution(knob.choices)
    if knob.kind == "int":
        step = 1 if knob.step is None else int(knob.step)
        return IntDistribution(int(knob.low), int(knob.high), step=step, log=knob.log)
    return FloatDistribution(knob.low, knob.high, step=knob.step, log=knob.log)


def _is_free(trial: optuna.trial.FrozenTrial) -> bool:
    """Whether a trial costs no budget: turned away untrained, waiting, or lost with its driver and queued again."""
    record = trial.user_attrs.get("record", {})
    return (
        trial.state.name == "WAITING"
        or record.get("state") == "rejected"
        or str(record.get("reason", "")).startswith(_LOST)
    )


def _added(parts: Iterable[Mapping[str, float]]) -> dict[str, float]:
    total: dict[str, float] = {}
    for part in parts:
        for name, seconds in part.items():
            total[name] = round(total.get(name, 0.0) + seconds, 4)
    return total
