"""Covariances of a process over knobs, shares and studies, and what is thought of their parameters beforehand.

Legend: N and M observations, F features.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]

CONSTANT = 1.0
OFFSET = 4.0
"""Prior variances of the mean and of each share's constant, in units of the observations' variance."""
# Log-normal priors (mean and spread of the logarithm). Length scales grow with the square root of the number of knobs
# (Hvarfner et al. 2024), so that a process over many knobs starts smooth.
_SCALE = (-0.3, 1.0)
# A trend for each knob: few matter much, and what one of them does depends little on how many others there are.
_TREND = (-2.65, 1.0)
_FEW_TRENDS = -1.0
"""What the trends of few knobs add up to at least, as a logarithm: else noise is taken for a signal that bends."""
_SIGNAL = (0.0, 1.0)
_ERROR = (-1.0, 1.0)
_NOISE = (-5.0, 1.5)
_PARTIAL_NOISE = (-3.5, 2.0)
_DIFFERENCE = (-1.0, 1.5)
ROUGH = 0.1
"""The part of another study's difference that is not smooth in the knobs: other noise, knobs that are not shared."""


def trends(features_NF: Array, variances_F: Array) -> Array:
    """A line and a parabola along each feature, of these variances: what few observations show first."""
    line = 2 * features_NF - 1
    return np.asarray(np.hstack([line, 1.5 * line**2 - 0.5]) * np.tile(np.sqrt(variances_F), 2))


def even(features: int) -> Array:
    """Variances of trends of which nothing is known: the same for all features, and their sum 1."""
    return np.full(features, 1 / features)


def constants(shares_N: Array, studies_N: NDArray[np.int64]) -> Array:
    """Covariance of the mean and of each constant: one for every share of every study but the own full training."""
    is_same = np.isclose(shares_N[:, None], shares_N[None, :]) & (studies_N[:, None] == studies_N[None, :])
    has_constant = (shares_N < 1) | (studies_N > 0)
    return np.asarray(CONSTANT + OFFSET * (is_same & has_constant[:, None]))


def same_study(studies_N: NDArray[np.int64], others: int) -> Array:
    """For each other study 1 where both observations are of it."""
    is_its_SN = (studies_N[None, :] == np.arange(1, others + 1)[:, None]).astype(float)
    return np.asarray(is_its_SN[:, :, None] * is_its_SN[:, None, :])


def hyperprior(groups: NDArray[np.int64], others: int) -> tuple[Array, Array]:
    """Centre and spread of the logarithms: of length scales, of trends, and of the other variances."""
    count = int(groups.max()) + 1
    scale = (_SCALE[0] + 0.5 * np.log(count), _SCALE[1])
    trend = (max(_TREND[0], _FEW_TRENDS - np.log(len(groups))), _TREND[1])
    rest = [_SIGNAL, _ERROR, _NOISE, _PARTIAL_NOISE, *[_DIFFERENCE] * others]
    centre, spread = np.array([*[scale] * count, *[trend] * count, *rest]).T
    return centre, spread


def shows(shares_N: Array, *, related: bool) -> Array:
    """The part of f that each observation holds."""
    return np.ones(len(shares_N)) if related else (shares_N >= 1).astype(float)


def lack_of(shares_N: Array) -> Array:
    """0 for a full training, 1 for the smallest share."""
    smallest = float(shares_N.min()) if len(shares_N) else 1.0
    if smallest >= 1:
        return np.zeros(len(shares_N))
    return np.asarray(np.log(np.minimum(shares_N, 1.0)) / np.log(smallest))


def matern_between(one_NF: Array, other_MF: Array) -> Array:
    """Matern-5/2 of the distances between the rows of both, at length scale 1."""
    square = (one_NF**2).sum(axis=1)[:, None] + (other_MF**2).sum(axis=1)[None, :] - 2 * one_NF @ other_MF.T
    distance = np.sqrt(5 * np.maximum(square, 0.0))
    return np.asarray((1 + distance + distance**2 / 3) * np.exp(-distance))
