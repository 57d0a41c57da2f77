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
from search.report.cards import objective_value, reached, tie
from search.report.number import number
from search.report.palette import LIGHT
from search.report.plot import layout, line, ring, thinned
from search.report.references import references_of
from search.report.table import size_of
from search.views import ObjectiveView, PointView, StudyViews, TrialView

Figure = dict[str, Any]

_MOST_BARS = 500
_MOST_FAINT_BARS = 100
_FAR = ("reference", "stopped")
"""Roles that may lie far from the rest: what other works measured, and what a small share does."""
_SHOWN = ("reference", "", "stopped", "reference stopped")
"""Which of them are shown, each with axes of its own; stopped trials are off until asked for."""


NAMES = {
    "front": "on the front",
    "steps": "best for this cost alone",
    "knee": "knee",
    "teacher": "teacher",
    "dominated": "dominated",
    "once": "measured once, so not on the front",
    "stopped": "stopped early, at what they measured then",
    "failed": "failed, at the costs they would have had",
    "reference": "references, of other works",
}
"""Of the roles, in the order of a legend."""


def figures(views: StudyViews) -> list[Figure]:
    """One figure per cost, with hover texts; with nothing but the learned objective, one against the trial's number.

    ``plotly.graph_objects.Figure`` takes each as it is.
    """
    texts = {trial.number: hover_text(views, trial) for trial in [*views.complete, *views.stopped]}
    texts |= {point.trial: hover_text(views, point) for point in views.front.points}
    drawn = bare_figures(views)
    for trace in (trace for figure in drawn for trace in figure["data"] if "customdata" in trace):
        trace["text"] = [texts[number] for number in trace["customdata"]]
    return drawn


def legible(figure: Figure, *, title: str) -> Figure:
    """The figure for itself: with a title and a legend; stopped trials are off until asked for, as on the page."""
    lines = textwrap.wrap(title, 80)
    places = {role: place for place, role in enumerate(NAMES)}
    traces = [
        {**trace, "name": NAMES[trace["meta"]], "legendrank": places[trace["meta"]]}
        | ({"visible": "legendonly"} if trace["meta"] == "stopped" else {})
        for trace in figure["data"]
        if trace["x"]
    ]
    layout = {
        **figure["layout"],
        "title": {"text": "<br>".join(html.escape(line, quote=False) for line in lines), "font": {"size": 15}},
        "margin": {**figure["layout"]["margin"], "t": 40 + 20 * len(lines)},
        "showlegend": True,
        "height": 420,
    }
    return {"data": traces, "layout": layout}


def bare_figures(views: StudyViews) -> list[Figure]:
    """The same without hover texts: the page's script makes them when it draws."""
    return [_figure(views, cost) for cost in drawn_costs(views) or [ObjectiveView(name="", title="Trial")]]


def drawn_costs(views: StudyViews) -> list[ObjectiveView]:
    """The costs in the order of their figures, of which the first is the widest: size before all."""
    size = size_of(views.costs)
    return sorted(views.costs, key=lambda cost: cost != size)


def _figure(views: StudyViews, cost: ObjectiveView) -> Figure:
    learned = views.learned
    on_front = {point.trial for point in views.front.points}
    eligible = {trial.number for trial in views.eligible}
    dominated = [trial for trial in views.eligible if trial.number not in on_front]
    once = [trial for trial in views.comparable if trial.number not in eligible]
    stopped = [trial for trial in views.stopped if _is_placed(trial, cost) and _is_placed(trial, learned)]
    knee = [point for point in views.front.points if point.trial == views.front.knee]
    traces = [
        _points(views, cost, thinned(dominated), role="dominated", symbol="circle-open", size=7),
        _points(views, cost, thinned(once), role="once", symbol="square-open", size=7),
        _points(views, cost, thinned(stopped), role="stopped", symbol="x-open", size=7),
        _failed(views, cost),
        line("steps", *steps_of(views, cost), shape="hv", width=1.6),
        _points(views, cost, views.front.points, role="front", symbol="circle", size=10),
        _points(views, cost, knee, role="knee", symbol="diamond-open", size=24, is_silent=True),
        references_of(views, cost),
        teacher_of(views, cost),
        ring(),
    ]
    limits = views.front.limits
    shapes = [*_limit_line(limits.get(cost.name), "x"), *_limit_line(limits.get(learned.name), "y")]
    axes = {shown: _axes(views, cost, _without(traces, shown)) for shown in _SHOWN}
    meta = {"axes": axes, "objectives": {"x": cost.name, "y": learned.name}}
    return {"data": traces, "layout": {**layout(axes[_SHOWN[0]], shapes=shapes), "meta": meta}}


def hover_text(views: StudyViews, point: PointView | TrialView) -> str:
    """The trial, its values and its candidate, one under the other, in plotly's small markup."""
    lines = [f"<b>Trial {point.number}</b>"]
    if isinstance(point, TrialView) and point.state == "stopped":
        lines.append(f"<i>stopped early: {reached(views, point)}</i>")
    for objective in (views.learned, *views.costs):
        said = f"{title_of(objective)}: {objective_value(point, objective)}"
        lines.append(html.escape(said, quote=False))
    wrapped = [*textwrap.wrap(tie(point) or "", 46), *textwrap.wrap(short(point.candidate), 46, max_lines=8)]
    return "<br>".join([*lines, *(html.escape(line, quote=False) for line in wrapped)])


def steps_of(views: StudyViews, cost: ObjectiveView) -> tuple[list[float], list[float]]:
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
    return xs, ys


def teacher_of(views: StudyViews, cost: ObjectiveView) -> dict[str, Any]:
    """The teacher's trace; empty where it was not measured."""
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
    # Very many bars are a grey field, and take as long to draw as all the rest of the page; those of the front count.
    most = _MOST_BARS if role == "front" else _MOST_FAINT_BARS
    errors = [_error(point.counted_stderr, name) for point in points] if len(points) <= most else []
    # A point that may be on the front by chance is hollow, with a dot.
    symbols = [f"{symbol}-open-dot" if not is_silent and tie(point) else symbol for point in points]
    hover = {"hoverinfo": "skip"} if is_silent else {"hovertemplate": "%{text}<extra></extra>"}
    return {
        "type": "scatter",
        "mode": "markers",
        "meta": role,
        "x": [_at(point, cost) for point in points],
        "y": [point.counted[name] for point in points],
        "customdata": [point.number for point in points],
        "error_y": {"array": errors, "visible": any(errors) and not is_silent, "width": 0, "thickness": 1.3},
        "marker": {
            "symbol": symbols if set(symbols) - {symbol} else symbol,
            "size": size,
            "color": LIGHT[role],
            "line": {"width": 2 if is_silent else 1.3},
        },
        **hover,
    }


def _failed(views: StudyViews, cost: ObjectiveView) -> dict[str, Any]:
    """Trials that gave no result, at what they would have cost: on the limit of what they were to measure."""
    learned = views.learned
    found = [trial for trial in views.trials if trial.state == "failed" and _is_placed(trial, cost)]
    placed = [trial.value(learned.name) for trial in views.complete]
    worst = max(placed, default=1.0) if learned.goal == "min" else min(placed, default=0.0)
    shown = thinned(found)
    return {
        "type": "scatter",
        "mode": "markers",
        "meta": "failed",
        "x": [_at(trial, cost) for trial in shown],
        "y": [views.front.limits.get(learned.name, worst)] * len(shown),
        "text": [_failure_text(trial) for trial in shown],
        "marker": {"symbol": "asterisk", "size": 7, "color": LIGHT["failed"], "line": {"width": 1.6}},
        "hovertemplate": "%{text}<extra></extra>",
    }


def _failure_text(trial: TrialView) -> str:
    kind = f" ({trial.kind})" if trial.kind else ""
    said = [
        *textwrap.wrap(trial.reason or "", 46, max_lines=4),
        *textwrap.wrap(short(trial.candidate), 46, max_lines=8),
    ]
    lines = [f"<b>Trial {trial.number}</b>", f"<i>failed{html.escape(kind, quote=False)}</i>"]
    return "<br>".join([*lines, *(html.escape(line, quote=False) for line in said)])


def _limit_line(limit: float | None, side: str) -> list[dict[str, Any]]:
    if limit is None:
        return []
    across = {"x": {"xref": "x", "yref": "paper", "x0": limit, "x1": limit, "y0": 0, "y1": 1}}
    along = {"y": {"xref": "paper", "yref": "y", "x0": 0, "x1": 1, "y0": limit, "y1": limit}}
    style = {"dash": "dash", "width": 1.4, "color": LIGHT["limit"]}
    return [{"type": "line", "name": "limit", "layer": "below", "line": style, **(across | along)[side]}]


def _at(point: PointView | TrialView, cost: ObjectiveView) -> float:
    value = point.counted[cost.name] if cost.name else point.number
    assert value is not None, "points on a figure are complete"
    return value


def _is_placed(trial: TrialView, objective: ObjectiveView) -> bool:
    """Whether a trial without full results has a value to be drawn at."""
    value = trial.counted.get(objective.name) if objective.name else trial.number
    return value is not None and math.isfinite(value)


def _axes(views: StudyViews, cost: ObjectiveView, traces: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    limits = views.front.limits
    return {
        "xaxis": axis(cost, _shown(traces, "x"), limit=limits.get(cost.name)),
        "yaxis": axis(views.learned, _shown(traces, "y"), limit=limits.get(views.learned.name)),
    }


def _without(traces: Sequence[dict[str, Any]], shown: str) -> list[dict[str, Any]]:
    hidden = set(_FAR) - set(shown.split())
    return [trace for trace in traces if trace["meta"] not in hidden]


def _error(stderr: Mapping[str, float | None], name: str) -> float:
    error = stderr.get(name)
    return error if error is not None and math.isfinite(error) else 0.0


def _shown(traces: Iterable[Mapping[str, Any]], key: str) -> list[float]:
    return [value for trace in traces for value in trace[key]]
