"""A folder of tables or images as a data set in memory."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import torch
from torch import Tensor

from trainers.data._decoding import Fit, decoded, shape_of, stored_shape
from trainers.data._images import content_hash
from trainers.data._layout import Layout, layout_of
from trainers.data._stored import EncodedImage, StoredImages
from trainers.data._tables import Columns, count_in_tables, first_in_tables, stored_in_tables
from trainers.data.dataset import Images
from trainers.errors import UserError

_CHOICE_SEED = 0
#: Of this machine's memory; the rest is for the encoded images, for training, and for a copy that a trial may make.
_MEMORY_SHARE = 0.4


@dataclass(frozen=True, kw_only=True)
class Reading:
    """What to take from a folder, and how.

    Args:
        limit: At most so many training images and so many test images, each chosen at random with a fixed seed; None
            takes all.
        test_share: Share that becomes the test part where there is none, chosen in the same way.
    """

    fit: Fit = field(default_factory=Fit)
    columns: Columns = field(default_factory=Columns)
    limit: int | None = None
    test_share: float = 0.2


def images_in(folder: Path, reading: Reading, *, name: str) -> Images:
    """All images that ``reading`` asks for.

    Raises:
        UserError: naming the file that is missing, damaged or different from the others; or when there are more images
            than fit in memory.
    """
    layout = layout_of(folder)
    train_rows, test_rows = _rows(layout, reading, folder)
    like = shape_of(_first(layout, reading.columns), reading.fit)
    _check_memory(len(train_rows), len(test_rows), like, folder)
    train = _stored(layout, layout.train, train_rows, reading)
    test = _stored(layout, layout.test or layout.train, test_rows, reading)
    train_NCHW, test_NCHW = (decoded(part.images, reading.fit, like=like) for part in (train, test))
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
    return shape_of(_first(layout, reading.columns), fit)


def stored_shape_in(folder: Path) -> tuple[int, int, int]:
    """(width, height, channels) of the first image as it is stored."""
    return stored_shape(_first(layout_of(folder), Columns()))


def _first(layout: Layout, columns: Columns) -> EncodedImage:
    if layout.is_table:
        return first_in_tables(layout.train, columns)
    return EncodedImage(str(layout.train[0]), layout.train[0])


def _rows(layout: Layout, reading: Reading, folder: Path) -> tuple[Sequence[int], Sequence[int]]:
    """Which images of the training files, and which of the test files or else of the same ones; both rising."""
    train_rows: Sequence[int] = range(_count(layout, layout.train))
    test_rows: Sequence[int] = range(_count(layout, layout.test))
    if not layout.test:
        train_rows, test_rows = _split(len(train_rows), reading.test_share, folder)
    if not train_rows or not test_rows:
        raise UserError(f"{folder}: the {'test' if train_rows else 'training'} part is empty. Give it images.")
    return _limited(train_rows, reading.limit), _limited(test_rows, reading.limit)


def _count(layout: Layout, files: Sequence[Path]) -> int:
    return count_in_tables(files) if layout.is_table else len(files)


def _split(count: int, test_share: float, folder: Path) -> tuple[list[int], list[int]]:
    if count < 2:
        raise UserError(f"{folder} holds {count} images; training and test need at least one each. Give it more.")
    order = _shuffled(count)
    test_count = min(max(round(test_share * count), 1), count - 1)
    return sorted(order[test_count:]), sorted(order[:test_count])


def _limited(rows: Sequence[int], limit: int | None) -> Sequence[int]:
    return rows if limit is None else [rows[index] for index in sorted(_shuffled(len(rows))[:limit])]


def _shuffled(count: int) -> list[int]:
    return torch.randperm(count, generator=torch.Generator().manual_seed(_CHOICE_SEED)).tolist()


def _check_memory(train_count: int, test_count: int, shape: tuple[int, int], folder: Path) -> None:
    """Refuse before hours of decoding what would end in a killed process."""
    size, channels = shape
    image_bytes = size * size * channels
    memory_bytes = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    allowed = int(_MEMORY_SHARE * memory_bytes) // image_bytes
    if train_count + test_count > allowed:
        raise UserError(
            f"{folder}: {train_count:,} training and {test_count:,} test images of {size}x{size}x{channels} are "
            f"{(train_count + test_count) * image_bytes / 1e9:.1f} GB in memory; this machine has "
            f"{memory_bytes / 1e9:.1f} GB, of which images may take {_MEMORY_SHARE:.0%}. "
            f"Write limit: {allowed - min(test_count, allowed // 2)} or less, or a smaller image_size."
        )


def _stored(layout: Layout, files: Sequence[Path], rows: Sequence[int], reading: Reading) -> StoredImages:
    """Some of the images in the files, in the order in which they are stored."""
    if layout.is_table:
        return stored_in_tables(files, rows, reading.columns)
    chosen = [files[row] for row in rows]
    return StoredImages([EncodedImage(str(file), file) for file in chosen], [layout.classes.get(f, 0) for f in chosen])


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
