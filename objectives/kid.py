"""Kernel distance between features of generated and of real images: FID's kin without its bias."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from objectives._feature_objective import FeatureObjective
from objectives.objective import OBJECTIVES

if TYPE_CHECKING:
    import numpy as np
    import torch
    from numpy.typing import NDArray
    from torch_fidelity.feature_extractor_base import FeatureExtractorBase

    from objectives._kernel_distance import Reference
    from trainers.cache import Cache
    from trainers.data.dataset import Images


@OBJECTIVES.register("kid")
@dataclass(frozen=True, kw_only=True)
class Kid(FeatureObjective):
    """Kernel distance to the training images (Binkowski et al. 2018): unbiased, so few samples do not make it larger.

    The squared maximum mean discrepancy under the kernel (x y / F + 1)^3, over all pairs of generated images and up to
    5,000 training images, where the paper averages over subsets of both: the same expectation with less spread. It can
    be slightly negative for a model as good as the data. The standard error is the jackknife's, over draws of the noise
    at this set of training images.
    """

    title = "KID"

    def reference(
        self, extractor: FeatureExtractorBase, images: Images, cache: Cache, device: torch.device
    ) -> Reference:
        import torch

        from objectives import _kernel_distance

        feature_NF = super().reference(extractor, images, cache, device)
        key = {"data": images.hash, "extractor": extractor.get_name(), "count": len(feature_NF)}

        def make() -> dict[str, torch.Tensor]:
            return {"mean": torch.tensor(_kernel_distance.mean_within(feature_NF), dtype=torch.float64)}

        return _kernel_distance.Reference(feature_NF, float(cache.tensors("kernel", key, make)["mean"]))

    def judged(self, feature_NF: NDArray[np.float64], reference: Reference) -> tuple[float, float]:
        from objectives import _kernel_distance

        return _kernel_distance.kernel_distance(feature_NF, reference)
