"""A folder of tables or images as a data set in memory."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import torch
from torch import Tensor

from trainers.data._decoding import Fit, decoded, shape_of, stored_shape
from trainers.data._images import content_hash, most_in_memory
from trainers.data._layout import Layout, layout_of
from trainers.data._stored import EncodedImage, StoredImages
from trainers.data._tables import Columns, count_in_tables, first_in_tables, stored_in_tables
from trainers.data.dataset import Images
from trainers.errors import UserError

_CHOICE_SEED = 0
#: To choose among more takes a minute and gigabytes, though a small file can hold as many rows when they are empty.
_MOST_IMAGES = 30_000_000
#: Of an image until it is decoded, beside its content: its number, label, and place for messages.
_ROW_BYTES = 300


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
    counts = _counts(layout, reading, folder)
    like = shape_of(_first(layout, reading.columns), reading.fit)
    train_count, test_count = (min(count, reading.limit or count) for count in counts)
    _check_memory(train_count, test_count, like, folder)
    train_rows, test_rows = _rows(layout, counts, reading.limit)
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


def _counts(layout: Layout, reading: Reading, folder: Path) -> tuple[int, int]:
    """How many images there are to train and to test, before the limit."""
    train, test = _count(layout, layout.train), _count(layout, layout.test)
    if train + test > _MOST_IMAGES:
        raise UserError(
            f"{folder} holds {train + test:,} images, and it can be chosen from {_MOST_IMAGES:,} at most. "
            "Give a folder with fewer."
        )
    if not layout.test:
        if train < 2:
            raise UserError(f"{folder} holds {train} images; training and test need at least one each. Give it more.")
        test = min(max(round(reading.test_share * train), 1), train - 1)
        train -= test
    if not train or not test:
        raise UserError(f"{folder}: the {'test' if train else 'training'} part is empty. Give it images.")
    return train, test


def _rows(layout: Layout, counts: tuple[int, int], limit: int | None) -> tuple[list[int], list[int]]:
    """Which images of the training files, and which of the test files or else of the same ones; both rising."""
    train, test = counts
    if layout.test:
        train_N, test_N = torch.arange(train), torch.arange(test)
    else:
        order_N = _shuffled(train + test)
        train_N, test_N = order_N[test:].sort().values, order_N[:test].sort().values
    return _limited(train_N, limit), _limited(test_N, limit)


def _count(layout: Layout, files: Sequence[Path]) -> int:
    return count_in_tables(files) if layout.is_table else len(files)


def _limited(rows_N: Tensor, limit: int | None) -> list[int]:
    return (rows_N if limit is None else rows_N[_shuffled(len(rows_N))[:limit].sort().values]).tolist()


def _shuffled(count: int) -> Tensor:
    return torch.randperm(count, generator=torch.Generator().manual_seed(_CHOICE_SEED))


def _check_memory(train_count: int, test_count: int, shape: tuple[int, int], folder: Path) -> None:
    """Refuse before hours of decoding what would end in a killed process."""
    size, channels = shape
    image_bytes = size * size * channels + _ROW_BYTES
    allowed, memory = most_in_memory(image_bytes)
    if train_count + test_count > allowed:
        raise UserError(
            f"{folder}: {train_count:,} training and {test_count:,} test images of {size}x{size}x{channels} are "
            f"{(train_count + test_count) * image_bytes / 1e9:.1f} GB in memory; {memory}. "
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
