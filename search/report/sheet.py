"""A page beside the report, in its looks: one answer, and the figures and tables that it rests on."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from search.report import lines, palette
from search.report.document import document
from search.report.markup import Html, element, json_element
from search.report.tabular import row, table
from trainers.atomic import write_atomically
from trainers.errors import UserError

Entry = tuple[str, str, str]
"""Of a legend: the CSS variable of the colour, the mark, the name."""

_STYLE = """
.answer { max-width: 84ch; font-size: 17px; text-wrap: pretty; }
.notes li { max-width: 100ch; }
.figures { display: grid; grid-template-columns: repeat(auto-fit, minmax(min(100%, 400px), 1fr)); gap: 0 32px; }
.figures + .scroll { margin-top: 20px; }
.figures > div { display: flex; flex-direction: column; }
.figures h2 { margin: 14px 0 4px; }
.figures .panel { height: 380px; margin-top: auto; }
"""


def sheet(
    *body: Html | None,
    kind: str,
    name: str,
    answer: str,
    figures: Sequence[dict[str, Any]],
    title: str | None = None,
    style: str = "",
) -> str:
    """The page as text.

    Args:
        kind: What page this is, above its name.
        answer: What the page shows, in one or two sentences.
        figures: Drawn in ``panel`` by their place.
        title: Of the window; the name when left out.
        style: Rules beside those that all pages have.
    """
    places = range(len(lines.LIGHT))
    return document(
        element(
            "header",
            element("p", f"Slimfront, {kind}", class_="quiet"),
            element("h1", name),
            element("p", answer, class_="answer"),
        ),
        *body,
        json_element("figures", {"figures": figures, "chosen": None}),
        title=title or name,
        light={**palette.LIGHT, **{lines.role(place): lines.LIGHT[place] for place in places}},
        dark={**palette.DARK, **{lines.role(place): lines.DARK[place] for place in places}},
        style=_STYLE + style,
        runs=True,
    )


def write_sheet(text: str, path: Path, *, option: str) -> Path:
    """Write the page, whole or not at all, and give back where it lies.

    Raises:
        UserError: when it cannot be written; ``option`` names another file.
    """
    try:
        write_atomically(path, text.encode())
    except OSError as error:
        raise UserError(
            f"{path} cannot be written: {error.strerror}. Name another file: {option} FILE.html, "
            "or free some disk space."
        ) from error
    return path


def panels(titles: Sequence[str], *, legends: Sequence[Sequence[Entry]] = ()) -> Html:
    """The figures under their titles, each with a legend of its own where ``legends`` has one."""
    shown = [
        element(
            "div",
            element("h2", title),
            legend(legends[place]) if legends and legends[place] else None,
            element("div", class_="panel", data_figure=place),
        )
        for place, title in enumerate(titles)
    ]
    return element("section", *shown, class_="figures")


def legend(entries: Sequence[Entry], *, note: str | None = None) -> Html:
    """What the marks mean, and a ``note`` on the others."""
    items = [
        element("li", element("span", mark, style=f"color: var(--{colour})", aria_hidden="true"), name)
        for colour, mark, name in entries
    ]
    return element("ul", *items, element("li", note) if note else None, class_="legend")


def text_table(headings: Sequence[str], rows: Sequence[Sequence[str]]) -> Html:
    """A table of plain cells."""
    return table(headings, [row(headings, cells) for cells in rows])


def notes(sentences: Sequence[str], *, class_: str = "notes") -> Html:
    """A list of remarks."""
    return element("ul", *[element("li", sentence) for sentence in sentences], class_=class_)
