"""How probable the parameters of a process are after its observations.

Legend: N observations, G length scales, S other studies.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray
from scipy.linalg import cho_factor, cho_solve

from search.samplers._covariance import ROUGH, constants, even, hyperprior, lack_of, same_study, shows, trends

if TYPE_CHECKING:
    from search.samplers._gaussian_process import GaussianProcess

Array = NDArray[np.float64]


class Likelihood:
    """Negative log posterior of the logarithms, and its gradient."""

    def __init__(self, process: GaussianProcess) -> None:
        features = process.features_NF
        squares = (features[:, None, :] - features[None, :, :]) ** 2
        count = int(process.groups.max()) + 1
        self._squares_GNN = np.stack([squares[:, :, process.groups == group].sum(axis=2) for group in range(count)])
        self._lack = lack_of(process.shares_N)
        self._products = np.outer(self._lack, self._lack)
        self._shown = shows(process.shares_N, related=process.related)
        self._both = np.outer(self._shown, self._shown)
        self._constants = constants(process.shares_N, process._studies)
        self._groups = process.groups
        self._basis = trends(features, np.ones(features.shape[1]))
        any_trend = trends(features, even(features.shape[1]))
        self._any_trend = any_trend @ any_trend.T
        self._values = process.standard_N
        others = len(process.logs) - 2 * count - 4
        self._same_SNN = same_study(process._studies, others)
        self._centre, self._spread = hyperprior(process.groups, others)

    def __call__(self, logs: Array) -> tuple[float, Array]:
        count = len(self._squares_GNN)
        first = 2 * count
        scales, trends_G = np.exp(-2 * logs[:count]), np.exp(logs[count:first])
        signal, error, noise, partial = np.exp(logs[first : first + 4])
        difference_S = np.exp(logs[first + 4 :])
        distance = np.sqrt(5 * np.tensordot(scales, self._squares_GNN, axes=1))
        decay = np.exp(-distance)
        matern = (1 + distance + distance**2 / 3) * decay
        apart = np.tensordot(difference_S, self._same_SNN, axes=1)
        level = signal * self._both + error * self._products + apart
        trend = self._basis * np.tile(np.sqrt(trends_G)[self._groups], 2) * self._shown[:, None]
        covariance = matern * level + self._constants + trend @ trend.T + apart * self._any_trend
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
        gradient[:count] = 0.5 * scales * np.tensordot(self._squares_GNN, inner, axes=2)
        each_F = (trend * (slope @ trend)).sum(axis=0).reshape(2, -1).sum(axis=0)
        gradient[count:first] = 0.5 * np.bincount(self._groups, each_F)
        gradient[first] = 0.5 * signal * (slope * matern * self._both).sum()
        gradient[first + 1] = 0.5 * error * (slope * matern * self._products).sum()
        gradient[first + 2] = 0.5 * noise * np.trace(slope)
        gradient[first + 3] = 0.5 * partial * (np.diag(slope) * self._lack).sum()
        whole = matern + self._any_trend + ROUGH * np.eye(len(matern))
        gradient[first + 4 :] = 0.5 * difference_S * np.tensordot(self._same_SNN, slope * whole, axes=2)
        return float(loss), gradient + deviation / self._spread
