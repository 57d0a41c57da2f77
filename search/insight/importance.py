"""Which knobs matter: the part of the variance of the learned objective that each has a hand in.

That is the total Sobol index over the space's own prior (all knobs drawn independently, conditional ones where they
exist), estimated as Jansen 1999 does from pairs of candidates that differ in one knob (Saltelli et al. 2010, Table 2)::

    T_k = E[(f(A) - f(A with B's value of knob k))^2] / 2 Var f

f is not the process's mean, which is flat wherever little was tried, but each of many functions that the process holds
possible: their spread is the uncertainty.

Legend: N candidates, D knobs, S functions drawn.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray
from scipy.stats import qmc

from search.insight.study_model import StudyModel

Array = NDArray[np.float64]

_ROWS_AT_MOST = 2600
"""Candidates at which functions are drawn together: time and memory grow with the square."""
_FUNCTIONS = 200
_INTERVAL = (5, 95)
_JITTERS = (1e-7, 1e-5, 1e-3)
_SEED = 0


@dataclass(frozen=True, kw_only=True)
class Importance:
    """One knob's total effect, interactions included, so all of them may add up to more than 1.

    Args:
        share: Of the variance over the space; the median of what is held possible.
        low, high: 90 % of what is held possible lies between.
        exists: The part of random candidates that have the knob.
    """

    knob: str
    share: float
    low: float
    high: float
    exists: float


@lru_cache(maxsize=4)
def importances(model: StudyModel) -> tuple[Importance, ...]:
    """All knobs, the one that matters most first; none where the process foretells nothing."""
    knobs = model.knobs
    if model.process is None or not knobs.names:
        return ()
    width = len(knobs.names)
    count = 2 ** int(math.log2(_ROWS_AT_MOST / (width + 1)))
    unit = qmc.Sobol(2 * width, seed=_SEED).random(count)
    base, other = unit[:, :width], unit[:, width:]
    changed = []
    for column in range(width):
        one = base.copy()
        one[:, column] = other[:, column]
        changed.append(one)
    rows = knobs.spread(np.vstack([base, *changed]))
    values_SN = drawn(*model.process.posterior(knobs.features(rows)), count=_FUNCTIONS, seed=_SEED)
    values_SDN = values_SN.reshape(_FUNCTIONS, width + 1, count)
    half_SD = 0.5 * ((values_SDN[:, 1:] - values_SDN[:, :1]) ** 2).mean(axis=2)
    share_SD = half_SD / np.maximum(values_SDN.var(axis=(1, 2)), 1e-300)[:, None]
    exists_D = (~np.isnan(rows[:count])).mean(axis=0)
    low_D, share_D, high_D = np.percentile(share_SD, [_INTERVAL[0], 50, _INTERVAL[1]], axis=0)
    found = [
        Importance(knob=name, share=share, low=low, high=high, exists=exists)
        for name, share, low, high, exists in zip(
            knobs.names, share_D.tolist(), low_D.tolist(), high_D.tolist(), exists_D.tolist(), strict=True
        )
    ]
    return tuple(sorted(found, key=lambda each: -each.share))


def drawn(mean_N: Array, covariance_NN: Array, *, count: int, seed: int) -> Array:
    """Values (S, N) of functions that a process with this posterior holds possible."""
    factor = _factor(covariance_NN)
    return np.asarray(mean_N + np.random.default_rng(seed).standard_normal((count, len(mean_N))) @ factor.T)


def _factor(covariance_NN: Array) -> Array:
    """Cholesky's, of what equal rows and rounding leave without one."""
    scale = max(float(np.diag(covariance_NN).max()), 1e-12)
    for jitter in _JITTERS:
        try:
            return np.asarray(np.linalg.cholesky(covariance_NN + jitter * scale * np.eye(len(covariance_NN))), float)
        except np.linalg.LinAlgError:
            continue
    raise AssertionError("a covariance is positive but for rounding")
