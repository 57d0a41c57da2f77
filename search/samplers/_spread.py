"""A few of many points that lie far from each other: what a Gaussian process is conditioned on when there is too much.

Legend: N points, F features.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]


def bounded(points_NF: Array, is_own_N: NDArray[np.bool_], *, most: int) -> NDArray[np.int64]:
    """At most ``most`` points that lie far from each other: own ones, and others in what these leave or a quarter."""
    own, others = np.flatnonzero(is_own_N), np.flatnonzero(~is_own_N)
    others = others[spread_out(points_NF[others], max(most - len(own), most // 4))]
    return np.concatenate([own[spread_out(points_NF[own], most - len(others))], others])


def spread_out(points_NF: Array, most: int) -> NDArray[np.int64]:
    """Rising indices of at most ``most`` points: the first, then again and again the one farthest from all chosen.

    The cover that comes of it is at most twice as coarse as the best one (Gonzalez 1985). Points that were seen before
    add little to what a process knows, and they are what a long search mostly makes.

    >>> spread_out(np.array([[0.0], [0.1], [5.0], [5.1], [9.0]]), 3)
    array([0, 2, 4])
    """
    if len(points_NF) <= most:
        return np.arange(len(points_NF))
    square_N = (points_NF**2).sum(axis=1)
    nearest_N, chosen = np.full(len(points_NF), np.inf), [0]
    while len(chosen) < most:
        last = chosen[-1]
        nearest_N = np.minimum(nearest_N, square_N + square_N[last] - 2 * points_NF @ points_NF[last])
        # Rounding must not choose a point twice while others are left.
        nearest_N[last] = -np.inf
        chosen.append(int(nearest_N.argmax()))
    return np.sort(np.array(chosen))
