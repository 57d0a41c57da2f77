"""Budget expected improvement: what a candidate is worth, averaged over the budgets that it may fit in.

Legend: C candidates, P points of the front, Z budgets, M objectives, the first of which is *sought* and the others are
*spent* (known costs, and other learned objectives).

A budget is a bound on every spent objective. Within it the best point so far has some sought value, and a candidate
that fits improves on it by some expectation. The average over budgets drawn evenly below the limits is the expected
hypervolume improvement: exact in the sought objective, sampled over the others. A spent objective that is learned fits
with a probability instead of yes or no; the processes are independent, so that too is exact.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.special import erf
from scipy.stats import qmc

Array = NDArray[np.float64]

_BUDGETS_LOG2 = 10


@dataclass(frozen=True, kw_only=True)
class Belief:
    """What is thought of one objective of C candidates: normal, or log-normal where ``is_log``; exact where sd is 0."""

    mean_C: Array
    sd_C: Array
    is_log: bool = False

    def __getitem__(self, rows: NDArray[np.intp] | NDArray[np.bool_]) -> Belief:
        return Belief(mean_C=self.mean_C[rows], sd_C=self.sd_C[rows], is_log=self.is_log)

    def likely_C(self) -> Array:
        """The median."""
        return np.exp(self.mean_C) if self.is_log else self.mean_C

    def improvement_CB(self, best_B: Array) -> Array:
        """E[max(best - value, 0)]."""
        mean, sd = self.mean_C[:, None], np.maximum(self.sd_C[:, None], 1e-9)
        if not self.is_log:
            distance = (best_B - mean) / sd
            return np.maximum(sd * (distance * _below(distance) + _density(distance)), 0.0)
        distance = (np.log(np.maximum(best_B, 1e-300)) - mean) / sd
        above = np.exp(np.minimum(mean + sd**2 / 2, 700.0)) * _below(distance - sd)
        return np.maximum(best_B * _below(distance) - above, 0.0)

    def within_CB(self, bound_B: Array) -> Array:
        """P(value <= bound)."""
        bound = np.log(np.maximum(bound_B, 1e-300)) if self.is_log else bound_B
        return _below((bound - self.mean_C[:, None]) / np.maximum(self.sd_C[:, None], 1e-12))


@dataclass(frozen=True, kw_only=True)
class Budgets:
    """Bounds on the spent objectives, and the best that each allows so far.

    Args:
        bounds_ZM: Bounds on the spent objectives; no columns when there are none.
        best_Z: The lowest sought value within each, at most the reference.
    """

    bounds_ZM: Array
    best_Z: Array

    @classmethod
    def drawn(cls, front_PM: Array, *, lowest_M: Array, reference_M: Array, seed: int) -> Budgets:
        """Budgets evenly between ``lowest_M`` and ``reference_M``; a point is its sought value, then its costs."""
        count = len(reference_M) - 1
        if count == 0:
            bounds = np.zeros((1, 0))
        else:
            unit = qmc.Sobol(count, seed=np.random.default_rng(seed)).random_base2(_BUDGETS_LOG2)
            bounds = lowest_M[1:] + unit * (reference_M[1:] - lowest_M[1:])
        return cls(bounds_ZM=bounds, best_Z=np.full(len(bounds), reference_M[0])).after(front_PM)

    def after(self, points_PM: Array) -> Budgets:
        """The same budgets once these points are there too."""
        best = self.best_Z.copy()
        for point in points_PM:
            is_within = (point[1:] <= self.bounds_ZM).all(axis=1)
            best[is_within] = np.minimum(best[is_within], point[0])
        return Budgets(bounds_ZM=self.bounds_ZM, best_Z=best)

    def gain_C(self, sought: Belief, spent: list[Belief]) -> Array:
        """Budget expected improvement of each candidate, in units of the sought objective."""
        return self.gain_within_C(sought, self.fitting_CB(spent, count=len(sought.mean_C)))

    def fitting_CB(self, spent: list[Belief], *, count: int) -> Array:
        """For each of the bests that budgets allow so far, how many of these budgets each candidate is to fit."""
        fitting = np.ones((count, len(self.best_Z)))
        for belief, bound_Z in zip(spent, self.bounds_ZM.T, strict=True):
            if (belief.sd_C == 0).all():
                exact = np.exp(belief.mean_C) if belief.is_log else belief.mean_C
                fitting *= exact[:, None] <= bound_Z
            else:
                fitting *= belief.within_CB(bound_Z)
        # Few different bests stand behind many budgets: one expectation for each of them is enough.
        which = np.unique(self.best_Z, return_inverse=True)[1]
        return np.asarray(fitting @ (which[:, None] == np.arange(which.max() + 1)))

    def gain_within_C(self, sought: Belief, fitting_CB: Array) -> Array:
        """``gain_C`` where the budgets that each candidate fits are known already."""
        improvement_CB = sought.improvement_CB(np.unique(self.best_Z))
        return np.asarray((fitting_CB * improvement_CB).sum(axis=1) / len(self.best_Z))

    def hope_C(self, sought: Belief) -> Array:
        """``gain_C`` of candidates that fit into every budget: no candidate gains more."""
        best, times = np.unique(self.best_Z, return_counts=True)
        return np.asarray(sought.improvement_CB(best) @ times / len(self.best_Z))


def _below(distance: Array) -> Array:
    return np.asarray(0.5 * (1 + erf(distance / np.sqrt(2))))


def _density(distance: Array) -> Array:
    return np.asarray(np.exp(-0.5 * distance**2) / np.sqrt(2 * np.pi))
