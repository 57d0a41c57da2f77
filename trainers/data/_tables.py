"""Encoded images and labels of Parquet files and of Arrow files, in the layouts that the ``datasets`` library writes.

They are read with pyarrow alone. ``load_dataset`` would write a copy of everything into the user's cache, and with
``streaming=True`` (datasets 5.2.0) the program now and then aborts at exit.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from trainers.data._stored import EncodedImage, StoredImages
from trainers.data._unpacked import group_bytes, message_bytes, rows_at_once
from trainers.errors import UserError
from trainers.foreign import file_inside

if TYPE_CHECKING:
    import pyarrow

ENDINGS = (".parquet", ".arrow")
_IMAGE_NAMES = ("image", "img")
_LABEL_NAMES = ("label", "labels")
#: Photographs of 256x256 are 20 kB each; a whole row group of them would not fit in a small memory.
_ROWS_AT_ONCE = 64
#: Images are compressed already: tables hold hardly more bytes of them than their files have, unless many are equal.
_MOST_TIMES, _ALWAYS = 100, 2**28
#: What is unpacked in one step, before its bytes can be counted; a large file may have as much of it in one part.
_AT_ONCE = 2**30


@dataclass(frozen=True)
class Columns:
    """Which columns hold what; None where it has to be found out."""

    image: str | None = None
    label: str | None = None


def stored_in_tables(files: Sequence[Path], rows: Sequence[int], columns: Columns) -> StoredImages:
    """Some rows of the files, counted through all of them and rising; label 0 where there are no labels."""
    images: list[EncodedImage] = []
    labels: list[int | str] = []
    first = 0
    for file in files:
        count = _row_count(file)
        inside = [row - first for row in rows if first <= row < first + count]
        first += count
        if inside:
            found = _stored(file, inside, columns)
            images += found.images
            labels += found.labels
    return StoredImages(images, labels)


def count_in_tables(files: Sequence[Path]) -> int:
    """Rows of all files together; none of them is read."""
    return sum(_row_count(file) for file in files)


def first_in_tables(files: Sequence[Path], columns: Columns) -> EncodedImage:
    """The first image; little more than its bytes is read."""
    for file in files:
        if _row_count(file):
            return _stored(file, [0], columns).images[0]
    raise UserError(f"{files[0].parent} holds no images: its tables have no rows. Give a folder with images.")


def _stored(file: Path, rows: Sequence[int], columns: Columns) -> StoredImages:
    """Some rows of one file, rising."""
    import numpy as np
    import pyarrow

    row_N, parts, first, read = np.asarray(rows), [], 0, 0
    most = max(_ALWAYS, _MOST_TIMES * file.stat().st_size)
    with _named(file):
        found = _found(_schema(file), columns, file)
        for batch in _batches(file, [found.image] if found.label is None else [found.image, found.label]):
            inside_B = row_N[(row_N >= first) & (row_N < first + len(batch))] - first
            parts.append(batch.take(pyarrow.array(inside_B)))
            first += len(batch)
            read += batch.nbytes
            if read > most:
                raise UserError(
                    f"{file} is no table of images: its first {first:,} rows alone are {read / 1e6:,.0f} MB, and the "
                    f"file has {file.stat().st_size / 1e6:.4g} MB. Take it away, or write it again."
                )
            if first > rows[-1]:
                break
        table = pyarrow.Table.from_batches(parts)
    images = _images(table.column(found.image), rows, file)
    return StoredImages(images, [0] * len(rows) if found.label is None else _labels(table[found.label], rows, file))


def _schema(file: Path) -> pyarrow.Schema:
    import pyarrow.parquet

    if file.suffix == ".parquet":
        return pyarrow.parquet.read_schema(file)
    with pyarrow.memory_map(str(file)) as source:
        return pyarrow.ipc.open_stream(source).schema


def _row_count(file: Path) -> int:
    import pyarrow.parquet

    with _named(file):
        if file.suffix == ".parquet":
            return int(pyarrow.parquet.read_metadata(file).num_rows)
        return sum(len(batch) for batch in _arrow_batches(file))


def _batches(file: Path, names: list[str]) -> Iterator[pyarrow.RecordBatch]:
    import pyarrow.parquet

    if file.suffix == ".parquet":
        with pyarrow.parquet.ParquetFile(file) as opened:
            for index in range(opened.num_row_groups):
                group = opened.metadata.row_group(index)
                _check_at_once(file, group_bytes(group))
                rows = rows_at_once(group, names, most_rows=_ROWS_AT_ONCE, most_bytes=_AT_ONCE)
                yield from opened.iter_batches(rows, row_groups=[index], columns=names)
    else:
        for batch in _arrow_batches(file):
            found = batch.select(names)
            # Without it a wrong offset would be read wherever it leads.
            found.validate(full=True)
            yield found


def _arrow_batches(file: Path) -> Iterator[pyarrow.RecordBatch]:
    import pyarrow

    with pyarrow.memory_map(str(file)) as source:
        for message in pyarrow.ipc.MessageReader.open_stream(source):
            _check_at_once(file, message_bytes(message))
    with pyarrow.memory_map(str(file)) as source:
        yield from pyarrow.ipc.open_stream(source)


def _check_at_once(file: Path, unpacked: int) -> None:
    size = file.stat().st_size
    if unpacked > max(_AT_ONCE, 2 * size):
        raise UserError(
            f"{file} is no table of images: a part of it would be {unpacked / 1e6:,.0f} MB in memory, and the file has "
            f"{size / 1e6:.4g} MB. Take it away, or write it again."
        )


@dataclass(frozen=True)
class _Found:
    image: str
    label: str | None


def _found(schema: pyarrow.Schema, columns: Columns, file: Path) -> _Found:
    told = _told_types(schema)
    for option, name in (("image_column", columns.image), ("label_column", columns.label)):
        if name is not None and name not in schema.names:
            raise UserError(f"{file} has no column {name!r}. Choose {option} from {', '.join(schema.names)}.")
    images = [name for name in schema.names if told.get(name) == "Image"]
    images = images or [field.name for field in schema if _holds_bytes(field.type)]
    labels = [name for name in schema.names if told.get(name) == "ClassLabel"]
    labels = labels or [name for name in _LABEL_NAMES if name in schema.names]
    image = columns.image or _only(images, _IMAGE_NAMES, "image", file)
    if image is None:
        named = ", ".join(schema.names)
        raise UserError(f"{file} has no column of images, only {named}. Give Parquet files with images.")
    return _Found(image, columns.label or _only(labels, _LABEL_NAMES, "label", file))


def _told_types(schema: pyarrow.Schema) -> dict[str, Any]:
    """Column -> what it holds, such as ``Image`` or ``ClassLabel``, where the ``datasets`` library wrote that down.

    Only read: the library itself would build what is named there, and read the file that a class label names.
    """
    try:
        features = json.loads((schema.metadata or {})[b"huggingface"])["info"]["features"]
        return {name: feature["_type"] for name, feature in features.items() if "_type" in feature}
    except (KeyError, TypeError, AttributeError, ValueError, RecursionError):
        return {}


def _only(found: list[str], preferred: Sequence[str], kind: str, file: Path) -> str | None:
    """The one column that was found, or the one with a preferred name; None when nothing was found."""
    if len(found) > 1:
        found = [name for name in preferred if name in found][:1] or found
    if len(found) > 1:
        raise UserError(f"{file} has {len(found)} {kind} columns: {', '.join(found)}. Choose one with {kind}_column.")
    return found[0] if found else None


def _holds_bytes(type_: pyarrow.DataType) -> bool:
    import pyarrow

    if pyarrow.types.is_struct(type_):
        index = type_.get_field_index("bytes")
        return index >= 0 and _holds_bytes(type_.field(index).type)
    return bool(pyarrow.types.is_binary(type_) or pyarrow.types.is_large_binary(type_))


def _images(column: pyarrow.ChunkedArray, rows: Sequence[int], file: Path) -> list[EncodedImage]:
    content = _struct_content if _is_struct(column) else _plain_content
    values = zip(rows, column.to_pylist(), strict=True)
    return [EncodedImage(f"{file} (row {row})", content(value, file)) for row, value in values]


def _is_struct(column: pyarrow.ChunkedArray) -> bool:
    import pyarrow

    return bool(pyarrow.types.is_struct(column.type))


def _struct_content(value: dict[str, Any] | None, file: Path) -> bytes | Path | None:
    if value is None:
        return None
    if value.get("bytes") is None and value.get("path"):
        return _beside(file, str(value["path"]))
    return value.get("bytes")


def _beside(file: Path, name: str) -> Path:
    """An image that lies beside the table, or in a folder there."""
    found = file_inside(file.parent, name)
    if found is None:
        raise UserError(f"{file} names the image {name!r}, which is no file beside it. Put the images into the table.")
    return found


def _plain_content(value: Any, file: Path) -> bytes | None:
    if value is None or isinstance(value, bytes):
        return value
    raise UserError(f"{file}: the image column holds {type(value).__name__}, not images. Choose another image_column.")


def _labels(column: pyarrow.ChunkedArray, rows: Sequence[int], file: Path) -> list[int | str]:
    values = column.to_pylist()
    for row, value in zip(rows, values, strict=True):
        if not isinstance(value, int | str):
            raise UserError(
                f"{file} (row {row}): the label is {value!r}; whole numbers and names of classes are allowed. "
                "Choose another label_column, or repair the file."
            )
    if any(isinstance(value, int) and value < 0 for value in values):
        # On the hub, -1 stands for a label that is kept secret, as in the test parts of competitions.
        return [0] * len(values)
    return [int(value) if isinstance(value, bool) else value for value in values]


@contextmanager
def _named(file: Path) -> Iterator[None]:
    """Say which file it was that could not be read."""
    import pyarrow

    try:
        yield
    except (OSError, ValueError, pyarrow.ArrowException) as error:
        kind, reason = file.suffix[1:].capitalize(), str(error).partition("\n")[0].rstrip(".")
        raise UserError(f"{file} is not a readable {kind} file ({reason}). Fetch or write it again.") from None
