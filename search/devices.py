"""Times are compared only where they were measured on equal devices; a study's device is its teacher's."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from objectives.objective import Objective
    from search.record import Record

_KINDS = ("cpu", "cuda", "mps", "xpu")


@dataclass(frozen=True, kw_only=True)
class Stranger:
    """A time of a trial that was measured on another device than the teacher's."""

    trial: int
    objective: str
    device: str


def timed_by(teacher: Mapping[str, Any], objectives: Mapping[str, Objective]) -> dict[str, str]:
    """Objectives that depend on the device, and the device that the study's were measured on: the teacher's.

    Args:
        teacher: What the teacher measures, with ``measurements`` by objective where they are known.
    """
    measured = {name: found.get("by", "") for name, found in teacher.get("measurements", {}).items()}
    return {name: by for name, by in measured.items() if name in objectives and by.partition(":")[0] in _KINDS}


def elsewhere(by: Mapping[str, str], times: Mapping[str, str]) -> dict[str, str]:
    """Of the objectives in ``times`` those that were measured on another device, and that device.

    Args:
        by: What measured each objective; one that is not in it was not measured.
        times: As ``timed_by`` gives them.

    >>> elsewhere({"fid": "digits", "latency_ms": "cuda: T4"}, {"latency_ms": "cuda: L4"})
    {'latency_ms': 'cuda: T4'}
    """
    return {name: by[name] for name, device in times.items() if by.get(name, device) != device}


def strangers(records: Sequence[Record], times: Mapping[str, str]) -> list[Stranger]:
    """Times of another device that complete trials have: such a trial cannot be a point of the front."""
    return [
        Stranger(trial=record.number, objective=name, device=device)
        for record in records
        if record.state == "complete"
        for name, device in elsewhere(record.by, times).items()
    ]


def warning(found: Sequence[Stranger], times: Mapping[str, str]) -> str:
    """One line about trials that ``strangers`` gives; at least one."""
    trials = sorted({each.trial for each in found})
    names = sorted({each.objective for each in found})
    devices = ", ".join(sorted({each.device for each in found}))
    shown = ", ".join(map(str, trials[:10])) + (", ..." if len(trials) > 10 else "")
    return (
        f"warning: {len(trials)} trials ({shown}) measured {' and '.join(names)} on {devices}, the teacher on "
        f"{', '.join(sorted({times[name] for name in names}))}. Times of different devices are not compared, so they "
        f"are not on the front. Run on devices of one kind, or leave {' and '.join(names)} out of the objectives."
    )
