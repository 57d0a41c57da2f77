"""Which trials have to be measured again before the front can be believed; everything is minimised.

The best of many noisy measurements is the luckiest as much as the best (the winner's curse), so a front is drawn from
second measurements, made with fresh noise.

Legend: N complete trials, M objectives.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import ArrayLike

from search.front import minimised

if TYPE_CHECKING:
    from objectives.objective import Objective
    from search.record import Record

_LUCK = 2.0
"""Standard errors by which a first measurement may have been unlucky."""
_NOTHING = {"value": math.nan}


def to_confirm(first_NM: ArrayLike, stderr_NM: ArrayLike, confirmed_NM: ArrayLike, bound_M: ArrayLike) -> list[int]:
    """Rows not confirmed that are on the front, or would be if they had been unlucky by two standard errors.

    Confirmed values take the place of first ones. They tend to be worse, so others may come onto the front: once what
    this gives is confirmed, ask again. When it gives nothing, all points of the front are confirmed.

    Args:
        first_NM: First measurements.
        stderr_NM: Their standard errors; 0 where luck is not to count, or nothing is known of it.
        confirmed_NM: Second measurements; NaN where there is none.
        bound_M: Limits; infinite where there is none.

    >>> nan = [np.nan, np.nan]
    >>> first, stderr = [[1.0, 9.0], [5.0, 5.0], [5.5, 5.0], [9.0, 5.0]], [[0.5, 0.0]] * 4
    >>> to_confirm(first, stderr, [nan] * 4, [10.0, 10.0])
    [0, 1, 2]
    >>> to_confirm(first, stderr, [[2.0, np.nan], [8.5, np.nan], [8.4, np.nan], nan], [10.0, 10.0])
    [3]
    """
    first_NM, confirmed_NM = np.asarray(first_NM, float), np.asarray(confirmed_NM, float)
    if len(first_NM) == 0:
        return []
    is_confirmed_NM = np.isfinite(confirmed_NM)
    counted_NM = np.where(is_confirmed_NM, confirmed_NM, first_NM)
    hopeful_NM = first_NM - _LUCK * np.nan_to_num(np.asarray(stderr_NM, float), posinf=0.0)
    return [
        row
        for row in np.flatnonzero(~is_confirmed_NM.any(axis=1)).tolist()
        if (hopeful_NM[row] <= bound_M).all() and not _is_beaten(row, hopeful_NM[row], counted_NM)
    ]


def unconfirmed(
    records: Sequence[Record], objectives: Mapping[str, Objective], limits: Mapping[str, float]
) -> list[int]:
    """Numbers of the complete trials that ``to_confirm`` gives; luck counts in learned objectives only."""
    complete = [record for record in records if record.state == "complete"]
    if not complete:
        return []
    goals = [objective.goal for objective in objectives.values()]
    luck = {name: 1.0 if objective.is_learned else 0.0 for name, objective in objectives.items()}
    no_limit = {name: math.inf if objective.goal == "min" else -math.inf for name, objective in objectives.items()}
    rows = to_confirm(
        minimised([[record.values[name] for name in objectives] for record in complete], goals),
        [[record.stderr.get(name, 0.0) * luck[name] for name in objectives] for record in complete],
        minimised(
            [[record.confirmed.get(name, _NOTHING)["value"] for name in objectives] for record in complete], goals
        ),
        minimised([{**no_limit, **limits}[name] for name in objectives], goals),
    )
    return [complete[row].number for row in rows]


def _is_beaten(row: int, hopeful_M: np.ndarray, counted_NM: np.ndarray) -> bool:
    others_NM = np.delete(counted_NM, row, axis=0)
    return bool(((others_NM <= hopeful_M).all(axis=1) & (others_NM < hopeful_M).any(axis=1)).any())
