"""Strips of sample images."""

from __future__ import annotations

import io
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

    from PIL import Image
    from torch import Tensor

    from trainers.models.diffusion_model import DiffusionModel

STRIP_IMAGES = 8
_STRIP_SEED = 20_000
_GAP = 1
_SMALLEST_SIDE = 64
_LARGEST_PIXELS = 16_000_000
_SMALLER = ((1.0, 60), (0.75, 60), (0.5, 60), (0.375, 50), (0.25, 50), (0.125, 40))
"""Scales and qualities, the next one where a strip is still too large."""


def sample_strip(model: DiffusionModel, decode: Callable[[Tensor], Tensor]) -> bytes:
    """A WEBP strip of what the model draws from the noise that all strips share; ``decode`` makes pixels of it."""
    from trainers.models.sampling import draw_uint8

    return strip(draw_uint8(model, count=STRIP_IMAGES, seed=_STRIP_SEED, decode=decode))


def strip(image_NCHW: Tensor) -> bytes:
    """One row of images side by side as a WEBP file; small images are enlarged without smoothing."""
    import numpy as np
    from PIL import Image

    count, channels, height, width = image_NCHW.shape
    row = np.full((height, count * (width + _GAP) - _GAP, channels), 255, dtype=np.uint8)
    for place, image in enumerate(image_NCHW.permute(0, 2, 3, 1).numpy()):
        row[:, place * (width + _GAP) : place * (width + _GAP) + width] = image
    picture = Image.fromarray(row[..., 0] if channels == 1 else row).convert("RGB")
    scale = max(1, _SMALLEST_SIDE // height) if height < _SMALLEST_SIDE // 2 else 1
    picture = picture.resize((picture.width * scale, picture.height * scale), Image.Resampling.NEAREST)
    out = io.BytesIO()
    # Lossless is smaller than lossy for enlarged pixels, and does not blur them.
    picture.save(out, "WEBP", lossless=scale > 1, quality=80, method=4)
    return out.getvalue()


def is_strip(content: bytes) -> bool:
    """Whether these bytes are a WEBP file."""
    return content[:4] == b"RIFF" and content[8:12] == b"WEBP"


def is_drawable(content: bytes) -> bool:
    """Whether these bytes are a whole WEBP file of a size that strips have."""
    return _pixels(content) is not None


def _pixels(content: bytes) -> Image.Image | None:
    """The strip in colours; None where it is none, is damaged or is larger than strips are."""
    from PIL import Image

    try:
        with Image.open(io.BytesIO(content), formats=["WEBP"]) as opened:
            return opened.convert("RGB") if opened.width * opened.height <= _LARGEST_PIXELS else None
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError):
        return None


def smaller(content: bytes, *, most: int) -> bytes:
    """The strip in fewer pixels, so that it takes at most so many bytes; empty where it cannot be."""
    from PIL import Image

    picture = _pixels(content)
    if picture is None:
        return b""
    # A first guess: bytes go with pixels.
    likely = [each for each in _SMALLER if each[0] ** 2 * len(content) <= 2 * most] or _SMALLER[-1:]
    for scale, quality in likely:
        width, height = max(1, round(picture.width * scale)), max(1, round(picture.height * scale))
        out = io.BytesIO()
        picture.resize((width, height), Image.Resampling.LANCZOS).save(out, "WEBP", quality=quality, method=4)
        if out.tell() <= most:
            return out.getvalue()
    return b""
