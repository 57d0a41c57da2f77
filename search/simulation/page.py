"""A comparison of simulated searches on one page that opens offline, in the report's looks."""

from __future__ import annotations

from pathlib import Path

from search.report.lines import STYLES, role
from search.report.markup import Html, element
from search.report.sheet import legend, notes, panels, sheet, text_table, write_sheet
from search.simulation.contest import Contest
from search.simulation.figures import figures
from search.simulation.wording import answer, caption, check, headings, model, ranked, row

PAGE_FILE = "simulation.html"


def write_page(contest: Contest, path: Path) -> Path:
    """Write the page, whole or not at all, and give back where it lies. ``UserError`` when it cannot be written."""
    return write_sheet(page(contest), path, option="--out")


def page(contest: Contest) -> str:
    """The page as text."""
    study = contest.stand_in.views.front.study
    drawn = figures(contest)
    # The second figure is there only when a search came so far.
    titles = [f"How far, with {contest.workers} at a time", "How soon it is as far as the study"][: len(drawn)]
    return sheet(
        _legend(contest),
        panels(titles),
        element("h2", "Samplers, the best first"),
        text_table(headings(contest), [row(contest, each) for each in ranked(contest)]),
        element("p", caption(contest), class_="quiet"),
        element("h2", "What this rests on"),
        notes([*model(contest), check(contest)]),
        kind="a study simulated: nothing was trained",
        name=study,
        answer=answer(contest),
        figures=drawn,
        title=f"{study}, simulated",
    )


def _legend(contest: Contest) -> Html:
    entries = [
        (role(place), STYLES[place % len(STYLES)][1], standing.entrant.name)
        for place, standing in enumerate(ranked(contest))
    ]
    entries += [("limit", "╌", "the study's own hypervolume")] if contest.stand_in.own_volume else []
    seeds = len(contest.again)
    note = f"line: median of {seeds} searches; band: lowest to highest" if seeds > 1 else None
    return legend(entries, note=note)
