"""What a study's database says of a trial: how far it came, whether it runs or waits, what it cost, its record.

A trial that was stopped early stays open in Optuna, with its target reached: raising the budget may promote it later.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from optuna.trial import FrozenTrial, TrialState

from search.record import Record
from search.samplers._history import RUNGS as RUNGS
from search.samplers._history import TARGET as TARGET

if TYPE_CHECKING:
    from search.ends import Kind

CANDIDATE, RECORD, ATTEMPT, BY_HAND = "candidate", "record", "attempt", "by_hand"
"""User attributes: answers to the knobs, what became of it, how often it was tried, whether a user named it."""
RETRIED, REPLACED, MICRO_BATCHES = "retried", "replaced", "micro_batches"
"""Whether it was tried again, whether another trial does that in its place, in how many parts it computes a batch."""
RETRIES = "retries"
"""The trial that it is tried in the place of."""
LOST = "its driver ended while it ran"
_TOLERANCE = 1e-9


def rungs(trial: FrozenTrial) -> list[dict[str, Any]]:
    """``share``, ``values`` (learned and known), ``result`` as measured, and ``seconds`` at each rung reached."""
    stored: list[dict[str, Any]] = trial.user_attrs.get(RUNGS, [])
    return stored


def reached(trial: FrozenTrial) -> float:
    """The share of a full training that is done and measured."""
    return max((float(rung["share"]) for rung in rungs(trial)), default=0.0)


def seconds_in(trial: FrozenTrial) -> float:
    """That workers were busy with its rungs."""
    return float(sum(rung["seconds"] for rung in rungs(trial)))


def target(trial: FrozenTrial) -> float:
    """The share that the trial was given."""
    return float(trial.user_attrs.get(TARGET, 1.0))


def is_waiting(trial: FrozenTrial) -> bool:
    """Whether it has reached what it was given, short of a full training."""
    share = reached(trial)
    return trial.state == TrialState.RUNNING and 0 < share < 1 and share >= target(trial) - _TOLERANCE


def was_interrupted(trial: FrozenTrial) -> bool:
    """Whether it waits because its driver, its worker or its memory was lost, and not because it was stopped."""
    return is_waiting(trial) and not {ATTEMPT, RETRIED}.isdisjoint(trial.user_attrs)


def is_training(trial: FrozenTrial) -> bool:
    """Whether a worker is on it, or was when its driver died."""
    return trial.state == TrialState.RUNNING and not is_waiting(trial)


def is_free(trial: FrozenTrial) -> bool:
    """Whether a trial costs no budget: turned away untrained, queued, lost with its driver, tried again, or by hand."""
    record = trial.user_attrs.get(RECORD, {})
    is_lost = str(record.get("reason", "")).startswith(LOST) or REPLACED in trial.user_attrs
    return trial.state == TrialState.WAITING or record.get("state") == "rejected" or is_lost or is_by_hand(trial)


def is_by_hand(trial: FrozenTrial) -> bool:
    """Whether a user named the candidate: it is trained in full, beside the budget and before all others."""
    return bool(trial.user_attrs.get(BY_HAND, False))


def next_by_hand(trials: Iterable[FrozenTrial]) -> int | None:
    """The first trial named by a user that is queued, or waits because its driver died; None when there is none."""
    ready = (each for each in trials if each.state == TrialState.WAITING or is_waiting(each))
    return next((each.number for each in ready if is_by_hand(each)), None)


def tried_by(trials: Iterable[FrozenTrial], candidate: Mapping[str, Any]) -> int | None:
    """The trial that has tried a candidate in full, or is going to because a user named it; None when there is none."""
    same = (each for each in trials if each.user_attrs.get(CANDIDATE) == candidate and each.state != TrialState.FAIL)
    return next((each.number for each in same if each.state == TrialState.COMPLETE or is_by_hand(each)), None)


def spent(trials: Iterable[FrozenTrial]) -> float:
    """Full trainings' worth that was given out; a trial that failed costs what it was given."""
    return sum(target(trial) for trial in trials if not is_free(trial))


def complete_record(trial: FrozenTrial, names: Sequence[str], *, path: str) -> Record:
    """Of a trial whose last rung measured every objective in ``names``."""
    return _measured_record(trial, names, path=path, state="complete", before=rungs(trial)[:-1])


def stopped_record(trial: FrozenTrial, names: Sequence[str], *, path: str, images: int) -> Record:
    """Of a trial that waits; ``images`` are those of a full training. Costs are what is known of them beforehand."""
    reason = f"stopped at {rungs(trial)[-1]['result']['images']:,} of {images:,} images: others promised more"
    return _measured_record(trial, names, path=path, state="stopped", before=rungs(trial), reason=reason)


def failed_record(trial: FrozenTrial, reason: str, *, kind: Kind, path: str, seconds: float) -> Record:
    """Of a trial that gave no result; ``seconds`` since its last rung."""
    return Record(
        number=trial.number,
        state="failed",
        reason=reason,
        kind=kind,
        candidate=trial.user_attrs.get(CANDIDATE, {}),
        seconds=round(seconds_in(trial) + seconds, 3),
        images=max((rung["result"]["images"] for rung in rungs(trial)), default=0),
        rungs=[_shown(rung) for rung in rungs(trial)],
        path=path,
        by_hand=is_by_hand(trial),
    )


def _measured_record(
    trial: FrozenTrial, names: Sequence[str], *, path: str, before: Sequence[Mapping[str, Any]], **state: Any
) -> Record:
    last = rungs(trial)[-1]
    result, known = last["result"], last["values"]
    measured = {name: result["measurements"][name] for name in names if name in result["measurements"]}
    values = {name: measured[name]["value"] if name in measured else known.get(name) for name in names}
    return Record(
        number=trial.number,
        candidate=trial.user_attrs.get(CANDIDATE, {}),
        values={name: value for name, value in values.items() if value is not None},
        stderr={name: value["stderr"] for name, value in measured.items()},
        samples={name: value["samples"] for name, value in measured.items()},
        by={name: value["by"] for name, value in measured.items() if value["by"]},
        achieved=result["notes"],
        seconds=round(seconds_in(trial), 3),
        stages=_added(rung["result"]["seconds"] for rung in rungs(trial)),
        images=result["images"],
        rungs=[_shown(rung) for rung in before],
        versions=result.get("versions", {}),
        device=result.get("device", ""),
        path=path,
        by_hand=is_by_hand(trial),
        **state,
    )


def _shown(rung: Mapping[str, Any]) -> dict[str, Any]:
    measurements = rung["result"]["measurements"]
    return {
        "images": rung["result"]["images"],
        "values": {name: measurement["value"] for name, measurement in measurements.items()},
    }


def _added(parts: Iterable[Mapping[str, float]]) -> dict[str, float]:
    total: dict[str, float] = {}
    for part in parts:
        for name, seconds in part.items():
            total[name] = round(total.get(name, 0.0) + seconds, 4)
    return total
