"""The front and what is asked of it: pure functions on arrays in which every objective is minimised.

Legend: N points, M objectives. ``minimised`` is the one place where a sign is turned: it goes in through it and comes
back out through it. Equal points do not dominate each other, so duplicates of a point on the front are all on it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

Array = NDArray[np.float64]

TIED_WITHIN = 2.0  # combined standard errors, about 95 %


@dataclass(frozen=True, kw_only=True)
class Choice:
    """What ``best_within`` found: row numbers, None where there is no such point.

    Args:
        best: Lowest first objective of the points that fit.
        runner_up: The next one that fits.
        nearest_miss: Of the points that do not fit and are better than ``best``, the one that asks least.
        excess: By which share of each maximum ``nearest_miss`` is above it; 0 where it fits.
    """

    best: int | None
    runner_up: int | None
    nearest_miss: int | None
    excess: Array


def minimised(values: ArrayLike, goals: Sequence[str]) -> Array:
    """``values`` (last axis: objectives) with those to be maximised turned; applied twice it gives back its input.

    >>> minimised([[3.0, 8.0]], ["min", "max"])
    array([[ 3., -8.]])
    """
    return np.asarray(values, float) * np.array([-1.0 if goal == "max" else 1.0 for goal in goals])


def non_dominated(values_NM: ArrayLike) -> NDArray[np.bool_]:
    """Whether each point is on the front: no other is as good in every objective and better in one.

    >>> non_dominated([[1, 2], [2, 1], [2, 2]])
    array([ True,  True, False])
    """
    import moocore

    values_NM = _points(values_NM)
    if len(values_NM) == 0:
        return np.zeros(0, dtype=bool)
    return np.asarray(moocore.is_nondominated(values_NM, keep_weakly=True), dtype=bool)


def hypervolume(values_NM: ArrayLike, reference_M: ArrayLike) -> float:
    """Volume dominated by the points and bounded by ``reference_M``.

    Points not better than the reference in every objective count for nothing; no points give 0.

    >>> hypervolume([[1.0, 2.0]], [3.0, 3.0])
    2.0
    """
    import moocore

    values_NM = _points(values_NM)
    reference_M = _bounds(reference_M, "reference", objectives=_width(values_NM), finite=True)
    values_NM = values_NM[(values_NM < reference_M).all(axis=1)] if len(values_NM) else values_NM
    return float(moocore.hypervolume(values_NM, ref=reference_M)) if len(values_NM) else 0.0


def knee(values_NM: ArrayLike, reference_M: ArrayLike, *, is_log_M: Sequence[bool] | None = None) -> int | None:
    """The point to keep if only one could be kept: alone it dominates the largest box below the reference.

    That is the product over objectives of the gain ``reference - value``, the bargaining solution of Nash (1950) with
    the limits as what everyone falls back to. It needs no ideal point, so one extreme point elsewhere on the front
    does not move it, as it moves rules of the kind "nearest to the ideal" or "farthest from the chord", and units do
    not matter. Gains of objectives marked in ``is_log_M`` (FID: 20 against 10 is what 40 is against 20) are ratios,
    ``log(reference / value)``, where all values and the reference are positive.

    ``reference_M`` is infinite where an objective has no limit: the worst point then stands in. Points beyond the
    reference are left out, and None means that none remained. Where every box is empty (all points lie on a limit),
    and between equal boxes, the larger sum of gains, each divided by the best one, decides; then the first.

    >>> knee([[20.0, 1.0], [24.0, 0.3], [55.0, 0.25]], [60.0, 1.5])
    1
    """
    values_NM = _points(values_NM)
    reference_M = _bounds(reference_M, "reference", objectives=_width(values_NM))
    if len(values_NM) == 0:
        return None
    reference_M = np.where(np.isinf(reference_M), values_NM.max(axis=0), reference_M)
    is_within_N = (values_NM <= reference_M).all(axis=1)
    if not is_within_N.any():
        return None
    gain_NM = _gains(values_NM[is_within_N], reference_M, is_log_M=is_log_M or [False] * len(reference_M))
    order_N = np.lexsort((-gain_NM.sum(axis=1), -gain_NM.prod(axis=1)))
    return int(np.flatnonzero(is_within_N)[order_N[0]])


def indistinguishable(
    value: ArrayLike, other: ArrayLike, *, stderr: ArrayLike, stderr_other: ArrayLike
) -> NDArray[np.bool_]:
    """Whether two measurements differ by no more than 2 combined standard errors: tied, at this sample count.

    >>> bool(indistinguishable(30.0, 31.0, stderr=0.4, stderr_other=0.4))
    True
    """
    apart = np.abs(np.asarray(value, float) - np.asarray(other, float))
    return np.asarray(apart <= TIED_WITHIN * np.hypot(stderr, stderr_other))


def tied_with(index: int, values_NM: ArrayLike, stderr_NM: ArrayLike) -> list[int]:
    """Points that do the same as point ``index`` for no more, as far as can be measured.

    That is: in the first objective they cannot be told apart from it, and in no other are they distinguishably worse.
    A point of the front with such others is on it by a difference that may be chance, and whoever takes it may as well
    take one of them. This need not be mutual: of two points of equal quality, the cheaper one is tied with the dearer
    only if the costs, too, cannot be told apart. Points that cost more in one objective and less in another are a
    choice between costs, not a tie.

    >>> tied_with(0, [[30.0, 1.1], [31.0, 0.9]], [[0.4, 0.0], [0.4, 0.0]])
    [1]
    >>> tied_with(1, [[30.0, 1.1], [31.0, 0.9]], [[0.4, 0.0], [0.4, 0.0]])
    []
    """
    values_NM, stderr_NM = _points(values_NM), np.asarray(stderr_NM, float)
    is_close_NM = indistinguishable(values_NM, values_NM[index], stderr=stderr_NM, stderr_other=stderr_NM[index])
    is_tied_N = is_close_NM[:, 0] & (is_close_NM | (values_NM <= values_NM[index]))[:, 1:].all(axis=1)
    is_tied_N[index] = False
    return [int(found) for found in np.flatnonzero(is_tied_N)]


def fits(values_NM: ArrayLike, maxima_M: ArrayLike) -> NDArray[np.bool_]:
    """Whether each point is at or below every maximum; infinite where an objective has none."""
    values_NM = _points(values_NM)
    maxima_M = _bounds(maxima_M, "maxima", objectives=_width(values_NM))
    return np.asarray((values_NM <= maxima_M).all(axis=1)) if len(values_NM) else np.zeros(0, dtype=bool)


def best_first(values_NM: ArrayLike) -> NDArray[np.intp]:
    """Row numbers by the first objective; ties by the other objectives, each relative to the largest seen, then summed.

    >>> best_first([[2.0, 1.0], [1.0, 4.0], [1.0, 2.0]])
    array([2, 1, 0])
    """
    values_NM = _points(values_NM)
    if len(values_NM) == 0:
        return np.zeros(0, dtype=np.intp)
    largest_M = np.abs(values_NM).max(axis=0)
    cost_N = (values_NM / np.where(largest_M > 0, largest_M, 1.0))[:, 1:].sum(axis=1)
    return np.lexsort((cost_N, values_NM[:, 0]))


def best_within(values_NM: ArrayLike, maxima_M: ArrayLike) -> Choice:
    """The points with the lowest first objective within the maxima (infinite: none), and the nearest miss.

    Ties go to the smaller costs (each relative to the largest seen, then summed), so a dominated point never comes
    before the one that dominates it. The nearest miss has the smallest largest excess, relative to the maximum.
    """
    values_NM = _points(values_NM)
    maxima_M = _bounds(maxima_M, "maxima", objectives=_width(values_NM))
    if len(values_NM) == 0:
        return Choice(best=None, runner_up=None, nearest_miss=None, excess=np.zeros(len(maxima_M)))
    is_fitting_N = fits(values_NM, maxima_M)
    excess_NM = _excess(values_NM, maxima_M)
    rank_N = np.empty(len(values_NM), dtype=int)
    rank_N[best_first(values_NM)] = np.arange(len(values_NM))
    fitting = sorted(np.flatnonzero(is_fitting_N), key=lambda index: rank_N[index])
    aim = values_NM[fitting[0], 0] if fitting else np.inf
    misses = np.flatnonzero(~is_fitting_N & (values_NM[:, 0] < aim))
    miss = min(misses, key=lambda index: (excess_NM[index].max(), rank_N[index]), default=None)
    return Choice(
        best=int(fitting[0]) if fitting else None,
        runner_up=int(fitting[1]) if len(fitting) > 1 else None,
        nearest_miss=None if miss is None else int(miss),
        excess=np.zeros(len(maxima_M)) if miss is None else excess_NM[miss],
    )


def _gains(values_NM: Array, reference_M: Array, *, is_log_M: Sequence[bool]) -> Array:
    """Distance below the reference, 1 for the best point; an objective in which all points are equal has no say."""
    is_positive_M = (values_NM > 0).all(axis=0) & (reference_M > 0)
    log_M = np.asarray(is_log_M, dtype=bool) & is_positive_M
    scaled_NM, scaled_M = values_NM.copy(), reference_M.copy()
    scaled_NM[:, log_M], scaled_M[log_M] = np.log(values_NM[:, log_M]), np.log(reference_M[log_M])
    gain_NM = scaled_M - scaled_NM
    largest_M = gain_NM.max(axis=0)
    return np.where(largest_M > 0, gain_NM / np.where(largest_M > 0, largest_M, 1.0), 1.0)


def _excess(values_NM: Array, maxima_M: Array) -> Array:
    # A maximum of 0 has no ratio: the plain difference stands in.
    is_bound_M = np.isfinite(maxima_M)
    scale_M = np.where(is_bound_M & (maxima_M != 0), np.abs(maxima_M), 1.0)
    return np.where(is_bound_M, (values_NM - maxima_M) / scale_M, 0.0).clip(min=0.0)


def _width(values_NM: Array) -> int | None:
    return values_NM.shape[1] if len(values_NM) else None


def _points(values_NM: ArrayLike) -> Array:
    values = np.asarray(values_NM, float)
    if values.size == 0:
        return np.zeros((0, values.shape[1] if values.ndim == 2 else 0))
    if values.ndim != 2:
        raise ValueError(f"points have shape {values.shape}, expected (points, objectives). Pass one row per point.")
    for row, column in np.argwhere(~np.isfinite(values)):
        raise ValueError(
            f"point {row}, objective {column} is {values[row, column]}; every value must be finite. "
            "Leave trials out that did not end complete."
        )
    return values


def _bounds(bounds_M: ArrayLike, name: str, *, objectives: int | None, finite: bool = False) -> Array:
    bounds = np.atleast_1d(np.asarray(bounds_M, float))
    if objectives is not None and bounds.shape != (objectives,):
        raise ValueError(
            f"{name} has shape {bounds.shape}, the points have {objectives} objectives. Pass one for each."
        )
    for column in np.flatnonzero(np.isnan(bounds) | (np.isinf(bounds) & (finite | (bounds < 0)))):
        allowed = "finite" if finite else "a number, or infinite for none"
        raise ValueError(f"{name} of objective {column} is {bounds[column]}; it must be {allowed}. Give every limit.")
    return bounds
