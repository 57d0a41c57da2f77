"""Points of other works: marks on the front's figures, and a table of what they are and where they come from."""

from __future__ import annotations

import html
import math
import textwrap
from typing import Any

from search.reference import Reference
from search.report.axes import title_of, with_unit
from search.report.markup import Html
from search.report.number import number
from search.report.palette import LIGHT
from search.report.tabular import folded_table
from search.views import ObjectiveView, StudyViews

ROLE = "reference"
_DIGITS = 4
"""Published values as they were printed: 60.77, 5.29."""
_WIDTH = 46


def references_of(views: StudyViews, cost: ObjectiveView) -> dict[str, Any]:
    """The trace of those that have a value for both axes, which no budget and no choice of a trial knows."""
    learned = views.learned
    placed = [each for each in views.front.references if _is_known(each, cost) and _is_known(each, learned)]
    return {
        "type": "scatter",
        "mode": "markers",
        "meta": ROLE,
        "x": [each.values[cost.name] for each in placed],
        "y": [each.values[learned.name] for each in placed],
        "text": [_hover_text(views, each) for each in placed],
        "marker": {"symbol": "triangle-up-open", "size": 11, "color": LIGHT[ROLE], "line": {"width": 1.8}},
        "hovertemplate": "%{text}<extra></extra>",
    }


def reference_table(views: StudyViews) -> Html | None:
    """All of them, those without a place on a figure included; None where the space names none."""
    if not views.front.references:
        return None
    objectives = [views.learned, *views.costs]
    headings = ["Reference", *map(with_unit, objectives), "Source", "Note"]
    rows = [
        [each.name, *(_value(each, item) for item in objectives), each.source, each.note]
        for each in views.front.references
    ]
    return folded_table("References: values of other works, no trials of this study", headings, rows)


def _is_known(reference: Reference, objective: ObjectiveView) -> bool:
    return math.isfinite(reference.values.get(objective.name, math.nan))


def _value(reference: Reference, objective: ObjectiveView) -> str:
    return number(reference.values.get(objective.name), digits=_DIGITS)


def _hover_text(views: StudyViews, reference: Reference) -> str:
    known = [item for item in (views.learned, *views.costs) if item.name in reference.values]
    values = [f"{title_of(item)}: {_value(reference, item)} {item.unit}".rstrip() for item in known]
    told = [line for text in (reference.source, reference.note) for line in textwrap.wrap(text, _WIDTH)]
    name = "<br>".join(html.escape(line, quote=False) for line in textwrap.wrap(reference.name, _WIDTH))
    return "<br>".join([f"<b>{name}</b>", *(html.escape(line, quote=False) for line in [*values, *told])])
