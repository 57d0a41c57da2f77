"""HTML in which text cannot become markup: whatever is not ``Html`` already is escaped on its way in."""

from __future__ import annotations

import html
import json
from typing import Any

_EMPTY = {"img", "br", "meta", "link"}


class Html(str):
    """Text that is markup and goes in as it is; only this folder's own constants and ``element`` make it."""

    __slots__ = ()


def element(tag: str, *children: str | None, **attributes: str | int | bool | None) -> Html:
    """``<tag attributes>children</tag>``; None children and None or False attributes are left out.

    A trailing underscore of an attribute is dropped and other underscores become dashes.

    >>> element("td", "a < b", class_="wide", data_trial=7)
    '<td class="wide" data-trial="7">a &lt; b</td>'
    """
    pairs = [(name.rstrip("_").replace("_", "-"), value) for name, value in attributes.items()]
    opening = "".join(
        f" {name}" if value is True else f' {name}="{html.escape(str(value))}"'
        for name, value in pairs
        if value is not None and value is not False
    )
    if tag in _EMPTY:
        return Html(f"<{tag}{opening}>")
    return Html(f"<{tag}{opening}>{joined(*children)}</{tag}>")


def joined(*children: str | None) -> Html:
    """The children one after the other, text escaped."""
    return Html(
        "".join(child if isinstance(child, Html) else html.escape(child) for child in children if child is not None)
    )


def json_element(identifier: str, content: Any) -> Html:
    """``content`` as JSON that the page's script reads; no text in it can end the element."""
    text = json.dumps(content, allow_nan=False, separators=(",", ":"))
    for character in "<>&":
        text = text.replace(character, f"\\u{ord(character):04x}")
    return Html(f'<script type="application/json" id="{html.escape(identifier)}">{text}</script>')
