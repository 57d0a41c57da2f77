"""``front.json``: the front of a study as other programs read it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from search.front import hypervolume, knee, minimised, non_dominated

if TYPE_CHECKING:
    from search.record import Record
    from search.study import Study


def front_json(study: Study, records: Sequence[Record], *, seconds: float) -> dict[str, Any]:
    """The front of the complete trials within the limits; points are divided by the limits for the hypervolume."""
    goals = [objective.goal for objective in study.space.objectives]
    reference = [study.limits.get(name) for name in study.names]
    bound_M = minimised([_or_infinite(limit, goal) for limit, goal in zip(reference, goals, strict=True)], goals)
    complete = [record for record in records if record.state == "complete"]
    points: list[Record] = []
    volume, best = 0.0, None
    if complete:
        values_NM = minimised([[record.values[name] for name in study.names] for record in complete], goals)
        is_within_N = (values_NM <= bound_M).all(axis=1)
        within = np.flatnonzero(is_within_N)
        front = within[non_dominated(values_NM[within])] if len(within) else within
        points = [complete[index] for index in front]
        if len(front):
            volume = _relative_volume(values_NM[within], bound_M)
            is_log_M = [objective.is_learned for objective in study.space.objectives]
            best = knee(values_NM[front], bound_M, is_log_M=is_log_M)
    return {
        "study": study.folder.name,
        "question": study.space.question,
        "objectives": [
            {
                "name": name,
                "goal": objective.goal,
                "unit": objective.unit,
                "title": objective.title,
                "learned": objective.is_learned,
            }
            for name, objective in zip(study.names, study.space.objectives, strict=True)
        ],
        "reference": reference,
        "limits": study.limits,
        "hypervolume": round(volume, 6),
        "teacher": study.teacher,
        "points": [
            {
                "trial": record.number,
                "values": record.values,
                "stderr": record.stderr,
                "candidate": record.candidate,
                "path": record.path,
            }
            for record in points
        ],
        "knee": None if best is None else points[best].number,
        "finished": study.is_finished(),
        "budget_trials": study.space.budget.trials,
        "seconds": round(seconds, 1),
    }


def _relative_volume(values_NM: np.ndarray, bound_M: np.ndarray) -> float:
    """Hypervolume of points divided by their limits; objectives that have no limit are left out."""
    has_limit_M = np.isfinite(bound_M) & (bound_M != 0)
    if not has_limit_M.any():
        return 0.0
    bound_L = bound_M[has_limit_M]
    # The limit of an objective to be maximised is negative in here.
    return hypervolume(values_NM[:, has_limit_M] / np.abs(bound_L), np.sign(bound_L))


def _or_infinite(limit: float | None, goal: str) -> float:
    if limit is not None:
        return limit
    return np.inf if goal == "min" else -np.inf
