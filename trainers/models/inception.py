"""Inception v3's pool features as torchvision has them, differentiable, for distillation; nothing is downloaded."""

from __future__ import annotations

import os
import pickle
from functools import lru_cache
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn.functional import interpolate

from trainers.errors import UserError

FILE = "inception_v3_google-0cc3c7bd.pth"
VARIABLE = "SLIMFRONT_IMAGENET_INCEPTION"
_SIZE = 299


class InceptionFeatures(nn.Module):
    """2048 pool features of images in [-1, 1], which are resized to 299 x 299.

    Grey images are shown in three equal channels.
    """

    def __init__(self) -> None:
        super().__init__()
        from torchvision.models import inception_v3

        self.net = inception_v3(weights=None, aux_logits=True, transform_input=False, init_weights=False)

    def forward(self, image_BCHW: Tensor) -> Tensor:
        """Features (B, 2048)."""
        large_BCHW = interpolate(image_BCHW, size=(_SIZE, _SIZE), mode="bilinear", align_corners=False)
        # The weights are of images in [-1, 1]: where torchvision takes ImageNet's normalisation, it undoes it first.
        features_BF: Tensor = self.net(large_BCHW.expand(-1, 3, -1, -1))
        return features_BF


def is_here() -> bool:
    """Whether the weights are on this machine."""
    return _file().is_file()


def inception_features() -> InceptionFeatures:
    """With torchvision's weights, in evaluation mode and not trainable.

    Raises:
        UserError: when the weights are not here, or not those of Inception v3.
    """
    file = _file()
    if not file.is_file():
        raise UserError(
            f"Inception's ImageNet weights are not here. Fetch {FILE} from torchvision's models and put it at {file}, "
            f"or name the file in {VARIABLE}; `extractor: labels` needs no weights."
        )
    return _loaded(file, file.stat().st_mtime_ns)


@lru_cache(maxsize=1)
def _loaded(file: Path, modified_ns: int) -> InceptionFeatures:
    made = InceptionFeatures()
    try:
        made.net.load_state_dict(torch.load(file, map_location="cpu", weights_only=True))
    except (RuntimeError, pickle.UnpicklingError, EOFError, TypeError, AttributeError) as error:
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise UserError(f"{file} is not torchvision's {FILE}: {reason}. Fetch it again.") from None
    made.net.fc = nn.Identity()
    return made.eval().requires_grad_(False)


def _file() -> Path:
    named = os.environ.get(VARIABLE)
    if named:
        return Path(named)
    from torch.hub import get_dir

    return Path(get_dir()) / "checkpoints" / FILE
