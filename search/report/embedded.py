"""Sample strips as the page embeds them."""

from __future__ import annotations

import base64
from collections.abc import Iterable

from search.views import StudyViews

STRIP_FILE = "samples.webp"
_LARGEST_BYTES = 1_600_000
"""Of all strips together: as base64, with plotly's 4.8 MB and what models are made of, the page stays under 8 MB."""


def embedded_strips(views: StudyViews, paths: Iterable[str]) -> dict[str, str]:
    """Data URIs of the strips in the given folders; the first come first, until the page is large enough."""
    found: dict[str, str] = {}
    left = _LARGEST_BYTES
    for path in paths:
        file = views.file(path, STRIP_FILE) if path else None
        if file is None or file.stat().st_size > left:
            continue
        content = file.read_bytes()
        if content[:4] == b"RIFF" and content[8:12] == b"WEBP":
            left -= len(content)
            found[path] = "data:image/webp;base64," + base64.b64encode(content).decode()
    return found
