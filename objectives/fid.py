"""Frechet distance between features of generated and of real images."""

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

    from objectives._frechet import Statistics
    from trainers.cache import Cache
    from trainers.data.dataset import Images


@OBJECTIVES.register("fid")
@dataclass(frozen=True, kw_only=True)
class Fid(FeatureObjective):
    """Frechet distance to the training images (Heusel et al. 2017), on Inception's features or the data's own.

    Fewer samples give a larger value, and each extractor has its own scale: compare values with the same ``samples``
    and the same ``Measurement.by`` only. The standard error is over draws of the noise.
    """

    title = "FID"

    def reference(
        self, extractor: FeatureExtractorBase, images: Images, cache: Cache, device: torch.device
    ) -> Statistics:
        from objectives import _features

        return _features.reference_statistics(extractor, images, cache, device=device)

    def judged(self, feature_NF: NDArray[np.float64], reference: Statistics) -> tuple[float, float]:
        from objectives import _frechet

        return _frechet.frechet_distance(feature_NF, reference), _frechet.frechet_stderr(feature_NF, reference)
