"""The fronts of several studies as plotly figures in plain data: the learned objective against each cost."""

from __future__ import annotations

import html
from typing import Any

from search.analysis.figures import figure, mark, series
from search.contrast.attainment import surfaces
from search.contrast.contrast import Contrast, Side
from search.front import minimised, non_dominated
from search.report.axes import axis
from search.report.candidate import short
from search.report.lines import role
from search.report.number import number
from search.views import ObjectiveView

Figure = dict[str, Any]

_SURFACES = {"best": "dot", "median": "solid", "worst": "dash"}


def figures(contrast: Contrast) -> list[Figure]:
    """One for each cost."""
    return [_figure(contrast, cost) for cost in contrast.costs]


def _figure(contrast: Contrast, cost: ObjectiveView) -> Figure:
    learned = contrast.learned
    traces = [trace for group in contrast.groups for trace in _attained(contrast, group, cost)]
    for place, side in enumerate(contrast.sides):
        traces += [_steps(place, contrast, side, cost), _points(place, contrast, side, cost)]
    points = [point.values for side in contrast.sides for point in side.points]
    axes = {
        "xaxis": axis(cost, [values[cost.name] for values in points], limit=contrast.reference[cost.name]),
        "yaxis": axis(learned, [values[learned.name] for values in points], limit=contrast.reference[learned.name]),
    }
    return figure(axes, traces)


def _points(place: int, contrast: Contrast, side: Side, cost: ObjectiveView) -> dict[str, Any]:
    learned = contrast.learned
    errors = [point.stderr.get(learned.name) or 0.0 for point in side.points]
    return series(
        place,
        [point.values[cost.name] for point in side.points],
        [point.values[learned.name] for point in side.points],
        hover="%{text}",
        text=[
            f"<b>{html.escape(side.name)}, trial {point.trial}</b><br>"
            + "<br>".join(f"{html.escape(each.name)} {number(point.values[each.name])}" for each in contrast.objectives)
            + f"<br>{html.escape(short(point.candidate))}"
            for point in side.points
        ],
        error_y={"array": errors, "visible": any(errors), "width": 0, "thickness": 1.2},
    )


def _steps(place: int, contrast: Contrast, side: Side, cost: ObjectiveView) -> dict[str, Any]:
    """What a budget of this cost alone affords."""
    xs, ys = _staircase(contrast, side.values_NM[:, [contrast.objectives.index(cost), 0]], cost)
    line = series(place, xs, ys, hover="", is_line=True)
    return {**line, "mode": "lines", "line": {**line["line"], "shape": "hv"}, "hoverinfo": "skip"}


def _attained(contrast: Contrast, group: tuple[str, ...], cost: ObjectiveView) -> list[dict[str, Any]]:
    column = contrast.objectives.index(cost)
    found = surfaces([contrast.side(name).values_NM[:, [column, 0]] for name in group])
    traces = []
    for name, surface in found.items():
        xs, ys = _staircase(contrast, surface, cost)
        style = {"shape": "hv", "width": 5 if name == "median" else 2.5, "dash": _SURFACES[name]}
        traces.append(
            {"type": "scatter", "mode": "lines", "meta": "same", "x": xs, "y": ys, "opacity": 0.35, "line": style}
            | {"hoverinfo": "skip"}
        )
    return traces


def _staircase(contrast: Contrast, values_N2: Any, cost: ObjectiveView) -> tuple[list[float], list[float]]:
    """The non-dominated points of two minimised columns by the first, in the objectives' own units."""
    kept = values_N2[non_dominated(values_N2)]
    kept = minimised(kept[kept[:, 0].argsort(kind="stable")], [cost.goal, contrast.learned.goal])
    return kept[:, 0].tolist(), kept[:, 1].tolist()


def legend(contrast: Contrast) -> list[tuple[str, str, str]]:
    """Colour, mark and name of each study, and of the attainment surfaces where there are any."""
    entries = [(role(place), mark(place), side.name) for place, side in enumerate(contrast.sides)]
    if contrast.groups:
        entries.append(("same", "┅ ━ ╍", "attained by the best, half and all of the studies of one space"))
    return entries
