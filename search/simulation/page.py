"""A comparison of simulated searches on one page that opens offline, in the report's looks."""

from __future__ import annotations

from pathlib import Path

from search.report import palette
from search.report.document import document
from search.report.markup import Html, element, json_element
from search.simulation.contest import Contest
from search.simulation.figures import DARK, LIGHT, STYLES, figures, role
from search.simulation.wording import answer, caption, check, headings, model, ranked, row
from trainers.atomic import write_atomically
from trainers.errors import UserError

PAGE_FILE = "simulation.html"

_STYLE = """
.two { display: grid; grid-template-columns: repeat(auto-fit, minmax(420px, 1fr)); gap: 14px 32px; }
.two .panel:first-child { grid-column: auto; }
.two h2 { margin: 14px 0 4px; }
.answer { max-width: 84ch; font-size: 17px; }
.notes li { max-width: 100ch; }
@media (max-width: 640px) { .two { grid-template-columns: minmax(0, 1fr); } }
"""


def write_page(contest: Contest, path: Path) -> Path:
    """Write the page, whole or not at all, and give back where it lies. ``UserError`` when it cannot be written."""
    try:
        write_atomically(path, page(contest).encode())
    except OSError as error:
        raise UserError(
            f"{path} cannot be written: {error.strerror}. Name another file: --out FILE.html, or free some disk space."
        ) from error
    return path


def page(contest: Contest) -> str:
    """The page as text."""
    study = contest.stand_in.views.front.study
    lines = range(len(LIGHT))
    light = {**palette.LIGHT, **{role(place): LIGHT[place] for place in lines}}
    dark = {**palette.DARK, **{role(place): DARK[place] for place in lines}}
    return document(
        element(
            "header",
            element("p", "Slimfront, a study simulated: nothing was trained", class_="quiet"),
            element("h1", study),
            element("p", answer(contest), class_="answer"),
        ),
        _legend(contest),
        element(
            "section",
            element("div", element("h2", f"How far, with {contest.workers} at a time"), _panel(0)),
            element("div", element("h2", "How soon it is as far as the study"), _panel(1)),
            class_="two",
        ),
        element("h2", "Samplers, the best first"),
        _table(contest),
        element("p", caption(contest), class_="quiet"),
        element("h2", "What this rests on"),
        element("ul", *[element("li", line) for line in (*model(contest), check(contest))], class_="notes"),
        json_element("figures", {"figures": figures(contest), "chosen": None}),
        title=f"{study}, simulated",
        light=light,
        dark=dark,
        style=_STYLE,
        runs=True,
    )


def _panel(figure: int) -> Html:
    return element("div", class_="panel", data_figure=figure)


def _legend(contest: Contest) -> Html:
    entries = [
        (role(place), STYLES[place % len(STYLES)][1], standing.entrant.name)
        for place, standing in enumerate(ranked(contest))
    ]
    entries += [("limit", "╌", "the study's own hypervolume")] if contest.stand_in.own_volume else []
    items = [
        element("li", element("span", mark, style=f"color: var(--{name})", aria_hidden="true"), text)
        for name, mark, text in entries
    ]
    seeds = len(contest.again)
    note = element("li", f"line: median of {seeds} searches; band: lowest to highest") if seeds > 1 else None
    return element("ul", *items, note, class_="legend")


def _table(contest: Contest) -> Html:
    titles = headings(contest)
    rows = [
        element(
            "tr",
            *[element("td", cell, data_label=title) for title, cell in zip(titles, row(contest, each), strict=True)],
        )
        for each in ranked(contest)
    ]
    head = element("thead", element("tr", *[element("th", title, scope="col") for title in titles]))
    return element("div", element("table", head, element("tbody", *rows)), class_="scroll")
