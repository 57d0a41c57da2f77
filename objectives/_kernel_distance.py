"""The squared maximum mean discrepancy of two sets of features, unbiased (Binkowski et al. 2018, Eq. 4).

Legend: N generated images, M real ones, F features.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]

_ROWS = 1000
"""Of the kernel matrix at a time: all of it would be gigabytes for the published 50,000 images."""


@dataclass(frozen=True)
class Reference:
    """Features of real images, and the mean of the kernel over all pairs of different ones."""

    feature_MF: Array
    mean: float


def mean_within(feature_NF: Array) -> float:
    """Mean of the kernel over all pairs of different images."""
    return float(_with_others_N(feature_NF).mean())


def kernel_distance(feature_NF: Array, reference: Reference) -> tuple[float, float]:
    """The distance, and its standard error over draws of the generated images, the reference being fixed.

    The error is that of the jackknife in closed form: what each image adds is its mean kernel with the others less the
    one with the real images, each of them twice. Where a model is as good as the data these means differ by chance
    alone, and the error is too large by up to a factor of 1.4.

    Raises:
        FloatingPointError: when the distance is not finite.
    """
    within_N = _with_others_N(feature_NF)
    across_N = np.concatenate([_kernel(rows, reference.feature_MF).mean(axis=1) for rows in _parts(feature_NF)])
    distance = float(within_N.mean() + reference.mean - 2 * across_N.mean())
    if not np.isfinite(distance):
        raise FloatingPointError(f"KID is {distance}, not a finite number")
    return distance, float(2 * (within_N - across_N).std(ddof=1) / np.sqrt(len(feature_NF)))


def _with_others_N(feature_NF: Array) -> Array:
    """The mean kernel of each image with all others."""
    sum_N = np.concatenate([_kernel(rows, feature_NF).sum(axis=1) for rows in _parts(feature_NF)])
    own_N = (np.square(feature_NF).sum(axis=1) / feature_NF.shape[1] + 1) ** 3
    found_N: Array = (sum_N - own_N) / (len(feature_NF) - 1)
    return found_N


def _kernel(rows: Array, columns: Array) -> Array:
    found: Array = (rows @ columns.T / rows.shape[1] + 1) ** 3
    return found


def _parts(feature_NF: Array) -> list[Array]:
    return [feature_NF[first : first + _ROWS] for first in range(0, len(feature_NF), _ROWS)]
