"""Features of images, through torch-fidelity's FeatureExtractorBase: what FID, KID and their kin are computed from.

Legend: N images, F features, C classes.
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
from trainers.data.pixels import from_uint8
from trainers.models.extractor import FEATURES, VARIANCE, Extractor, label_extractor

Kind = Literal["auto", "inception", "labels"]
_BATCH = {"inception": 50, "labels": 500}
_LAYER = str(FEATURES)
_REFERENCE = 5_000
"""Training images whose features are kept: 2,048 for each of a million images would be gigabytes."""
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


@torch.no_grad()
def logits(extractor: FeatureExtractorBase, feature_NF: NDArray[np.float64]) -> Tensor:
    """What the extractor's own classifier makes of features: logits (N, C) on the CPU.

    Inception's are without the bias of its classes, as the published scores have them.
    """
    feature = torch.from_numpy(feature_NF).float()
    if isinstance(extractor, LabelFeatures):
        head = extractor.net.head
        assert isinstance(head, nn.Linear)
        relevant = nn.functional.relu(feature / VARIANCE**0.5)
        return nn.functional.linear(relevant, head.weight.cpu(), None if head.bias is None else head.bias.cpu())
    found: Tensor = feature @ extractor.fc.weight.cpu().T
    return found


def judge(extractor: FeatureExtractorBase, images: Images) -> str:
    """What must be the same for values to be compared: the extractor and, where its name leaves it open, the data."""
    name: str = extractor.get_name()
    return name if isinstance(extractor, LabelFeatures) else f"{name} on {images.name}-{images.hash[:8]}"


def reference_statistics(
    extractor: FeatureExtractorBase, images: Images, cache: Cache, *, device: torch.device
) -> Statistics:
    """Statistics of the training images' features, computed once per data set and extractor."""

    def make() -> dict[str, Tensor]:
        found = statistics(features(extractor, images.train_NCHW, device=device))
        return {name: torch.from_numpy(value) for name, value in vars(found).items()}

    stored = cache.tensors("reference", {"data": images.hash, "extractor": extractor.get_name()}, make)
    return Statistics(**{name: tensor.numpy() for name, tensor in stored.items()})


def reference_features(
    extractor: FeatureExtractorBase, images: Images, cache: Cache, *, count: int, device: torch.device
) -> NDArray[np.float64]:
    """Features (N, F) of training images in an order that is always the same, computed once.

    There are at least ``count`` of them, or all that there are, and no fewer than 5,000 where there are so many.
    """
    wanted = min(max(count, _REFERENCE), len(images.train_NCHW))
    order = torch.randperm(len(images.train_NCHW), generator=torch.Generator().manual_seed(0))[:wanted]

    def make() -> dict[str, Tensor]:
        found = features(extractor, images.train_NCHW[order], device=device)
        # They were computed in float32, so nothing is lost.
        return {"features": torch.from_numpy(found).float()}

    key = {"data": images.hash, "extractor": extractor.get_name(), "count": wanted}
    return cache.tensors("reference-features", key, make)["features"].double().numpy()


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
