"""What parts of a table take in memory once unpacked, told before they are: thousands of times their bytes in the file.

Arrow's messages are flatbuffers (Apache Arrow, Message.fbs): a table begins with the distance to its list of fields.
"""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import pyarrow

_DICTIONARY, _RECORDS = 2, 3
_BUFFER_BYTES = 16


def rows_at_once(group: pyarrow.parquet.RowGroupMetaData, names: list[str], *, most_rows: int, most_bytes: int) -> int:
    """So many rows of a Parquet group that they take ``most_bytes`` at most, even where all are its largest value."""
    columns = [group.column(index) for index in range(group.num_columns)]
    in_all = sum(
        column.total_uncompressed_size
        for column in columns
        if column.has_dictionary_page and column.path_in_schema.partition(".")[0] in names
    )
    return max(1, min(most_rows, most_bytes // max(in_all, 1)))


def group_bytes(group: pyarrow.parquet.RowGroupMetaData) -> int:
    """The most that a column of a Parquet group takes, where no value stands for several."""
    return max((group.column(index).total_uncompressed_size for index in range(group.num_columns)), default=0)


def message_bytes(message: pyarrow.ipc.Message) -> int:
    """What the buffers of an Arrow message take; 0 where they are not compressed and stay in the file.

    Raises:
        ValueError: when it is no such message.
    """
    try:
        return _compressed_bytes(bytes(message.metadata), memoryview(message.body or b""))
    except (struct.error, IndexError):
        raise ValueError("its messages are damaged") from None


def _compressed_bytes(data: bytes, body: memoryview) -> int:
    (root,) = struct.unpack_from("<I", data)
    kind, batch = _field(data, root, 1), _follow(data, _field(data, root, 2))
    if kind is None or batch is None or data[kind] not in (_DICTIONARY, _RECORDS):
        return 0
    if data[kind] == _DICTIONARY:
        batch = _follow(data, _field(data, batch, 1))
    buffers = None if batch is None else _follow(data, _field(data, batch, 2))
    if batch is None or buffers is None or _field(data, batch, 3) is None:
        return 0
    (count,) = struct.unpack_from("<I", data, buffers)
    places = (struct.unpack_from("<qq", data, buffers + 4 + index * _BUFFER_BYTES) for index in range(count))
    # Each begins with how long it becomes; -1 is one that is not compressed.
    return sum(max(0, *struct.unpack_from("<q", body, offset)) for offset, length in places if length > 0)


def _field(data: bytes, table: int, index: int) -> int | None:
    """Where a field of a table is; None when the table leaves it out."""
    (distance,) = struct.unpack_from("<i", data, table)
    fields = table - distance
    (length,) = struct.unpack_from("<H", data, fields)
    place = 4 + 2 * index
    (offset,) = struct.unpack_from("<H", data, fields + place) if place < length else (0,)
    return table + offset if offset else None


def _follow(data: bytes, place: int | None) -> int | None:
    """Where a field that is only a distance leads."""
    return None if place is None else place + int(struct.unpack_from("<I", data, place)[0])
