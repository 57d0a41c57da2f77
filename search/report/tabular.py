"""Tables of the page, and parts of it that fold."""

from __future__ import annotations

from collections.abc import Sequence

from search.report.markup import Html, element
from search.report.number import number

MOST_ROWS = 300  # beyond that a page is the wrong place
_FEW = 12  # rows that are shown without being asked for


def row(headings: Sequence[str], cells: Sequence[str | None], **attributes: str | int | None) -> Html:
    """One row; on a phone it becomes a card, and each cell carries its heading itself."""
    labelled = [element("td", cell, data_label=label) for label, cell in zip(headings, cells, strict=True)]
    return element("tr", *labelled, **attributes)


def table(headings: Sequence[str], rows: Sequence[Html], *, class_: str | None = None) -> Html:
    """The rows under their headings, in a box that scrolls sideways."""
    head = element("thead", element("tr", *[element("th", heading, scope="col") for heading in headings]))
    return element("div", element("table", head, element("tbody", *rows), class_=class_), class_="scroll")


def folded_table(title: str, headings: Sequence[str], rows: Sequence[Sequence[str | None]]) -> Html:
    """A table that is open where it is short; of a very long one the first rows, and where the others are."""
    shown = [row(headings, cells) for cells in rows[:MOST_ROWS]]
    hidden = len(rows) - len(shown)
    return element(
        "details",
        element("summary", f"{title} ({len(rows):,})"),
        table(headings, shown),
        element("p", f"The other {hidden:,} are in trials.jsonl.", class_="quiet") if hidden else None,
        open=len(rows) <= _FEW,
    )


def amount(value: object) -> str:
    """What was asked or achieved, as text."""
    return number(value) if isinstance(value, int | float) and not isinstance(value, bool) else str(value)
