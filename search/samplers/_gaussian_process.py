"""A Gaussian process over mixed knobs in which the share of the training, and the study, are two more inputs.

Legend: N observations, F features, G length scales, S other studies.

What training to a share gives is the final value, plus a constant of that share, plus an error that is smooth in the
knobs and grows as the share falls, plus noise::

    y(x, share) = f(x) + c(share) + g(share) d(x) + noise(share),      g = log(1 / share) / log(1 / smallest share)

f and d are Matern-5/2 with one length scale per knob. Along each knob f has a line and a parabola besides, with a
variance of their own: the first observations tell by them which knobs matter. Because the same f stands behind all
shares of a trial, trials that were trained on tell how wrong the others are: that is the paired offset per level,
without pairs being formed. Its rival is a process for which f does not show at small shares: these hold c, d and noise,
and tell nothing of f. The evidence of both says whether small shares are to be believed.

What another study measured is this study's value, plus a constant of that study and share, plus a difference that is as
smooth in the knobs as f is and has a variance of its own for each study::

    y(x, share, study) = y(x, share) + c(share, study) + e(x, study)

Where the variance comes out small, the other study's results count as much as own ones; where it comes out large, they
count for nothing (the intrinsic coregionalisation model, Bonilla et al. 2007, with one task to be foreseen).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
from numpy.typing import NDArray
from scipy.linalg import cho_factor, cho_solve, solve_triangular
from scipy.optimize import minimize

from search.samplers._covariance import (
    CONSTANT,
    OFFSET,
    ROUGH,
    constants,
    even,
    hyperprior,
    lack_of,
    matern_between,
    same_study,
    shows,
    trends,
)
from search.samplers._likelihood import Likelihood
from search.samplers._spread import bounded

Array = NDArray[np.float64]

_CONDITION_AT_MOST = 1_000
"""Beyond, the cost of a decision would grow with the cube; what is lost: tests/benchmarks/subset_of_data.py."""
_FIT_AT_MOST = 160
_OTHERS_AT_LEAST = 40
_ITERATIONS = 40


@dataclass(frozen=True, kw_only=True)
class GaussianProcess:
    """A process conditioned on observations.

    Args:
        features_NF: Coordinates of the observations.
        shares_N: The share of the full training behind each; 1 is a full one.
        values_N: What was observed.
        groups: For each feature the number of its length scale.
        logs: Logarithms of length scales (G), then of the variances of their trends (G), of signal, error, noise and
            noise of small shares, then of the difference of each other study (S).
        studies_N: 0 for this study's own observations, 1 and on for those of others; None where all are its own.
        related: Whether f stands behind small shares at all; if not, they hold their constants, d and noise alone.
        evidence: Log density of the observations and the parameters, up to a constant that does not depend on
            ``related``; NaN where the parameters were not fitted.
    """

    features_NF: Array
    shares_N: Array
    values_N: Array
    groups: NDArray[np.int64]
    logs: Array
    studies_N: NDArray[np.int64] | None = None
    related: bool = True
    evidence: float = math.nan

    @classmethod
    def fitted(
        cls,
        features_NF: Array,
        values_N: Array,
        *,
        groups: NDArray[np.int64],
        shares_N: Array | None = None,
        studies_N: NDArray[np.int64] | None = None,
        related: bool = True,
    ) -> GaussianProcess:
        """The process at the most probable length scales and variances; it depends on nothing but the observations."""
        shares_N = np.ones(len(values_N)) if shares_N is None else shares_N
        others = 0 if studies_N is None else int(studies_N.max(initial=0))
        start = hyperprior(groups, others)[0]
        whole = cls(
            features_NF=features_NF,
            shares_N=shares_N,
            values_N=values_N,
            groups=groups,
            logs=start,
            studies_N=studies_N,
            related=related,
        )._bounded()
        likelihood = Likelihood(whole._part())
        found = minimize(
            likelihood,
            start,
            jac=True,
            method="L-BFGS-B",
            bounds=[(-5.0, 5.0)] * whole._count
            + [(-9.0, 4.0)] * whole._count
            + [(-6.0, 4.0), (-9.0, 3.0), (-9.0, 1.0), (-9.0, 3.0)]
            + [(-9.0, 3.0)] * others,
            options={"maxiter": _ITERATIONS},
        )
        return replace(whole, logs=found.x, evidence=-float(found.fun))

    def conditioned(self, features_NF: Array, values_N: Array) -> GaussianProcess:
        """The same process with further full trainings taken as observed, as many as it holds."""
        more = replace(
            self,
            features_NF=np.vstack([self.features_NF, features_NF]),
            shares_N=np.concatenate([self.shares_N, np.ones(len(values_N))]),
            values_N=np.concatenate([self.values_N, values_N]),
            studies_N=np.concatenate([self._studies, np.zeros(len(values_N), dtype=np.int64)]),
        )
        return more._bounded()

    def predict(self, features_NF: Array) -> tuple[Array, Array]:
        """Mean and standard deviation of f, what a full training gives without its noise."""
        centre, scale = self._units
        covariance = self._shown(features_NF)
        mean = covariance @ self._weights
        half = solve_triangular(self._factor[0], covariance.T, lower=True, check_finite=False)
        variance = self._signal + CONSTANT + (self._trends(features_NF) ** 2).sum(axis=1) - (half**2).sum(axis=0)
        return centre + scale * mean, scale * np.sqrt(np.maximum(variance, 1e-10))

    def posterior(self, features_NF: Array) -> tuple[Array, Array]:
        """As ``predict``, with the covariance of f between all rows in place of its deviations."""
        scale = self._units[1]
        mean, _ = self.predict(features_NF)
        half = solve_triangular(self._factor[0], self._shown(features_NF).T, lower=True, check_finite=False)
        return mean, scale**2 * (self._prior(features_NF, features_NF) - half.T @ half)

    def looks(self, features_CF: Array, shares: Sequence[float]) -> tuple[Array, Array]:
        """What measuring a candidate at each of ``shares``, none of them with the others, would tell of f.

        Returns:
            By what standard deviation it would move the mean of f, and the deviation of f that would be left: both
            one row for each share. A share tells nothing to a process that has seen full trainings alone, or for which
            these have nothing to do with smaller ones.
        """
        scale, lack_N = self._units[1], lack_of(self.shares_N)
        smallest = float(self.shares_N.min())
        matern_CN = matern_between(self._scaled(features_CF), self._scaled(self.features_NF))
        prior_CN = self._shown(features_CF)
        half = solve_triangular(self._factor[0], prior_CN.T, lower=True, check_finite=False)
        own_C = self._signal + CONSTANT + (self._trends(features_CF) ** 2).sum(axis=1)
        variance_C = np.maximum(own_C - (half**2).sum(axis=0), 1e-10)
        moved = np.zeros((len(shares), len(features_CF)))
        for row, share in enumerate(shares):
            if smallest >= 1 or share >= 1 or not self.related:
                continue
            lack = np.log(share) / np.log(smallest)
            is_same_N = np.isclose(self.shares_N, share) & (self._studies == 0)
            cross_CN = prior_CN + matern_CN * self._error * lack * lack_N + OFFSET * is_same_N
            half_share = solve_triangular(self._factor[0], cross_CN.T, lower=True, check_finite=False)
            covariance_C = own_C - (half * half_share).sum(axis=0)
            noise = self._noise + self._partial_noise * lack + OFFSET
            spread_C = own_C + self._error * lack**2 + noise - (half_share**2).sum(axis=0)
            moved[row] = np.sqrt(np.minimum(covariance_C**2 / spread_C, variance_C))
        return scale * moved, scale * np.sqrt(np.maximum(variance_C - moved**2, 1e-10))

    def foresight(self, *, least_share: float = 1.0) -> float:
        """Mean log density of each own observation of that share under the process that has seen all but this one."""
        inverse = cho_solve(self._factor, np.eye(len(self.values_N)), check_finite=False)
        variance = 1 / np.diag(inverse)
        deviation = self._weights * variance
        density = -0.5 * (np.log(2 * np.pi * variance) + deviation**2 / variance)
        return float(density[(self.shares_N >= least_share) & (self._studies == 0)].mean() - np.log(self._units[1]))

    def _bounded(self) -> GaussianProcess:
        """Of very many observations those that lie far from each other, in knobs and in share."""
        if len(self.values_N) <= _CONDITION_AT_MOST:
            return self
        points = np.column_stack([self.features_NF, lack_of(self.shares_N)])
        return self._of(bounded(points, self._studies == 0, most=_CONDITION_AT_MOST))

    def _part(self) -> GaussianProcess:
        """A long study is fitted on an even part of its observations; all of them are conditioned on."""
        own, others = np.flatnonzero(self._studies == 0), np.flatnonzero(self._studies > 0)
        own = own[_evenly(len(own), _FIT_AT_MOST)]
        others = others[_evenly(len(others), max(_FIT_AT_MOST - len(own), _OTHERS_AT_LEAST))]
        return self._of(np.concatenate([own, others]))

    def _of(self, part_N: NDArray[np.int64]) -> GaussianProcess:
        return replace(
            self,
            features_NF=self.features_NF[part_N],
            shares_N=self.shares_N[part_N],
            values_N=self.values_N[part_N],
            studies_N=self._studies[part_N],
        )

    @cached_property
    def _studies(self) -> NDArray[np.int64]:
        return np.zeros(len(self.values_N), dtype=np.int64) if self.studies_N is None else self.studies_N

    @cached_property
    def _units(self) -> tuple[float, float]:
        """Centre and scale of own full trainings, or of all own observations while there are too few."""
        values = self._middle(0)
        scale = float(values.std())
        return float(values.mean()), scale if scale > 1e-12 else 1.0

    def _middle(self, study: int) -> Array:
        """The full trainings of a study, or all of its observations while there are too few."""
        is_its = self._studies == study
        is_full = is_its & (self.shares_N >= 1)
        return self.values_N[is_full] if is_full.sum() >= 4 else self.values_N[is_its]

    @cached_property
    def standard_N(self) -> Array:
        """The observations in units of ``_units``, those of each other study about its own centre."""
        scale = self._units[1]
        centre_N = np.empty(len(self.values_N))
        for study in np.unique(self._studies):
            centre_N[self._studies == study] = self._middle(int(study)).mean()
        return (self.values_N - centre_N) / scale

    @cached_property
    def _factor(self) -> tuple[Array, bool]:
        lack = lack_of(self.shares_N)
        matern = matern_between(self._scaled(self.features_NF), self._scaled(self.features_NF))
        difference_S = np.exp(self.logs[self._first_variance + 4 :])
        apart = np.tensordot(difference_S, same_study(self._studies, len(difference_S)), axes=1)
        shown_N = shows(self.shares_N, related=self.related)
        signal = self._signal * np.outer(shown_N, shown_N)
        covariance = matern * (signal + self._error * np.outer(lack, lack) + apart)
        covariance += constants(self.shares_N, self._studies)
        trend = self._trends(self.features_NF) * shown_N[:, None]
        any_trend = trends(self.features_NF, even(self.features_NF.shape[1]))
        covariance += trend @ trend.T + apart * (any_trend @ any_trend.T)
        noise = self._noise + self._partial_noise * lack + ROUGH * np.diag(apart)
        covariance[np.diag_indices_from(covariance)] += noise + 1e-8
        factor: tuple[Array, bool] = cho_factor(covariance, lower=True, check_finite=False)
        return factor

    @cached_property
    def _weights(self) -> Array:
        weights: Array = cho_solve(self._factor, self.standard_N, check_finite=False)
        return weights

    @property
    def _count(self) -> int:
        return int(self.groups.max()) + 1

    @property
    def _first_variance(self) -> int:
        return 2 * self._count

    @property
    def _signal(self) -> float:
        return float(np.exp(self.logs[self._first_variance]))

    @property
    def _error(self) -> float:
        return float(np.exp(self.logs[self._first_variance + 1]))

    @property
    def _noise(self) -> float:
        return float(np.exp(self.logs[self._first_variance + 2]))

    @property
    def _partial_noise(self) -> float:
        return float(np.exp(self.logs[self._first_variance + 3]))

    def _prior(self, one_NF: Array, other_MF: Array) -> Array:
        """Covariance of f between the rows of both before anything is observed."""
        covariance = self._signal * matern_between(self._scaled(one_NF), self._scaled(other_MF))
        return np.asarray(covariance + (CONSTANT + self._trends(one_NF) @ self._trends(other_MF).T))

    def _shown(self, features_CF: Array) -> Array:
        """Covariance of f of each row with the observations."""
        prior_CN = self._prior(features_CF, self.features_NF)
        return prior_CN if self.related else np.where(self.shares_N >= 1, prior_CN, CONSTANT)

    def _trends(self, features_NF: Array) -> Array:
        """Features whose products are the covariance of lines and parabolas."""
        return trends(features_NF, np.exp(self.logs[self._count : self._first_variance])[self.groups])

    def _scaled(self, features_NF: Array) -> Array:
        return features_NF / np.exp(self.logs[: self._count])[self.groups]


def _evenly(count: int, most: int) -> NDArray[np.int64]:
    """At most ``most`` of the numbers below ``count``, evenly spread."""
    return np.unique(np.linspace(0, count - 1, min(count, most)).round().astype(np.int64))
