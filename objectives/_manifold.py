"""Which images lie within reach of which others, in the space of features (Kynkaanniemi et al. 2019, Eq. 1).

Legend: N generated images, M real ones, F features.
"""

from __future__ import annotations

import math

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

Array = NDArray[np.float64]

NEIGHBOUR = 3
_HALVES = 20


def precision(feature_NF: Array, real_MF: Array) -> tuple[float, float]:
    """The share of generated images within reach of a real one, and its standard error (Agresti and Coull 1998)."""
    distance_NM, within_MM = _distances(feature_NF, real_MF), _distances(real_MF, real_MF)
    count, reached = len(feature_NF), int((distance_NM <= _reach(within_MM)).any(dim=1).sum())
    share = (reached + 2) / (count + 4)
    return reached / count, math.sqrt(share * (1 - share) / (count + 4))


def recall(feature_NF: Array, real_MF: Array) -> tuple[float, float]:
    """The share of real images within reach of a generated one, and its standard error.

    The error is the spread over random halves of the generated images, the jackknife that leaves half of them out (Shao
    and Wu 1989). Leaving out few would double it: what an image reaches hangs on its neighbours.
    """
    distance_MN, within_NN = _distances(real_MF, feature_NF), _distances(feature_NF, feature_NF)
    generator = torch.Generator().manual_seed(0)
    shares = []
    for _ in range(_HALVES):
        kept = torch.randperm(len(feature_NF), generator=generator)[: len(feature_NF) // 2]
        shares.append(_share(distance_MN[:, kept], within_NN[kept][:, kept]))
    # All halves may agree on a share of 0 or 1, which is then no more certain than by one image.
    return _share(distance_MN, within_NN), max(float(np.std(shares, ddof=1)), 1 / (len(real_MF) + 4))


def _share(distance_MN: Tensor, within_NN: Tensor) -> float:
    return float((distance_MN <= _reach(within_NN)).any(dim=1).float().mean())


def _reach(within_NN: Tensor) -> Tensor:
    """Of each image the distance to its third nearest other one; the nearest of all is itself."""
    return within_NN.kthvalue(min(NEIGHBOUR + 1, len(within_NN)), dim=1).values


def _distances(one_NF: Array, other_MF: Array) -> Tensor:
    """Euclidean, through products of matrices: fast, and as torch-fidelity has them."""
    return torch.cdist(torch.from_numpy(one_NF), torch.from_numpy(other_MF))
