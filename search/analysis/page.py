"""An analysis on one page that opens offline, in the report's looks."""

from __future__ import annotations

import base64
from collections.abc import Sequence
from pathlib import Path

from search.analysis.figures import mark
from search.analysis.finding import Finding, Panel, Picture
from search.analysis.ranges import ranges_text
from search.report import palette
from search.report.document import document
from search.report.markup import Html, element, json_element
from search.simulation.figures import DARK, LIGHT, role
from trainers.atomic import write_atomically
from trainers.errors import UserError

_STYLE = """
.answer { max-width: 84ch; font-size: 17px; }
.notes li { max-width: 100ch; }
.figures { display: grid; grid-template-columns: repeat(auto-fit, minmax(min(100%, 440px), 1fr)); gap: 0 32px; }
.figures h2 { margin: 14px 0 4px; }
.figures .panel { height: 380px; }
.knobs { white-space: pre; overflow-x: auto; max-width: 84ch; }
.drawn th { padding-top: 8px; } .drawn .strip { max-width: 420px; }
"""


def write_page(finding: Finding, path: Path) -> Path:
    """Write the page, whole or not at all, and give back where it lies. ``UserError`` when it cannot be written."""
    try:
        write_atomically(path, page(finding).encode())
    except OSError as error:
        raise UserError(
            f"{path} cannot be written: {error.strerror}. Name another file: --page FILE.html, or free some disk space."
        ) from error
    return path


def page(finding: Finding) -> str:
    """The page as text."""
    lines = range(len(LIGHT))
    panels = finding.panels()
    ranges = finding.ranges()
    pictures = finding.pictures()
    return document(
        element(
            "header",
            element("p", f"Slimfront, {finding.title}", class_="quiet"),
            element("h1", finding.name),
            element("p", finding.answer(), class_="answer"),
        ),
        None if finding.is_whole else element("p", "Interrupted: only a part was measured.", class_="warning"),
        element("section", *[_panel(place, panel) for place, panel in enumerate(panels)], class_="figures"),
        _table(finding),
        element("ul", *[element("li", note) for note in finding.notes()], class_="notes quiet"),
        *([element("h2", "Suggested ranges"), _knobs(ranges_text(ranges))] if ranges else []),
        *([element("h2", "What is drawn from the same noise"), _drawn(pictures)] if pictures else []),
        json_element("figures", {"figures": [panel.figure for panel in panels], "chosen": None}),
        title=f"{finding.name}, {finding.what}",
        light={**palette.LIGHT, **{role(place): LIGHT[place] for place in lines}},
        dark={**palette.DARK, **{role(place): DARK[place] for place in lines}},
        style=_STYLE,
        runs=True,
    )


def _panel(place: int, panel: Panel) -> Html:
    entries = [
        element("li", element("span", mark(series), style=f"color: var(--{role(series)})", aria_hidden="true"), name)
        for series, name in enumerate(panel.legend)
    ]
    return element(
        "div",
        element("h2", panel.title),
        element("ul", *entries, class_="legend") if entries else None,
        element("div", class_="panel", data_figure=place),
    )


def _table(finding: Finding) -> Html:
    titles = finding.headings()
    rows = [
        element("tr", *[element("td", cell, data_label=title) for title, cell in zip(titles, row, strict=True)])
        for row in finding.rows()
    ]
    head = element("thead", element("tr", *[element("th", title, scope="col") for title in titles]))
    return element("div", element("table", head, element("tbody", *rows)), class_="scroll")


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
