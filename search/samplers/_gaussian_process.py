"""A Gaussian process over mixed knobs in which the share of the training is one more input.

Legend: N observations, F features, G length scales, K levels (shares), the last of which is the full training.

What training to a share gives is the final value, plus a constant of that share, plus an error that is smooth in the
knobs and grows as the share falls, plus noise::

    y(x, share) = f(x) + c(share) + g(share) d(x) + noise(share),      g = log(1 / share) / log(1 / smallest share)

f and d are Matern-5/2 with one length scale per knob. Because the same f stands behind all shares of a trial, trials
that were trained on tell how wrong the others are: that is the paired offset per level, without pairs being formed.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray
from scipy.linalg import cho_factor, cho_solve, solve_triangular
from scipy.optimize import minimize

Array = NDArray[np.float64]

_CONSTANT = 1.0
_OFFSET = 4.0
"""Prior variances of the mean and of each share's constant, in units of the observations' variance."""
_FIT_AT_MOST = 160
_ITERATIONS = 40
# Log-normal priors (mean and spread of the logarithm). Length scales grow with the square root of the number of knobs
# (Hvarfner et al. 2024), so that a process over many knobs starts smooth.
_SCALE = (-0.3, 1.0)
_TREND = (-1.0, 1.0)
_SIGNAL = (0.0, 1.0)
_ERROR = (-1.0, 1.0)
_NOISE = (-5.0, 1.5)
_PARTIAL_NOISE = (-3.5, 2.0)


@dataclass(frozen=True, kw_only=True)
class GaussianProcess:
    """A process conditioned on observations.

    Args:
        features_NF: Coordinates of the observations.
        shares_N: The share of the full training behind each; 1 is a full one.
        values_N: What was observed.
        groups: For each feature the number of its length scale.
        logs: Logarithms of length scales (G), then of the variances of trend, signal, error, noise and noise of small
            shares.
    """

    features_NF: Array
    shares_N: Array
    values_N: Array
    groups: NDArray[np.int64]
    logs: Array

    @classmethod
    def fitted(
        cls, features_NF: Array, values_N: Array, *, groups: NDArray[np.int64], shares_N: Array | None = None
    ) -> GaussianProcess:
        """The process at the most probable length scales and variances; it depends on nothing but the observations."""
        shares_N = np.ones(len(values_N)) if shares_N is None else shares_N
        start = _prior(groups)[0]
        # A long study is fitted on an even part of its observations; all of them are conditioned on.
        part = np.unique(np.linspace(0, len(values_N) - 1, min(len(values_N), _FIT_AT_MOST)).round().astype(int))
        whole = cls(features_NF=features_NF, shares_N=shares_N, values_N=values_N, groups=groups, logs=start)
        likelihood = _Likelihood(whole._rows(part))
        found = minimize(
            likelihood,
            start,
            jac=True,
            method="L-BFGS-B",
            bounds=[(-5.0, 5.0)] * int(groups.max() + 1)
            + [(-9.0, 4.0), (-6.0, 4.0), (-9.0, 3.0), (-9.0, 1.0), (-9.0, 3.0)],
            options={"maxiter": _ITERATIONS},
        )
        return cls(features_NF=features_NF, shares_N=shares_N, values_N=values_N, groups=groups, logs=found.x)

    def conditioned(self, features_NF: Array, values_N: Array) -> GaussianProcess:
        """The same process with further full trainings taken as observed."""
        return GaussianProcess(
            features_NF=np.vstack([self.features_NF, features_NF]),
            shares_N=np.concatenate([self.shares_N, np.ones(len(values_N))]),
            values_N=np.concatenate([self.values_N, values_N]),
            groups=self.groups,
            logs=self.logs,
        )

    def predict(self, features_NF: Array) -> tuple[Array, Array]:
        """Mean and standard deviation of f, what a full training gives without its noise."""
        centre, scale = self._units
        trend, other = trends(features_NF), trends(self.features_NF)
        covariance = self._signal * _matern(self._scaled(features_NF), self._scaled(self.features_NF))
        covariance += _CONSTANT + self._trend * trend @ other.T
        mean = covariance @ self._weights
        half = solve_triangular(self._factor[0], covariance.T, lower=True, check_finite=False)
        variance = self._signal + _CONSTANT + self._trend * (trend**2).sum(axis=1) - (half**2).sum(axis=0)
        return centre + scale * mean, scale * np.sqrt(np.maximum(variance, 1e-10))

    def foresight(self) -> float:
        """Mean log density of each full training under the process that has seen all observations but this one."""
        inverse = cho_solve(self._factor, np.eye(len(self.values_N)), check_finite=False)
        variance = 1 / np.diag(inverse)
        deviation = self._weights * variance
        density = -0.5 * (np.log(2 * np.pi * variance) + deviation**2 / variance)
        return float(density[self.shares_N >= 1].mean() - np.log(self._units[1]))

    def _rows(self, part: NDArray[np.intp]) -> GaussianProcess:
        return GaussianProcess(
            features_NF=self.features_NF[part],
            shares_N=self.shares_N[part],
            values_N=self.values_N[part],
            groups=self.groups,
            logs=self.logs,
        )

    @cached_property
    def _units(self) -> tuple[float, float]:
        """Centre and scale of full trainings, or of all while there are too few."""
        is_full = self.shares_N >= 1
        values = self.values_N[is_full] if is_full.sum() >= 4 else self.values_N
        scale = float(values.std())
        return float(values.mean()), scale if scale > 1e-12 else 1.0

    @cached_property
    def standard_N(self) -> Array:
        """The observations in units of ``_units``."""
        centre, scale = self._units
        return (self.values_N - centre) / scale

    @cached_property
    def _factor(self) -> tuple[Array, bool]:
        lack = _lack(self.shares_N)
        matern = _matern(self._scaled(self.features_NF), self._scaled(self.features_NF))
        covariance = matern * (self._signal + self._error * np.outer(lack, lack)) + constants(self.shares_N)
        trend = trends(self.features_NF)
        covariance += self._trend * trend @ trend.T
        covariance[np.diag_indices_from(covariance)] += self._noise + self._partial_noise * lack + 1e-8
        factor: tuple[Array, bool] = cho_factor(covariance, lower=True, check_finite=False)
        return factor

    @cached_property
    def _weights(self) -> Array:
        weights: Array = cho_solve(self._factor, self.standard_N, check_finite=False)
        return weights

    @property
    def _trend(self) -> float:
        return float(np.exp(self.logs[-5]))

    @property
    def _signal(self) -> float:
        return float(np.exp(self.logs[-4]))

    @property
    def _error(self) -> float:
        return float(np.exp(self.logs[-3]))

    @property
    def _noise(self) -> float:
        return float(np.exp(self.logs[-2]))

    @property
    def _partial_noise(self) -> float:
        return float(np.exp(self.logs[-1]))

    def _scaled(self, features_NF: Array) -> Array:
        return features_NF / np.exp(self.logs[:-5])[self.groups]


class _Likelihood:
    """Negative log posterior of the logarithms, and its gradient."""

    def __init__(self, process: GaussianProcess) -> None:
        features = process.features_NF
        squares = (features[:, None, :] - features[None, :, :]) ** 2
        count = int(process.groups.max()) + 1
        self._squares_GNN = np.stack([squares[:, :, process.groups == group].sum(axis=2) for group in range(count)])
        self._lack = _lack(process.shares_N)
        self._products = np.outer(self._lack, self._lack)
        self._constants = constants(process.shares_N)
        basis = trends(features)
        self._trends = basis @ basis.T
        self._values = process.standard_N
        self._centre, self._spread = _prior(process.groups)

    def __call__(self, logs: Array) -> tuple[float, Array]:
        scales, (trend, signal, error, noise, partial) = np.exp(-2 * logs[:-5]), np.exp(logs[-5:])
        distance = np.sqrt(5 * np.tensordot(scales, self._squares_GNN, axes=1))
        decay = np.exp(-distance)
        matern = (1 + distance + distance**2 / 3) * decay
        level = signal + error * self._products
        covariance = matern * level + self._constants + trend * self._trends
        covariance[np.diag_indices_from(covariance)] += noise + partial * self._lack + 1e-8
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
        gradient[:-5] = 0.5 * scales * np.tensordot(self._squares_GNN, inner, axes=2)
        gradient[-5] = 0.5 * trend * (slope * self._trends).sum()
        gradient[-4] = 0.5 * signal * (slope * matern).sum()
        gradient[-3] = 0.5 * error * (slope * matern * self._products).sum()
        gradient[-2] = 0.5 * noise * np.trace(slope)
        gradient[-1] = 0.5 * partial * (np.diag(slope) * self._lack).sum()
        return float(loss), gradient + deviation / self._spread


def trends(features_NF: Array) -> Array:
    """A line and a parabola along each feature: what a process with few observations learns first."""
    line = 2 * features_NF - 1
    return np.asarray(np.hstack([line, 1.5 * line**2 - 0.5]) / np.sqrt(features_NF.shape[1]))


def constants(shares_N: Array) -> Array:
    """Covariance of the mean and of each share's constant."""
    is_same = np.isclose(shares_N[:, None], shares_N[None, :])
    is_partial = shares_N < 1
    return np.asarray(_CONSTANT + _OFFSET * (is_same & is_partial[:, None]))


def _prior(groups: NDArray[np.int64]) -> tuple[Array, Array]:
    count = int(groups.max()) + 1
    scales = np.full(count, _SCALE[0] + 0.5 * np.log(count))
    centre = np.concatenate([scales, [_TREND[0], _SIGNAL[0], _ERROR[0], _NOISE[0], _PARTIAL_NOISE[0]]])
    spread = np.concatenate(
        [np.full(count, _SCALE[1]), [_TREND[1], _SIGNAL[1], _ERROR[1], _NOISE[1], _PARTIAL_NOISE[1]]]
    )
    return centre, spread


def _lack(shares_N: Array) -> Array:
    """0 for a full training, 1 for the smallest share."""
    smallest = float(shares_N.min()) if len(shares_N) else 1.0
    if smallest >= 1:
        return np.zeros(len(shares_N))
    return np.asarray(np.log(np.minimum(shares_N, 1.0)) / np.log(smallest))


def _matern(one_NF: Array, other_MF: Array) -> Array:
    square = (one_NF**2).sum(axis=1)[:, None] + (other_MF**2).sum(axis=1)[None, :] - 2 * one_NF @ other_MF.T
    distance = np.sqrt(5 * np.maximum(square, 0.0))
    return np.asarray((1 + distance + distance**2 / 3) * np.exp(-distance))
