"""A folder of Parquet files or images as a data set in memory."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import torch
from torch import Tensor

from trainers.data._decoding import Fit, decoded, shape_of
from trainers.data._images import content_hash
from trainers.data._layout import Layout, layout_of
from trainers.data._parquet import Columns, first_in_parquet, stored_in_parquet
from trainers.data._stored import EncodedImage, StoredImages
from trainers.data.dataset import Images
from trainers.errors import UserError

_CHOICE_SEED = 0


@dataclass(frozen=True, kw_only=True)
class Reading:
    """What to take from a folder, and how.

    Args:
        limit: At most so many training images, chosen at random with a fixed seed; None takes all.
        test_share: Share that becomes the test part where there is none, chosen in the same way.
    """

    fit: Fit = field(default_factory=Fit)
    columns: Columns = field(default_factory=Columns)
    limit: int | None = None
    test_share: float = 0.2


def images_in(folder: Path, reading: Reading, *, name: str) -> Images:
    """All images that ``reading`` asks for.

    Raises:
        UserError: naming the file that is missing, damaged or different from the others.
    """
    layout = layout_of(folder)
    train, test = _stored(layout, layout.train, reading), _stored(layout, layout.test, reading)
    if not layout.test:
        train, test = _split(train, reading.test_share, folder)
    if not train.images or not test.images:
        raise UserError(f"{folder}: the {'test' if train.images else 'training'} part is empty. Give it images.")
    if reading.limit is not None:
        train = _chosen(train, _shuffled(len(train.images))[: reading.limit])
    train_NCHW = decoded(train.images, reading.fit)
    test_NCHW = decoded(test.images, reading.fit, like=(train_NCHW.shape[-1], train_NCHW.shape[1]))
    train_label_N, test_label_N = _numbered(train.labels, test.labels)
    return Images(
        train_NCHW=train_NCHW,
        train_label_N=train_label_N,
        test_NCHW=test_NCHW,
        test_label_N=test_label_N,
        name=name,
        hash=content_hash(train_NCHW, train_label_N, test_NCHW, test_label_N),
    )


def shape_in(folder: Path, reading: Reading) -> tuple[int, int]:
    """(image size, channels); at most one image is read."""
    layout = layout_of(folder)
    fit = reading.fit
    if fit.image_size is not None and fit.channels is not None:
        return fit.image_size, fit.channels
    if layout.is_parquet:
        return shape_of(first_in_parquet(layout.train, reading.columns), fit)
    return shape_of(EncodedImage(str(layout.train[0]), layout.train[0]), fit)


def _stored(layout: Layout, files: Sequence[Path], reading: Reading) -> StoredImages:
    if layout.is_parquet:
        return stored_in_parquet(files, reading.columns)
    images = [EncodedImage(str(file), file) for file in files]
    return StoredImages(images, [layout.classes.get(file, 0) for file in files])


def _split(stored: StoredImages, test_share: float, folder: Path) -> tuple[StoredImages, StoredImages]:
    count = len(stored.images)
    if count < 2:
        raise UserError(f"{folder} holds {count} images; training and test need at least one each. Give it more.")
    order = _shuffled(count)
    test_count = min(max(round(test_share * count), 1), count - 1)
    return _chosen(stored, order[test_count:]), _chosen(stored, order[:test_count])


def _shuffled(count: int) -> list[int]:
    return torch.randperm(count, generator=torch.Generator().manual_seed(_CHOICE_SEED)).tolist()


def _chosen(stored: StoredImages, indices: Sequence[int]) -> StoredImages:
    """Some of the images, in the order in which they are stored."""
    kept = sorted(indices)
    return StoredImages([stored.images[index] for index in kept], [stored.labels[index] for index in kept])


def _numbered(train_labels: list[int | str], test_labels: list[int | str]) -> tuple[Tensor, Tensor]:
    """Numbers stay; names of classes are numbered in alphabetical order, the same way in both parts."""
    names = sorted({label for label in (*train_labels, *test_labels) if isinstance(label, str)})
    number = {name: index for index, name in enumerate(names)}
    numbers = (
        [number[label] if isinstance(label, str) else label for label in labels]
        for labels in (train_labels, test_labels)
    )
    train_label_N, test_label_N = (torch.tensor(part, dtype=torch.long) for part in numbers)
    return train_label_N, test_label_N
