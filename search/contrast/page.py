"""A contrast of studies on one page that opens offline, in the report's looks."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from search.contrast.contrast import Contrast
from search.contrast.figures import figures, legend
from search.contrast.wording import answer, fronts_headings, fronts_row, knobs_headings, knobs_row, notes
from search.report import palette
from search.report.axes import title_of
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
"""


def write_page(contrast: Contrast, path: Path) -> Path:
    """Write the page, whole or not at all, and give back where it lies. ``UserError`` when it cannot be written."""
    try:
        write_atomically(path, page(contrast).encode())
    except OSError as error:
        raise UserError(
            f"{path} cannot be written: {error.strerror}. Name another file: --out FILE.html, or free some disk space."
        ) from error
    return path


def page(contrast: Contrast) -> str:
    """The page as text."""
    names = " and ".join(side.name for side in contrast.sides)
    lines = range(len(LIGHT))
    panels = [
        element(
            "div",
            element("h2", f"{title_of(contrast.learned)} against {title_of(cost)}"),
            element("div", class_="panel", data_figure=place),
        )
        for place, cost in enumerate(contrast.costs)
    ]
    fronts = [fronts_row(contrast, side) for side in contrast.best_first]
    knobs = [knobs_row(contrast, knob) for knob in contrast.knobs]
    return document(
        element(
            "header",
            element("p", "Slimfront, studies compared", class_="quiet"),
            element("h1", names),
            element("p", answer(contrast), class_="answer"),
        ),
        _legend(contrast),
        element("section", *panels, class_="figures"),
        element("h2", "Fronts, the furthest first"),
        _table(fronts_headings(contrast), fronts),
        element("h2", "Knobs on the fronts, those that differ most first"),
        _table(knobs_headings(contrast), knobs),
        element("ul", *[element("li", note) for note in notes(contrast)], class_="notes quiet"),
        json_element("figures", {"figures": figures(contrast), "chosen": None}),
        title=names,
        light={**palette.LIGHT, **{role(place): LIGHT[place] for place in lines}},
        dark={**palette.DARK, **{role(place): DARK[place] for place in lines}},
        style=_STYLE,
        runs=True,
    )


def _legend(contrast: Contrast) -> Html:
    entries = [
        element("li", element("span", mark, style=f"color: var(--{colour})", aria_hidden="true"), name)
        for colour, mark, name in legend(contrast)
    ]
    return element("ul", *entries, class_="legend")


def _table(titles: Sequence[str], rows: Sequence[Sequence[str]]) -> Html:
    head = element("thead", element("tr", *[element("th", title, scope="col") for title in titles]))
    body = [
        element("tr", *[element("td", cell, data_label=title) for title, cell in zip(titles, row, strict=True)])
        for row in rows
    ]
    return element("div", element("table", head, element("tbody", *body)), class_="scroll")
