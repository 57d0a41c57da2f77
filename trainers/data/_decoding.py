"""Encoded images as one uint8 tensor, all of the same size and number of channels."""

from __future__ import annotations

import os
import struct
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path

import numpy as np
import torch
from PIL import Image, ImageOps
from torch import Tensor

from trainers.data._stored import EncodedImage
from trainers.errors import UserError

_GREY_MODES = ("1", "L", "LA", "La")
#: What Pillow raises for damaged files: what it goes by may be a fraction in the place of a number, or not be there.
_DAMAGED = (
    *(OSError, SyntaxError, ValueError, TypeError, AttributeError, LookupError, ArithmeticError, EOFError),
    *(struct.error, Image.DecompressionBombError),
)
# Of all formats that Pillow tells by a file's first bytes, whatever its name: one of the others starts a program.
_FORMATS = ("PNG", "JPEG", "WEBP", "BMP", "DIB", "GIF", "TIFF", "PPM", "JPEG2000")
#: Below this, decoding is mostly Python, and threads stand in each other's way.
_PIXELS_WORTH_A_THREAD = 64 * 64
_CHUNK = 128
_MOST_PIXELS = 2**26
"""Of an image as it is stored: more than cameras take. A file of 30 kB can unpack to gigabytes."""


@dataclass(frozen=True)
class Fit:
    """What images become.

    Args:
        image_size: They are cropped to a square and resized; None leaves them, and all must have one size.
        channels: 1 or 3; None leaves them, and all must have the same.
        crop: Side of the square in stored pixels; None takes the largest.
        centre: (x, y) of the square in stored pixels; None takes the middle.
    """

    image_size: int | None = None
    channels: int | None = None
    crop: int | None = None
    centre: tuple[int, int] | None = None


def decoded(images: Sequence[EncodedImage], fit: Fit, *, like: tuple[int, int] | None = None) -> Tensor:
    """uint8, (images, channels, height, width).

    Args:
        like: (image size, channels) that they must have; those of the first image when left out.

    Raises:
        UserError: naming the image, when one is damaged or differs from the others.
    """
    first = images[0]
    size, channels = like or shape_of(first, fit)
    pixels_NHWC = np.empty((len(images), size, size, channels), dtype=np.uint8)

    def fill(begin: int) -> None:
        for index in range(begin, min(begin + _CHUNK, len(images))):
            pixels_HWC = _pixels(images[index], fit)
            if pixels_HWC.shape != pixels_NHWC.shape[1:]:
                raise UserError(_difference(images[index], pixels_HWC, (size, channels)))
            pixels_NHWC[index] = pixels_HWC

    width, height, _ = stored_shape(first)
    threads = min(8, os.cpu_count() or 1) if width * height >= _PIXELS_WORTH_A_THREAD else 1
    with ThreadPoolExecutor(threads) as pool:
        for _ in pool.map(fill, range(0, len(images), _CHUNK)):
            pass
    return torch.from_numpy(pixels_NHWC).permute(0, 3, 1, 2).contiguous()


def shape_of(image: EncodedImage, fit: Fit) -> tuple[int, int]:
    """(image size, channels) of one image after ``fit``."""
    height, _, channels = _pixels(image, fit).shape
    return height, channels


def stored_shape(encoded: EncodedImage) -> tuple[int, int, int]:
    """(width, height, channels) of one image as it is stored."""
    with _readable(encoded) as image:
        return image.width, image.height, 1 if image.mode in _GREY_MODES else 3


def _pixels(encoded: EncodedImage, fit: Fit) -> np.ndarray:
    with _readable(encoded) as image:
        image.load()
        # Cameras store how they were held; most files have no such note.
        upright = ImageOps.exif_transpose(image)
        fitted = _fitted(upright, fit, encoded.place)
        return np.asarray(fitted)[:, :, None] if fitted.mode == "L" else np.asarray(fitted)


@contextmanager
def _readable(encoded: EncodedImage) -> Iterator[Image.Image]:
    """The opened image; a damaged one is named."""
    try:
        with Image.open(_opened(encoded), formats=_FORMATS) as image:
            if image.width * image.height > _MOST_PIXELS:
                raise UserError(
                    f"{encoded.place} has {image.width:,} x {image.height:,} pixels, more than the {_MOST_PIXELS:,} "
                    "that are read. Make it smaller or take it out."
                )
            yield image
    except _DAMAGED as error:
        reason = str(error).partition("\n")[0].rstrip(".")
        raise UserError(f"{encoded.place} is not a readable image ({reason}). Repair it or take it out.") from None


def _opened(encoded: EncodedImage) -> BytesIO | Path:
    if encoded.content is None:
        raise UserError(f"{encoded.place} is empty; every row must hold an image. Fill it or take it out.")
    return encoded.content if isinstance(encoded.content, Path) else BytesIO(encoded.content)


def _fitted(image: Image.Image, fit: Fit, place: str) -> Image.Image:
    if image.mode.startswith(("I", "F")):
        # Pillow would cut 16 bits off at 255 without a word.
        raise UserError(f"{place} has more than 8 bits per channel (mode {image.mode}). Convert it to 8 bits.")
    channels = fit.channels or (1 if image.mode in _GREY_MODES else 3)
    image = image.convert("L" if channels == 1 else "RGB")
    box = _square(image.size, fit, place)
    side = box[2] - box[0]
    size = fit.image_size or side
    # With ``box=`` the filter would also see pixels beside the square. Pillow's bilinear one is antialiased when it
    # reduces.
    square = image.crop(box)
    return square if size == side else square.resize((size, size), Image.Resampling.BILINEAR)


def _square(stored: tuple[int, int], fit: Fit, place: str) -> tuple[int, int, int, int]:
    """Left, top, right and bottom of what is cut out."""
    width, height = stored
    if fit.crop is None and fit.image_size is None and width != height:
        raise UserError(
            f"{place} is {width}x{height} pixels; images must be square. "
            f"Write image_size: {min(width, height)}, or another size: the middle is cut out and resized."
        )
    side = fit.crop or min(width, height)
    if fit.centre is None:
        left, top = (width - side) // 2, (height - side) // 2
    else:
        left, top = (middle - side // 2 for middle in fit.centre)
    if left < 0 or top < 0 or left + side > width or top + side > height:
        raise UserError(f"{place} is {width}x{height} pixels: {side}x{side} cannot be cut out of it. Crop less.")
    return left, top, left + side, top + side


def _difference(encoded: EncodedImage, pixels_HWC: np.ndarray, expected: tuple[int, int]) -> str:
    size, channels = pixels_HWC.shape[1:]
    if size != expected[0]:
        return (
            f"{encoded.place} is {size}x{size} pixels, others are {expected[0]}x{expected[0]}; all must have one size. "
            f"Write image_size: {expected[0]}, or another size, to resize them."
        )
    return (
        f"{encoded.place} has {channels} channels, others have {expected[1]}; all must have the same. "
        "Write channels: 3 (colour) or channels: 1 (grey) to convert them."
    )
