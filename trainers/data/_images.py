"""Small shared pieces of the data sets: a content hash, and fitting images to a network's size."""

import hashlib
import os
from dataclasses import replace

import torch
from torch import Tensor
from torch.nn.functional import interpolate

from trainers.data.dataset import Images
from trainers.errors import UserError

#: Of this machine's memory; the rest is for the encoded images, for training, and for a copy that a trial may make.
_MEMORY_SHARE = 0.4
_AT_ONCE = 64


def content_hash(*tensors: Tensor) -> str:
    """16 hex digits that change with any value, shape or order of the tensors."""
    digest = hashlib.sha256()
    for tensor in tensors:
        digest.update(f"{tuple(tensor.shape)} {tensor.dtype}".encode())
        digest.update(tensor.contiguous().numpy().tobytes())
    return digest.hexdigest()[:16]


def most_in_memory(image_bytes: int) -> tuple[int, str]:
    """How many images of so many bytes may be held, and the memory that this follows from, in words."""
    memory_bytes = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    words = f"this machine has {memory_bytes / 1e9:.1f} GB, of which images may take {_MEMORY_SHARE:.0%}"
    return int(_MEMORY_SHARE * memory_bytes) // image_bytes, words


def fitted(images: Images, *, image_size: int, channels: int) -> Images:
    """The images at another size (bilinear, antialiased) and number of channels; unchanged when they fit already.

    Raises:
        UserError: when they are latents, which cannot be resized, or would not fit in memory.
    """
    if (images.input_size, images.input_channels) == (image_size, channels):
        return images
    if images.latents is not None:
        raise UserError(
            f"the latents of {images.name} are {images.input_size}x{images.input_size}x{images.input_channels}, but "
            f"the teacher takes {image_size}x{image_size}x{channels}. Take the autoencoder that the teacher was "
            "trained with, and images of the same size."
        )
    count, image_bytes = len(images.train_NCHW) + len(images.test_NCHW), image_size**2 * channels
    most, memory = most_in_memory(image_bytes)
    if count > most:
        raise UserError(
            f"{images.name}: {count:,} images as the teacher takes them, {image_size}x{image_size}x{channels}, are "
            f"{count * image_bytes / 1e9:.1f} GB in memory; {memory}. Take a network for smaller images, or give the "
            "data a limit."
        )
    train_NCHW, test_NCHW = (_fit(part, image_size, channels) for part in (images.train_NCHW, images.test_NCHW))
    return replace(
        images,
        train_NCHW=train_NCHW,
        test_NCHW=test_NCHW,
        name=f"{images.name} as {image_size}x{image_size}x{channels}",
        hash=content_hash(train_NCHW, images.train_label_N, test_NCHW, images.test_label_N),
    )


def check_classes(images: Images, classes: int) -> None:
    """Every label has a place in a network of so many classes; one of 0 classes reads no labels.

    Raises:
        UserError: when a label is too large, which training would find out as an index beyond its table; or when there
            are no labels to tell classes apart.
    """
    found = 1 + max(int(label_N.max()) for label_N in (images.train_label_N, images.test_label_N) if len(label_N))
    if classes > 1 and found == 1:
        raise UserError(
            f"teacher.network: classes is {classes}, but {images.name} has no labels. "
            "Set classes: 0 for a network that knows no labels, or take data with labels."
        )
    if classes and found > classes:
        raise UserError(
            f"teacher.network: classes is {classes}, but {images.name} has labels up to {found - 1}. "
            f"Set classes: {found}, or 0 for a network that knows no labels."
        )


def _fit(image_NCHW: Tensor, image_size: int, channels: int) -> Tensor:
    # As floats, all at once would be four times what is kept of them.
    return torch.cat([_fitted_part(part, image_size, channels) for part in image_NCHW.split(_AT_ONCE)])


def _fitted_part(image_NCHW: Tensor, image_size: int, channels: int) -> Tensor:
    image_NCHW = image_NCHW.float()
    if image_NCHW.shape[-1] != image_size:
        image_NCHW = interpolate(
            image_NCHW, size=(image_size, image_size), mode="bilinear", antialias=True, align_corners=False
        )
    if image_NCHW.shape[1] != channels:
        image_NCHW = image_NCHW.mean(dim=1, keepdim=True).expand(-1, channels, -1, -1)
    return image_NCHW.round().clamp(0, 255).to(torch.uint8)
