"""What FID, KID and their kin have in common: images are drawn, and a feature extractor looks at them."""

from __future__ import annotations

from abc import abstractmethod
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Literal, Self

from objectives.objective import Measurement, Objective
from trainers.bounds import Samples, Seed

if TYPE_CHECKING:
    import numpy as np
    import torch
    from numpy.typing import NDArray
    from torch_fidelity.feature_extractor_base import FeatureExtractorBase

    from trainers.cache import Cache
    from trainers.data.dataset import Images
    from trainers.models.diffusion_model import DiffusionModel
    from trainers.run import Run


@dataclass(frozen=True, kw_only=True)
class FeatureObjective(Objective):
    """A learned objective on features of drawn images; compare values with the same ``samples`` and ``by`` only.

    With the same ``samples`` and ``seed``, several of them look at the same images, which are drawn once.

    Args:
        samples: Generated images.
        extractor: ``inception`` (2048 features, 1008 classes), ``labels`` (64 features of a small classifier trained
            once on the labels of the data), or ``auto``: Inception when its weights are on this machine.
        seed: Of the noise that images are drawn from, the same for every trial.
    """

    is_learned = True

    samples: Samples = 1000
    extractor: Literal["auto", "inception", "labels"] = "auto"
    seed: Seed = 0

    def prepare(self, images: Images, cache: Cache) -> None:
        import torch

        from objectives import _features

        extractor = _features.extractor_for(self.extractor, images, cache)
        self.reference(extractor, images, cache, torch.device("cuda" if torch.cuda.is_available() else "cpu"))

    def measured_by(self, images: Images, cache: Cache) -> str:
        from objectives import _features

        return _features.judge(_features.extractor_for(self.extractor, images, cache), images)

    def with_noise(self, seed: int) -> Self:
        return replace(self, seed=seed)

    def measure(self, model: DiffusionModel, run: Run) -> Measurement:
        from objectives import _drawn, _features

        extractor = _features.extractor_for(self.extractor, run.images, run.cache)
        reference = self.reference(extractor, run.images, run.cache, run.device)
        feature_NF = _drawn.drawn_features(model, run, extractor, count=self.samples, seed=self.seed)
        value, stderr = self.judged(feature_NF, reference)
        return Measurement(value=value, stderr=stderr, samples=self.samples, by=_features.judge(extractor, run.images))

    def reference(self, extractor: FeatureExtractorBase, images: Images, cache: Cache, device: torch.device) -> Any:
        """What drawn images are judged by, from the cache where it takes time: features of training images.

        At least as many as are drawn, or all that there are; always the same ones.
        """
        from objectives import _features

        return _features.reference_features(extractor, images, cache, count=self.samples, device=device)

    @abstractmethod
    def judged(self, feature_NF: NDArray[np.float64], reference: Any) -> tuple[float, float]:
        """Value and standard error of N drawn images with F features each."""
