"""The Frechet distance between two sets of features, and how uncertain it is (Heusel et al. 2017).

Legend: N images, F features, M the smaller of the two.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]


@dataclass(frozen=True)
class Statistics:
    """Mean and covariance of features, and the symmetric square root of the covariance."""

    mean_F: Array
    covariance_FF: Array
    root_FF: Array


def statistics(feature_NF: Array) -> Statistics:
    """The statistics of at least two images' features, through torch-fidelity."""
    mean_F, covariance_FF = _moments(feature_NF)
    value_F, vector_FF = np.linalg.eigh(covariance_FF)
    root_FF = (vector_FF * np.sqrt(value_F.clip(min=0))) @ vector_FF.T
    return Statistics(mean_F, covariance_FF, root_FF)


def frechet_distance(feature_NF: Array, reference: Statistics) -> float:
    """torch-fidelity's distance; rounding can make it slightly negative for equal sets, which is 0 here.

    Raises:
        FloatingPointError: when a feature or the distance is not finite.
    """
    from torch_fidelity.metric_fid import KEY_METRIC_FID, fid_statistics_to_metric

    if not np.isfinite(feature_NF).all():
        raise FloatingPointError("features of the generated images are not finite, so FID cannot be measured")
    mean_F, covariance_FF = _moments(feature_NF)
    found = fid_statistics_to_metric(
        {"mu": mean_F, "sigma": covariance_FF},
        {"mu": reference.mean_F, "sigma": reference.covariance_FF},
        verbose=False,
    )
    distance = float(found[KEY_METRIC_FID])
    if not np.isfinite(distance):
        raise FloatingPointError(f"FID is {distance}, not a finite number")
    return max(0.0, distance)


def frechet_stderr(feature_NF: Array, reference: Statistics) -> float:
    """Standard error of the distance over draws of the generated images, the reference being fixed.

    The infinitesimal jackknife (Efron 1982, chapter 6): how much the distance changes with the weight of each image,
    in closed form, so that one decomposition does instead of a distance per left-out group. With centred features C,
    covariances S and S', the term tr((S S')^(1/2)) is the sum of the singular values of C S'^(1/2) / sqrt(N), and half
    of the square root's diagonal is what each image adds to it. A test holds it against the spread over many draws.
    """
    count = len(feature_NF)
    centred_NF = feature_NF - feature_NF.mean(axis=0)
    shift_F = feature_NF.mean(axis=0) - reference.mean_F
    shared_N = _root_diagonal_N(centred_NF @ reference.root_FF / np.sqrt(count))
    influence_N = 2 * centred_NF @ shift_F + np.square(centred_NF).sum(axis=1) - count * shared_N
    return float(influence_N.std(ddof=1) / np.sqrt(count))


def _moments(feature_NF: Array) -> tuple[Array, Array]:
    import torch
    from torch_fidelity.metric_fid import fid_features_to_statistics

    found = fid_features_to_statistics(torch.from_numpy(feature_NF))
    return found["mu"], found["sigma"]


def _root_diagonal_N(factor_NF: Array) -> Array:
    """Diagonal of (A A^T)^(1/2), through the smaller of the two Gram matrices: far cheaper than singular values."""
    count, width = factor_NF.shape
    if count <= width:
        value_M, vector_MM = np.linalg.eigh(factor_NF @ factor_NF.T)
        return np.square(vector_MM) @ np.sqrt(value_M.clip(min=0))
    value_M, vector_MM = np.linalg.eigh(factor_NF.T @ factor_NF)
    is_positive_M = value_M > value_M[-1] * 1e-12
    # The left singular vectors are A V / s, so the diagonal is the sum of (A V)^2 / s.
    projected_NM = factor_NF @ vector_MM[:, is_positive_M]
    return np.square(projected_NM) @ (1 / np.sqrt(value_M[is_positive_M]))
