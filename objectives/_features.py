"""Features of images, through torch-fidelity's FeatureExtractorBase: what FID, KID and their kin are computed from.

Legend: N images, F features.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch_fidelity.feature_extractor_base import FeatureExtractorBase
from torch_fidelity.registry import FEATURE_EXTRACTORS_REGISTRY, register_feature_extractor

from objectives import _inception
from objectives._frechet import Statistics, statistics
from trainers.cache import Cache
from trainers.data.dataset import Images
from trainers.models.extractor import FEATURES, Extractor, label_extractor
from trainers.models.sampling import from_uint8

Kind = Literal["auto", "inception", "labels"]
_BATCH = {"inception": 50, "labels": 500}
_LAYER = str(FEATURES)
_nets: dict[str, nn.Module] = {}


class LabelFeatures(FeatureExtractorBase):
    """The label-trained classifier as torch-fidelity knows it; its name tells which one."""

    def __init__(self, name: str, features_list: list[str], **options: object) -> None:
        super().__init__(name, features_list)
        self.net = _nets[name]

    def forward(self, image_NCHW: Tensor) -> tuple[Tensor]:
        """The features of uint8 images."""
        return (self.net.features(from_uint8(image_NCHW)),)  # type: ignore[operator]

    @staticmethod
    def get_provided_features_list() -> tuple[str, ...]:
        """The one layer there is."""
        return (_LAYER,)

    @staticmethod
    def get_default_feature_layer_for_metric(metric: str) -> str:
        """The same for every metric."""
        return _LAYER

    @staticmethod
    def can_be_compiled() -> bool:
        """Not worth it."""
        return False

    @staticmethod
    def get_dummy_input_for_compile() -> None:
        """None, because it is never compiled."""


def extractor_for(kind: Kind, images: Images, cache: Cache) -> FeatureExtractorBase:
    """The feature extractor for this data; ``auto`` takes Inception when its weights are there, else the labels.

    Raises:
        UserError: for Inception without weights, or labels where there are none.
    """
    weights = None if kind == "labels" else _inception.weights_file(is_required=kind == "inception")
    if weights is not None:
        return _inception.extractor(weights)
    return _registered(label_extractor(images, cache))


@torch.no_grad()
def features(extractor: FeatureExtractorBase, image_NCHW: Tensor, *, device: torch.device) -> NDArray[np.float64]:
    """Features (N, F) of uint8 images.

    Raises:
        TypeError: for other images. Float images pass silently through torch-fidelity and give a FID near 0.
    """
    if image_NCHW.dtype != torch.uint8:
        raise TypeError(f"features are taken of uint8 images, got {image_NCHW.dtype}. Use sampling.to_uint8.")
    extractor = extractor.to(device)
    is_inception = not isinstance(extractor, LabelFeatures)
    if is_inception and image_NCHW.shape[1] == 1:
        image_NCHW = image_NCHW.expand(-1, 3, -1, -1)
    batches = image_NCHW.split(_BATCH["inception" if is_inception else "labels"])
    return torch.cat([extractor(batch.to(device))[0].double().cpu() for batch in batches]).numpy()


def reference_statistics(
    extractor: FeatureExtractorBase, images: Images, cache: Cache, *, device: torch.device
) -> Statistics:
    """Statistics of the training images' features, computed once per data set and extractor."""

    def make() -> dict[str, Tensor]:
        found = statistics(features(extractor, images.train_NCHW, device=device))
        return {name: torch.from_numpy(value) for name, value in vars(found).items()}

    stored = cache.tensors("reference", {"data": images.hash, "extractor": extractor.get_name()}, make)
    return Statistics(**{name: tensor.numpy() for name, tensor in stored.items()})


def _registered(found: Extractor) -> LabelFeatures:
    """The extractor under its own name in torch-fidelity's registry, so that its other metrics can use it, too."""
    _nets[found.name] = found.net
    if found.name not in FEATURE_EXTRACTORS_REGISTRY:
        # A name that is taken raises there.
        register_feature_extractor(found.name, LabelFeatures)
    return _created(found.name)


@lru_cache(maxsize=8)
def _created(name: str) -> LabelFeatures:
    return LabelFeatures(name, [_LAYER]).eval().requires_grad_(False)
