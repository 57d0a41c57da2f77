"""A Gaussian process over mixed knobs in which the share of the training, and the study, are two more inputs.

Legend: N observations, F features, G length scales, S other studies.

What training to a share gives is the final value, plus a constant of that share, plus an error that is smooth in the
knobs and grows as the share falls, plus noise::

    y(x, share) = f(x) + c(share) + g(share) d(x) + noise(share),      g = log(1 / share) / log(1 / smallest share)

f and d are Matern-5/2 with one length scale per knob. Because the same f stands behind all shares of a trial, trials
that were trained on tell how wrong the others are: that is the paired offset per level, without pairs being formed.

What another study measured is this study's value, plus a constant of that study and share, plus a difference that is as
smooth in the knobs as f is and has a variance of its own for each study::

    y(x, share, study) = y(x, share) + c(share, study) + e(x, study)

Where the variance comes out small, the other study's results count as much as own ones; where it comes out large, they
count for nothing (the intrinsic coregionalisation model, Bonilla et al. 2007, with one task to be foreseen).
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
from numpy.typing import NDArray
from scipy.linalg import cho_factor, cho_solve, solve_triangular
from scipy.optimize import minimize

from search.samplers._covariance import (
    CONSTANT,
    ROUGH,
    constants,
    hyperprior,
    lack_of,
    matern_between,
    same_study,
    trends,
)
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
        logs: Logarithms of length scales (G), then of the variances of trend, signal, error, noise and noise of small
            shares, then of the difference of each other study (S).
        studies_N: 0 for this study's own observations, 1 and on for those of others; None where all are its own.
    """

    features_NF: Array
    shares_N: Array
    values_N: Array
    groups: NDArray[np.int64]
    logs: Array
    studies_N: NDArray[np.int64] | None = None

    @classmethod
    def fitted(
        cls,
        features_NF: Array,
        values_N: Array,
        *,
        groups: NDArray[np.int64],
        shares_N: Array | None = None,
        studies_N: NDArray[np.int64] | None = None,
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
        )._bounded()
        likelihood = _Likelihood(whole._part())
        found = minimize(
            likelihood,
            start,
            jac=True,
            method="L-BFGS-B",
            bounds=[(-5.0, 5.0)] * int(groups.max() + 1)
            + [(-9.0, 4.0), (-6.0, 4.0), (-9.0, 3.0), (-9.0, 1.0), (-9.0, 3.0)]
            + [(-9.0, 3.0)] * others,
            options={"maxiter": _ITERATIONS},
        )
        return replace(whole, logs=found.x)

    def conditioned(self, features_NF: Array, values_N: Array) -> GaussianProcess:
        """The same process with further full trainings taken as observed."""
        return replace(
            self,
            features_NF=np.vstack([self.features_NF, features_NF]),
            shares_N=np.concatenate([self.shares_N, np.ones(len(values_N))]),
            values_N=np.concatenate([self.values_N, values_N]),
            studies_N=np.concatenate([self._studies, np.zeros(len(values_N), dtype=np.int64)]),
        )

    def predict(self, features_NF: Array) -> tuple[Array, Array]:
        """Mean and standard deviation of f, what a full training gives without its noise."""
        centre, scale = self._units
        covariance = self._prior(features_NF, self.features_NF)
        trend = trends(features_NF)
        mean = covariance @ self._weights
        half = solve_triangular(self._factor[0], covariance.T, lower=True, check_finite=False)
        variance = self._signal + CONSTANT + self._trend * (trend**2).sum(axis=1) - (half**2).sum(axis=0)
        return centre + scale * mean, scale * np.sqrt(np.maximum(variance, 1e-10))

    def posterior(self, features_NF: Array) -> tuple[Array, Array]:
        """As ``predict``, with the covariance of f between all rows in place of its deviations."""
        scale = self._units[1]
        mean, _ = self.predict(features_NF)
        half = solve_triangular(
            self._factor[0], self._prior(features_NF, self.features_NF).T, lower=True, check_finite=False
        )
        return mean, scale**2 * (self._prior(features_NF, features_NF) - half.T @ half)

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
        difference_S = np.exp(self.logs[self._first_variance + 5 :])
        apart = np.tensordot(difference_S, same_study(self._studies, len(difference_S)), axes=1)
        covariance = matern * (self._signal + self._error * np.outer(lack, lack) + apart)
        covariance += constants(self.shares_N, self._studies)
        trend = trends(self.features_NF)
        covariance += self._trend * trend @ trend.T + apart * (trend @ trend.T)
        noise = self._noise + self._partial_noise * lack + ROUGH * np.diag(apart)
        covariance[np.diag_indices_from(covariance)] += noise + 1e-8
        factor: tuple[Array, bool] = cho_factor(covariance, lower=True, check_finite=False)
        return factor

    @cached_property
    def _weights(self) -> Array:
        weights: Array = cho_solve(self._factor, self.standard_N, check_finite=False)
        return weights

    @property
    def _first_variance(self) -> int:
        return int(self.groups.max()) + 1

    @property
    def _trend(self) -> float:
        return float(np.exp(self.logs[self._first_variance]))

    @property
    def _signal(self) -> float:
        return float(np.exp(self.logs[self._first_variance + 1]))

    @property
    def _error(self) -> float:
        return float(np.exp(self.logs[self._first_variance + 2]))

    @property
    def _noise(self) -> float:
        return float(np.exp(self.logs[self._first_variance + 3]))

    @property
    def _partial_noise(self) -> float:
        return float(np.exp(self.logs[self._first_variance + 4]))

    def _prior(self, one_NF: Array, other_MF: Array) -> Array:
        """Covariance of f between the rows of both before anything is observed."""
        covariance = self._signal * matern_between(self._scaled(one_NF), self._scaled(other_MF))
        return np.asarray(covariance + (CONSTANT + self._trend * trends(one_NF) @ trends(other_MF).T))

    def _scaled(self, features_NF: Array) -> Array:
        return features_NF / np.exp(self.logs[: self._first_variance])[self.groups]


class _Likelihood:
    """Negative log posterior of the logarithms, and its gradient."""

    def __init__(self, process: GaussianProcess) -> None:
        features = process.features_NF
        squares = (features[:, None, :] - features[None, :, :]) ** 2
        count = int(process.groups.max()) + 1
        self._squares_GNN = np.stack([squares[:, :, process.groups == group].sum(axis=2) for group in range(count)])
        self._lack = lack_of(process.shares_N)
        self._products = np.outer(self._lack, self._lack)
        self._constants = constants(process.shares_N, process._studies)
        basis = trends(features)
        self._trends = basis @ basis.T
        self._values = process.standard_N
        others = len(process.logs) - count - 5
        self._same_SNN = same_study(process._studies, others)
        self._centre, self._spread = hyperprior(process.groups, others)

    def __call__(self, logs: Array) -> tuple[float, Array]:
        first = len(self._squares_GNN)
        scales, difference_S = np.exp(-2 * logs[:first]), np.exp(logs[first + 5 :])
        trend, signal, error, noise, partial = np.exp(logs[first : first + 5])
        distance = np.sqrt(5 * np.tensordot(scales, self._squares_GNN, axes=1))
        decay = np.exp(-distance)
        matern = (1 + distance + distance**2 / 3) * decay
        apart = np.tensordot(difference_S, self._same_SNN, axes=1)
        level = signal + error * self._products + apart
        covariance = matern * level + self._constants + (trend + apart) * self._trends
        covariance[np.diag_indices_from(covariance)] += noise + partial * self._lack + ROUGH * np.diag(apart) + 1e-8
        try:
            factor = cho_factor(covariance, lower=True, check_finite=False)
        except np.linalg.LinAlgError:
            return 1e10, np.zeros_like(logs)
        weights = cho_solve(factor, self._values, check_finite=False)
        inverse = cho_solve(factor, np.eye(len(covariance)), check_finite=False)
        # d(loss) / d(covariance), doubled.
        slope = inverse - np.outer(weights, weights)
        deviation = (logs - self._centre) / self._spread
        loss = 0.5 * self._values @ weights + np.log(np.diag(factor[0])).sum() + 0.5 * (deviation**2).sum()
        # d(matern) / d(log scale) = 5 / 3 (1 + r) exp(-r) * square / scale**2
        inner = slope * level * (5 / 3) * (1 + distance) * decay
        gradient = np.empty_like(logs)
        gradient[:first] = 0.5 * scales * np.tensordot(self._squares_GNN, inner, axes=2)
        gradient[first] = 0.5 * trend * (slope * self._trends).sum()
        gradient[first + 1] = 0.5 * signal * (slope * matern).sum()
        gradient[first + 2] = 0.5 * error * (slope * matern * self._products).sum()
        gradient[first + 3] = 0.5 * noise * np.trace(slope)
        gradient[first + 4] = 0.5 * partial * (np.diag(slope) * self._lack).sum()
        whole = matern + self._trends + ROUGH * np.eye(len(matern))
        gradient[first + 5 :] = 0.5 * difference_S * np.tensordot(self._same_SNN, slope * whole, axes=2)
        return float(loss), gradient + deviation / self._spread


def _evenly(count: int, most: int) -> NDArray[np.int64]:
    """At most ``most`` of the numbers below ``count``, evenly spread."""
    return np.unique(np.linspace(0, count - 1, min(count, most)).round().astype(np.int64))
