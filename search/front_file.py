"""``front.json``: the front of a study as other programs read it.

Once trials were measured again, they alone may be points of the front, by what they measured then. The lowest of many
first measurements is the luckiest as much as the best (the winner's curse), so it is never put before a confirmed one.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

import numpy as np

from search.devices import strangers
from search.front import fits, hypervolume, knee, minimised, non_dominated, tied_with
from search.rank_fidelity import rank_fidelity

if TYPE_CHECKING:
    from search.record import Record
    from search.study import Study


def front_json(study: Study, records: Sequence[Record], *, seconds: float) -> dict[str, Any]:
    """The front of the complete trials within the limits; points are divided by the limits for the hypervolume."""
    objectives = study.space.objectives
    goals = [objective.goal for objective in objectives]
    reference = [study.limits.get(name) for name in study.names]
    bound_M = minimised([_or_infinite(limit, goal) for limit, goal in zip(reference, goals, strict=True)], goals)
    learned = next((index for index, objective in enumerate(objectives) if objective.is_learned), 0)
    complete = [record for record in records if record.state == "complete"]
    stranger = strangers(complete, study.times)
    is_stranger = {each.trial for each in stranger}
    complete = [record for record in complete if record.number not in is_stranger]
    eligible = [record for record in complete if record.confirmed] or complete
    values_NM = _turned([counted_values(record) for record in eligible], study.names, goals)
    is_within_N = fits(values_NM, bound_M)
    within = [record for record, is_within in zip(eligible, is_within_N, strict=True) if is_within]
    values_NM = values_NM[is_within_N]
    front = np.flatnonzero(non_dominated(values_NM))
    is_log_M = [objective.is_learned for objective in objectives]
    best = knee(values_NM[front], bound_M, is_log_M=is_log_M) if len(front) else None
    tied = _tied(front, within, values_NM, study.names, first=learned)
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
            for name, objective in zip(study.names, objectives, strict=True)
        ],
        "reference": reference,
        "limits": study.limits,
        "hypervolume": round(relative_volume(values_NM, bound_M), 6),
        "teacher": study.teacher,
        "references": [asdict(each) for each in study.space.references],
        "points": [_point(within[index], tied=others) for index, others in zip(front, tied, strict=True)],
        "knee": None if best is None else within[front[best]].number,
        "elsewhere": [asdict(each) for each in stranger],
        "winners_curse": _winners_curse(eligible, study.names[learned]),
        "rank_fidelity": rank_fidelity(
            records,
            objective=study.names[learned],
            goal=goals[learned],
            rungs=study.space.budget.rungs,
            within=_within(complete, study.names, goals, bound_M),
        ),
        "finished": study.is_finished(),
        "budget_trials": study.space.budget.trials,
        "budget_images": study.space.budget.images,
        "seconds": round(seconds, 1),
    }


def counted_values(record: Record) -> dict[str, float]:
    """What counts of a trial: the confirmed value of an objective where there is one, otherwise the first."""
    return {**record.values, **{name: float(again["value"]) for name, again in record.confirmed.items()}}


def _point(record: Record, *, tied: Sequence[int]) -> dict[str, Any]:
    return {
        "trial": record.number,
        "values": counted_values(record),
        "stderr": {**record.stderr, **{name: again["stderr"] for name, again in record.confirmed.items()}},
        "confirmed": bool(record.confirmed),
        "first": {name: record.values[name] for name in record.confirmed},
        "tied": list(tied),
        "candidate": record.candidate,
        "path": record.path,
    }


def _tied(
    front: np.ndarray, records: Sequence[Record], values_NM: np.ndarray, names: Sequence[str], *, first: int
) -> list[list[int]]:
    """For each point of the front the trials that it is tied with, judged by the objective in column ``first``."""
    order = [first, *[column for column in range(len(names)) if column != first]]
    stderr_NM = np.array([[_error(record, names[column]) for column in order] for record in records])
    return [[records[other].number for other in tied_with(index, values_NM[:, order], stderr_NM)] for index in front]


def _error(record: Record, name: str) -> float:
    """0 where it is exact or not known."""
    again = record.confirmed.get(name)
    error = again["stderr"] if again else record.stderr.get(name)
    return float(error) if error is not None and math.isfinite(error) else 0.0


def _winners_curse(records: Sequence[Record], learned: str) -> float | None:
    """Median ratio of the confirmed to the first value; None where nothing was measured again.

    Over all confirmed trials, also those that fell off the front by it: without them it would look smaller than it is.
    """
    confirmed = [record for record in records if learned in record.confirmed and record.values[learned]]
    ratios = [record.confirmed[learned]["value"] / record.values[learned] for record in confirmed]
    return round(float(np.median(ratios)), 4) if ratios else None


def _within(records: Sequence[Record], names: Sequence[str], goals: Sequence[str], bound_M: np.ndarray) -> set[int]:
    """Numbers of the trials whose first values, the ones that ranks are compared by, are within the limits."""
    is_within_N = fits(_turned([record.values for record in records], names, goals), bound_M)
    return {record.number for record, is_within in zip(records, is_within_N, strict=True) if is_within}


def _turned(values: Sequence[Mapping[str, float]], names: Sequence[str], goals: Sequence[str]) -> np.ndarray:
    return minimised(np.reshape([[row[name] for name in names] for row in values], (-1, len(names))), goals)


def relative_volume(values_NM: np.ndarray, bound_M: np.ndarray) -> float:
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
