"""Images as they are stored: still encoded, each with its place for messages and its class."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple


class EncodedImage(NamedTuple):
    """One image file, in memory or on disk.

    Args:
        place: Where it is, for messages.
        content: The bytes of the file, or its path; None where a table has an empty cell.
    """

    place: str
    content: bytes | Path | None


@dataclass(frozen=True)
class StoredImages:
    """The images of one part (training or test) with one label each: a number, or the name of a class."""

    images: list[EncodedImage]
    labels: list[int | str]
