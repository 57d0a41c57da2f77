"""Sample strips as the page embeds them."""

from __future__ import annotations

import base64
from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path

from search.views import StudyViews

STRIP_FILE = "samples.webp"
_LARGEST_BYTES = 1_600_000
"""Of all strips together: as base64, with plotly's 4.8 MB and what models are made of, the page stays under 8 MB."""
_FOR_THE_FIRST = 0.6
"""The part of it that the first ones may take, however many others there are."""
_LEAST_BYTES = 2_500
"""A smaller strip shows nothing."""
_READ_AT_MOST = 4_000_000


def embedded_strips(
    views: StudyViews, first: Sequence[str], others: Sequence[str] = (), *, part: float = 1.0
) -> dict[str, str]:
    """Data URIs of the strips in the given folders, made smaller where all of them would make the page too large.

    Args:
        first: Folders whose strips matter most.
        part: Of what a page may hold, where it has strips of several studies.

    Returns:
        By folder; an empty text where a strip is kept but had no room, nothing where none is kept.
    """
    left = _LARGEST_BYTES * part
    found: dict[str, str] = {}
    for group, room in ((first, left * _FOR_THE_FIRST if others else left), (others, left)):
        kept = [(path, file) for path in group if path and (file := views.file(path, STRIP_FILE))]
        room = min(room, left)
        is_enough = sum(file.stat().st_size for _, file in kept) <= room
        for place, (path, file) in enumerate(kept):
            if room < _LEAST_BYTES:
                found[path] = ""
                continue
            fair = int(room) if is_enough else _rounded(room / (len(kept) - place))
            content = _content(file, file.stat().st_mtime_ns, most=fair)
            if content is not None:
                found[path] = "data:image/webp;base64," + base64.b64encode(content).decode() if content else ""
                room -= len(content)
                left -= len(content)
    return found


def _rounded(fair: float) -> int:
    """Down to one of few sizes: a running study's report is written again and again, each time with a few more."""
    return _LEAST_BYTES << max(0, int(fair / _LEAST_BYTES).bit_length() - 1)


@lru_cache(maxsize=1024)
def _content(file: Path, changed_ns: int, *, most: int) -> bytes | None:
    """The strip in at most so many bytes, empty where that is too few; None where the file holds no strip."""
    from trainers.models.pictures import is_strip, smaller

    if file.stat().st_size > _READ_AT_MOST:
        return b""
    content = file.read_bytes()
    if not is_strip(content):
        return None
    return content if len(content) <= most else smaller(content, most=most)
