"""What several studies of one space attain: the best of them, half of them, and all of them.

The empirical attainment function of Grunert da Fonseca, Fonseca and Hall (2001): a goal is attained by a study when
some point of its front is as good in every objective, and the surface of a share is the front of the goals that this
share of the studies attain.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]


def surfaces(fronts: Sequence[Array]) -> dict[str, Array]:
    """``best``, ``median`` and ``worst`` of two or more fronts in two objectives, everything minimised.

    Each is the front of the goals that at least one study, at least half of them, and all of them attain.

    >>> found = surfaces([np.array([[1.0, 3.0], [2.0, 1.0]]), np.array([[1.0, 2.0]])])
    >>> {name: surface.tolist() for name, surface in found.items()}
    {'best': [[1.0, 2.0], [2.0, 1.0]], 'median': [[1.0, 2.0], [2.0, 1.0]], 'worst': [[1.0, 3.0], [2.0, 2.0]]}
    """
    import moocore

    points = np.vstack(fronts)
    sets = np.repeat(np.arange(1, len(fronts) + 1), [len(front) for front in fronts])
    percentiles = {"best": 100 / len(fronts), "median": 50.0, "worst": 100.0}
    found = moocore.eaf(points, sets, percentiles=sorted(set(percentiles.values())))
    return {name: _surface(found, percentile) for name, percentile in percentiles.items()}


def _surface(found: Array, percentile: float) -> Array:
    rows = found[np.isclose(found[:, -1], percentile)][:, :-1]
    return np.asarray(rows[np.argsort(rows[:, 0])])
