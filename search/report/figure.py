"""The front as plotly figures: the learned objective against each cost, one figure per cost, in plain data.

Every trace has a role as its ``meta`` and the page's script colours it by role, so that one figure serves light and
dark; the colours given here are those of the light theme.
"""

from __future__ import annotations

import html
import math
import textwrap
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from search.report.axes import axis, title_of
from search.report.candidate import short
from search.report.number import number, with_error
from search.report.palette import LIGHT
from search.views import ObjectiveView, PointView, StudyViews, TrialView

Figure = dict[str, Any]


def figures(views: StudyViews) -> list[Figure]:
    """One figure per cost; with nothing but the learned objective, one against the trial's number."""
    return [figure(views, cost) for cost in views.costs or [ObjectiveView(name="", title="Trial")]]


def figure(views: StudyViews, cost: ObjectiveView) -> Figure:
    """The learned objective against ``cost``; ``plotly.graph_objects.Figure`` takes it as it is."""
    learned = views.learned
    on_front = {point.trial for point in views.front.points}
    faint = [trial for trial in views.complete if trial.number not in on_front]
    knee = [point for point in views.front.points if point.trial == views.front.knee]
    traces = [
        _points(views, cost, faint, role="dominated", symbol="circle-open", size=7),
        _steps(views, cost),
        _points(views, cost, views.front.points, role="front", symbol="circle", size=10),
        _points(views, cost, knee, role="knee", symbol="diamond-open", size=24, is_silent=True),
        _teacher(views, cost),
        _points(views, cost, [], role="chosen", symbol="circle-open", size=17, is_silent=True),
    ]
    xs, ys = _shown(traces, "x"), _shown(traces, "y")
    limits = views.front.limits
    layout = {
        "xaxis": axis(cost, xs, limit=limits.get(cost.name)),
        "yaxis": axis(learned, ys, limit=limits.get(learned.name)),
        "shapes": [*_limit_line(limits.get(cost.name), "x"), *_limit_line(limits.get(learned.name), "y")],
        "margin": {"l": 58, "r": 14, "t": 10, "b": 50},
        "showlegend": False,
        "hovermode": "closest",
        "hoverlabel": {"align": "left"},
        "height": 340,
    }
    return {"data": traces, "layout": layout}


def hover_text(views: StudyViews, point: PointView | TrialView) -> str:
    """The trial, its values and its candidate, one under the other, in plotly's small markup."""
    lines = [f"<b>Trial {point.number}</b>"]
    for objective in (views.learned, *views.costs):
        value = with_error(point.values.get(objective.name), point.stderr.get(objective.name))
        lines.append(html.escape(f"{title_of(objective)}: {value} {objective.unit}".rstrip(), quote=False))
    wrapped = textwrap.wrap(short(point.candidate), 46, max_lines=8)
    return "<br>".join([*lines, *(html.escape(line, quote=False) for line in wrapped)])


def _points(
    views: StudyViews,
    cost: ObjectiveView,
    points: Sequence[PointView | TrialView],
    *,
    role: str,
    symbol: str,
    size: int,
    is_silent: bool = False,
) -> dict[str, Any]:
    name = views.learned.name
    errors = [_error(point.stderr, name) for point in points]
    hover = {"hoverinfo": "skip"} if is_silent else {"hovertemplate": "%{text}<extra></extra>"}
    return {
        "type": "scatter",
        "mode": "markers",
        "meta": role,
        "x": [_at(point, cost) for point in points],
        "y": [point.values[name] for point in points],
        "customdata": [point.number for point in points],
        "text": [] if is_silent else [hover_text(views, point) for point in points],
        "error_y": {"array": errors, "visible": any(errors) and not is_silent, "width": 0, "thickness": 1.3},
        "marker": {"symbol": symbol, "size": size, "color": LIGHT[role], "line": {"width": 2 if is_silent else 1.3}},
        **hover,
    }


def _steps(views: StudyViews, cost: ObjectiveView) -> dict[str, Any]:
    """What a budget of this cost alone affords: the best so far, held until a better one."""
    sign = {"min": 1.0, "max": -1.0}
    name = views.learned.name
    ordered = sorted(
        views.front.points,
        key=lambda point: (sign[cost.goal] * _at(point, cost), sign[views.learned.goal] * point.values[name]),
    )
    xs: list[float] = []
    ys: list[float] = []
    for point in ordered:
        if not ys or sign[views.learned.goal] * (point.values[name] - ys[-1]) < 0:
            xs.append(_at(point, cost))
            ys.append(point.values[name])
    return {
        "type": "scatter",
        "mode": "lines",
        "meta": "steps",
        "x": xs,
        "y": ys,
        "line": {"shape": "hv", "width": 1.6, "color": LIGHT["steps"]},
        "hoverinfo": "skip",
    }


def _teacher(views: StudyViews, cost: ObjectiveView) -> dict[str, Any]:
    teacher = views.front.teacher
    values = teacher.values if teacher else {}
    x, y = values.get(cost.name), values.get(views.learned.name)
    is_known = x is not None and y is not None and math.isfinite(x) and math.isfinite(y)
    error = _error(teacher.stderr, views.learned.name) if teacher else 0.0
    said = [f"{title_of(item)}: {number(values.get(item.name))} {item.unit}" for item in (views.learned, *views.costs)]
    return {
        "type": "scatter",
        "mode": "markers",
        "meta": "teacher",
        "x": [x] if is_known else [],
        "y": [y] if is_known else [],
        "text": ["<br>".join(["<b>Teacher</b>", *(html.escape(line.rstrip(), quote=False) for line in said)])],
        "error_y": {"array": [error], "visible": error > 0, "width": 0, "thickness": 1.3},
        "marker": {"symbol": "star", "size": 15, "color": LIGHT["teacher"], "line": {"width": 1}},
        "hovertemplate": "%{text}<extra></extra>",
    }


def _limit_line(limit: float | None, side: str) -> list[dict[str, Any]]:
    if limit is None:
        return []
    across = {"x": {"xref": "x", "yref": "paper", "x0": limit, "x1": limit, "y0": 0, "y1": 1}}
    along = {"y": {"xref": "paper", "yref": "y", "x0": 0, "x1": 1, "y0": limit, "y1": limit}}
    line = {"dash": "dash", "width": 1.4, "color": LIGHT["limit"]}
    return [{"type": "line", "layer": "below", "line": line, **(across | along)[side]}]


def _at(point: PointView | TrialView, cost: ObjectiveView) -> float:
    value = point.values[cost.name] if cost.name else point.number
    assert value is not None, "points on a figure are complete"
    return value


def _error(stderr: Mapping[str, float | None], name: str) -> float:
    error = stderr.get(name)
    return error if error is not None and math.isfinite(error) else 0.0


def _shown(traces: Iterable[Mapping[str, Any]], key: str) -> list[float]:
    return [value for trace in traces for value in trace[key]]
