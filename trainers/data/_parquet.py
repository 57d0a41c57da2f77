"""Encoded images and labels of Parquet files, in the layout that the ``datasets`` library writes.

``datasets`` explains the columns; the rows are read with pyarrow. ``load_dataset`` would write a copy of everything
into the user's cache, and with ``streaming=True`` (datasets 5.2.0) the program now and then aborts at exit.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from trainers.data._stored import EncodedImage, StoredImages
from trainers.errors import UserError

if TYPE_CHECKING:
    import pyarrow

_IMAGE_NAMES = ("image", "img")
_LABEL_NAMES = ("label", "labels")


@dataclass(frozen=True)
class Columns:
    """Which columns hold what; None where it has to be found out."""

    image: str | None = None
    label: str | None = None


def stored_in_parquet(files: Sequence[Path], columns: Columns) -> StoredImages:
    """All rows of the files, in order; label 0 where there are no labels."""
    import pyarrow.parquet

    images: list[EncodedImage] = []
    labels: list[int | str] = []
    for file in files:
        with _named(file):
            found = _found(pyarrow.parquet.read_schema(file), columns, file)
            names = [found.image] if found.label is None else [found.image, found.label]
            table = pyarrow.parquet.read_table(file, columns=names)
        images += _images(table.column(found.image), file)
        labels += [0] * len(table) if found.label is None else _labels(table.column(found.label), file)
    return StoredImages(images, labels)


def first_in_parquet(files: Sequence[Path], columns: Columns) -> EncodedImage:
    """The first image; little more than its bytes is read."""
    import pyarrow
    import pyarrow.parquet

    for file in files:
        with _named(file), pyarrow.parquet.ParquetFile(file) as opened:
            found = _found(opened.schema_arrow, columns, file)
            for batch in opened.iter_batches(batch_size=1, columns=[found.image]):
                return _images(pyarrow.chunked_array([batch.column(0)]), file)[0]
    raise UserError(f"{files[0].parent} holds no images: its Parquet files have no rows. Give a folder with images.")


@dataclass(frozen=True)
class _Found:
    image: str
    label: str | None


def _found(schema: pyarrow.Schema, columns: Columns, file: Path) -> _Found:
    from datasets import ClassLabel, Features, Image

    features = Features.from_arrow_schema(schema)
    for option, name in (("image_column", columns.image), ("label_column", columns.label)):
        if name is not None and name not in features:
            raise UserError(f"{file} has no column {name!r}. Choose {option} from {', '.join(features)}.")
    images = [name for name, feature in features.items() if isinstance(feature, Image)]
    images = images or [field.name for field in schema if _holds_bytes(field.type)]
    labels = [name for name, feature in features.items() if isinstance(feature, ClassLabel)]
    labels = labels or [name for name in _LABEL_NAMES if name in features]
    image = columns.image or _only(images, _IMAGE_NAMES, "image", features, file)
    if image is None:
        raise UserError(f"{file} has no column of images, only {', '.join(features)}. Give Parquet files with images.")
    return _Found(image, columns.label or _only(labels, _LABEL_NAMES, "label", features, file))


def _only(found: list[str], preferred: Sequence[str], kind: str, known: Sequence[str], file: Path) -> str | None:
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


def _images(column: pyarrow.ChunkedArray, file: Path) -> list[EncodedImage]:
    content = _struct_content if _is_struct(column) else _plain_content
    return [EncodedImage(f"{file} (row {row})", content(value, file)) for row, value in enumerate(column.to_pylist())]


def _is_struct(column: pyarrow.ChunkedArray) -> bool:
    import pyarrow

    return bool(pyarrow.types.is_struct(column.type))


def _struct_content(value: dict[str, Any] | None, file: Path) -> bytes | Path | None:
    if value is None:
        return None
    if value.get("bytes") is None and value.get("path"):
        # An image beside the table; a path that is absolute stays what it is.
        return file.parent / value["path"]
    return value.get("bytes")


def _plain_content(value: Any, file: Path) -> bytes | None:
    if value is None or isinstance(value, bytes):
        return value
    raise UserError(f"{file}: the image column holds {type(value).__name__}, not images. Choose another image_column.")


def _labels(column: pyarrow.ChunkedArray, file: Path) -> list[int | str]:
    values = column.to_pylist()
    for row, value in enumerate(values):
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
    except (OSError, pyarrow.ArrowException) as error:
        reason = str(error).partition("\n")[0].rstrip(".")
        raise UserError(f"{file} is not a readable Parquet file ({reason}). Fetch or write it again.") from None
