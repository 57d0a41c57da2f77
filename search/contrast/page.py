"""A contrast of studies on one page that opens offline, in the report's looks."""

from __future__ import annotations

from pathlib import Path

from search.contrast import figures, wording
from search.contrast.contrast import Contrast
from search.report.answer import listed
from search.report.axes import title_of
from search.report.markup import element
from search.report.sheet import legend, notes, panels, sheet, text_table, write_sheet


def write_page(contrast: Contrast, path: Path) -> Path:
    """Write the page, whole or not at all, and give back where it lies. ``UserError`` when it cannot be written."""
    return write_sheet(page(contrast), path, option="--out")


def page(contrast: Contrast) -> str:
    """The page as text."""
    return sheet(
        legend(figures.legend(contrast), note="bars: ± 1 standard error; lines: best for this cost alone"),
        panels([f"{title_of(contrast.learned)} against {title_of(cost)}" for cost in contrast.costs]),
        element("h2", "Fronts, the furthest first"),
        text_table(
            wording.fronts_headings(contrast), [wording.fronts_row(contrast, side) for side in contrast.best_first]
        ),
        element("h2", "Knobs on the fronts, those that differ most first"),
        text_table(wording.knobs_headings(contrast), [wording.knobs_row(contrast, knob) for knob in contrast.knobs]),
        notes(wording.notes(contrast), class_="notes quiet"),
        kind="studies compared",
        name=listed([side.name for side in contrast.sides]),
        answer=wording.answer(contrast),
        figures=figures.figures(contrast),
    )
