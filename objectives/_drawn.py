"""What a model draws, and the features of it: made once, however many objectives look at the same images.

Legend: N images, F features, C channels, H, W.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any
from weakref import WeakKeyDictionary

import numpy as np
from numpy.typing import NDArray
from torch import Tensor, nn

from objectives._features import features
from trainers.models.sampling import draw_uint8

if TYPE_CHECKING:
    from torch_fidelity.feature_extractor_base import FeatureExtractorBase

    from trainers.models.diffusion_model import DiffusionModel
    from trainers.run import Run

Array = NDArray[np.float64]


@dataclass(frozen=True)
class _Drawn:
    key: tuple[Any, ...]
    image_NCHW: Tensor
    features: dict[str, Array] = field(default_factory=dict)


#: The last images of each network that is still alive; a network never changes once its model exists.
_last: WeakKeyDictionary[nn.Module, _Drawn] = WeakKeyDictionary()


def drawn_images(model: DiffusionModel, run: Run, *, count: int, seed: int) -> Tensor:
    """uint8 images (N, C, H, W) on the CPU, decoded where the model draws latents.

    Raises:
        FloatingPointError: when the model has diverged.
    """
    return _drawn(model, run, count=count, seed=seed).image_NCHW


def drawn_features(model: DiffusionModel, run: Run, extractor: FeatureExtractorBase, *, count: int, seed: int) -> Array:
    """Features (N, F) of those images.

    Raises:
        FloatingPointError: when the model has diverged, or a feature is not finite.
    """
    drawn = _drawn(model, run, count=count, seed=seed)
    name = extractor.get_name()
    if name not in drawn.features:
        found = features(extractor, drawn.image_NCHW, device=run.device)
        if not np.isfinite(found).all():
            raise FloatingPointError(f"features of the generated images are not finite, as {name} sees them")
        drawn.features[name] = found
    return drawn.features[name]


def check_weights(model: DiffusionModel) -> None:
    """NaN becomes some grey value in a uint8 image and FID an ordinary number, so it must be caught before.

    Raises:
        FloatingPointError: when a weight is not finite.
    """
    broken = [name for name, tensor in model.net.state_dict().items() if not tensor.isfinite().all()]
    if broken:
        raise FloatingPointError(f"training diverged: the weights of {broken[0]} are not finite")


def _drawn(model: DiffusionModel, run: Run, *, count: int, seed: int) -> _Drawn:
    key = (model.spec, run.images.hash, count, seed, str(run.device))
    last = _last.get(model.net)
    if last is None or last.key != key:
        check_weights(model)
        image_NCHW = draw_uint8(model.to(run.device), count=count, seed=seed, decode=run.images.decoded)
        last = _last[model.net] = _Drawn(key, image_NCHW)
    return last
