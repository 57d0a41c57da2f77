"""An analysis on one page that opens offline, in the report's looks."""

from __future__ import annotations

import base64
from collections.abc import Sequence
from pathlib import Path

from search.analysis.figures import mark
from search.analysis.finding import Finding, Panel, Picture
from search.analysis.ranges import ranges_text
from search.report.lines import role
from search.report.markup import Html, element
from search.report.sheet import Entry, notes, panels, sheet, text_table, write_sheet

_STYLE = """
.knobs { white-space: pre; overflow-x: auto; max-width: 84ch; }
.drawn th { padding-top: 8px; } .drawn .strip { max-width: 420px; }
"""


def write_page(finding: Finding, path: Path) -> Path:
    """Write the page, whole or not at all, and give back where it lies. ``UserError`` when it cannot be written."""
    return write_sheet(page(finding), path, option="--page")


def page(finding: Finding) -> str:
    """The page as text."""
    shown = finding.panels()
    ranges = finding.ranges()
    pictures = finding.pictures()
    return sheet(
        None if finding.is_whole else element("p", "Interrupted: only a part was measured.", class_="warning"),
        panels([panel.title for panel in shown], legends=[_legend(panel) for panel in shown]),
        text_table(finding.headings(), finding.rows()),
        notes(finding.notes(), class_="notes quiet"),
        *([element("h2", "Suggested ranges"), _knobs(ranges_text(ranges))] if ranges else []),
        *([element("h2", "What is drawn from the same noise"), _drawn(pictures)] if pictures else []),
        kind=finding.title,
        name=finding.name,
        answer=finding.answer(),
        figures=[panel.figure for panel in shown],
        title=f"{finding.name}, {finding.what}",
        style=_STYLE,
    )


def _legend(panel: Panel) -> list[Entry]:
    return [(role(series), mark(series), name) for series, name in enumerate(panel.legend)]


def _knobs(text: str) -> Html:
    return element("code", text, class_="command knobs")


def _drawn(pictures: Sequence[Picture]) -> Html:
    columns = list(dict.fromkeys(picture.column for picture in pictures))
    rows = []
    for name in dict.fromkeys(picture.row for picture in pictures):
        strips = {picture.column: _strip(picture) for picture in pictures if picture.row == name}
        cells = [element("td", strips.get(column), data_label=column) for column in columns]
        rows.append(element("tr", element("th", name, scope="row"), *cells))
    head = element("thead", element("tr", element("th"), *[element("th", column, scope="col") for column in columns]))
    return element("div", element("table", head, element("tbody", *rows), class_="drawn"), class_="scroll")


def _strip(picture: Picture) -> Html:
    content = base64.b64encode(picture.strip).decode()
    return element("img", class_="strip", alt=picture.text, src=f"data:image/webp;base64,{content}")
