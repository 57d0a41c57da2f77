"""How sure a classifier is of each generated image, and how evenly its classes come."""

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

    from trainers.cache import Cache
    from trainers.data.dataset import Images


@OBJECTIVES.register("inception_score")
@dataclass(frozen=True, kw_only=True)
class InceptionScore(FeatureObjective):
    """exp of the mean divergence of an image's classes from those of all (Salimans et al. 2016), 1 to their number.

    It looks at generated images alone: a model that repeats one perfect image of each class has the highest score. With
    ``labels`` the classes are those of the data (10 for digits) and the classifier is sure of most images, so the score
    says little more than how evenly the classes come, and stands beside no published one. It is taken over all samples
    at once; the papers' mean over 10 parts is lower. The standard error is over draws of the noise.
    """

    goal = "max"
    title = "Inception score"

    def reference(
        self, extractor: FeatureExtractorBase, images: Images, cache: Cache, device: torch.device
    ) -> FeatureExtractorBase:
        return extractor

    def judged(self, feature_NF: NDArray[np.float64], reference: FeatureExtractorBase) -> tuple[float, float]:
        from objectives import _features

        return inception_score(_features.logits(reference, feature_NF))


def inception_score(logit_NC: torch.Tensor) -> tuple[float, float]:
    """The score of the logits of N images over C classes, and its standard error.

    The error is that of the infinitesimal jackknife: since the classes of all images are the mean of those of each, an
    image adds its own divergence and nothing else.

    Raises:
        FloatingPointError: when a logit is not finite.
    """
    if not logit_NC.isfinite().all():
        raise FloatingPointError("the classifier's logits are not finite, so the Inception score cannot be measured")
    log_NC = logit_NC.double().log_softmax(dim=1)
    share_NC = log_NC.exp()
    # A class of which no image has any share adds 0, not 0 * infinity.
    divergence_N = (share_NC * (log_NC - share_NC.mean(dim=0).log())).nan_to_num(0.0).sum(dim=1)
    score = float(divergence_N.mean().exp())
    return score, score * float(divergence_N.std()) / len(logit_NC) ** 0.5
