"""How probable the parameters of a process are after its observations.

Legend: N observations, G length scales, S other studies.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray
from scipy.linalg import cho_factor, cho_solve

from search.samplers._covariance import ROUGH, constants, hyperprior, lack_of, same_study, trends

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
