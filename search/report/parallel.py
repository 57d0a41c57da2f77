"""Knobs and objectives side by side: each trial is a line through all of its answers and what came of them.

Drawn with ordinary lines rather than plotly's ``parcoords``: that needs WebGL, which printers, remote desktops and
phones without it do not have, and its lines answer to no pointer.
"""

from __future__ import annotations

import html
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from search.report.axes import with_unit
from search.report.candidate import answer, named
from search.report.figure import Figure
from search.report.markup import Html, element, joined
from search.report.number import number
from search.report.palette import LIGHT
from search.report.plot import layout, ring
from search.views import StudyViews, TrialView

_MOST_OTHERS = 150  # faint lines: more are a grey field
_ABSENT = -0.14
_LOG_SPAN = 30.0
_PIXELS_PER_AXIS = 64
_LONGEST, _MOST_LINES = 10, 3  # characters in a line of a label, and lines of a title


@dataclass(frozen=True, kw_only=True)
class _Axis:
    """``heights`` by trial, 0 to 1, or below where the trial has no such knob; ``marks`` label the axis."""

    title: str
    heights: Mapping[int, float]
    marks: Sequence[tuple[float, str]]


def parallel_section(views: StudyViews, *, figure: int) -> Html | None:
    """The section, with room for the figure of this number; None where nothing differs."""
    axes = _axes(views)
    if not axes:
        return None
    legend = [("front", "━", "on the front"), ("dominated", "━", "the best others"), ("chosen", "━", "chosen")]
    return joined(
        element("h2", "Which answers lead where"),
        element(
            "ul",
            *[
                element("li", element("span", mark, class_=role, aria_hidden="true"), text)
                for role, mark, text in legend
            ],
            element("li", "each line is a trial; a line at the foot of a knob's axis has no such knob"),
            class_="legend",
        ),
        element(
            "div",
            # A screen narrower than this scrolls.
            element("div", class_="panel", data_figure=figure, style=f"min-width:{_PIXELS_PER_AXIS * len(axes)}px"),
            class_="scroll",
            tabindex=0,
        ),
    )


def parallel_figures(views: StudyViews) -> list[Figure]:
    """One figure, or none where nothing differs."""
    axes = _axes(views)
    if not axes:
        return []
    front, others = _drawn(views)
    chosen = {**ring(), "mode": "lines+markers", "line": {"width": 3, "color": LIGHT["chosen"]}}
    chosen["marker"] = {**chosen["marker"], "symbol": "circle", "size": 6}
    sides = {
        "xaxis": {
            "tickvals": list(range(len(axes))),
            "ticktext": ["<br>".join(_broken(axis.title)) for axis in axes],
            "tickangle": 0,
            "range": [-0.5, len(axes) - 0.5],
            "side": "top",
            "showgrid": False,
            "zeroline": False,
            "showline": False,
            "fixedrange": True,
        },
        "yaxis": {"range": [-0.25, 1.12], "visible": False, "fixedrange": True},
    }
    arranged = layout(sides, shapes=[_upright(place) for place in range(len(axes))])
    arranged |= {"margin": {"l": 20, "r": 20, "t": 62, "b": 6}, "annotations": _labels(axes)}
    traces = [_lines(axes, others, role="dominated", width=0.8), _lines(axes, front, role="front", width=1.6), chosen]
    return [{"data": traces, "layout": arranged}]


def _drawn(views: StudyViews) -> tuple[list[TrialView], list[TrialView]]:
    """The front's trials, and of the others the best."""
    on_front = {point.trial for point in views.front.points}
    sign = 1 if views.learned.goal == "min" else -1
    others = sorted(
        (trial for trial in views.eligible if trial.number not in on_front),
        key=lambda trial: sign * trial.value(views.learned.name),
    )
    return [trial for trial in views.complete if trial.number in on_front], others[:_MOST_OTHERS]


def _axes(views: StudyViews) -> list[_Axis]:
    """Of every knob in which the drawn trials differ, in the recipe's order, then of the objectives."""
    front, others = _drawn(views)
    trials = [*front, *others]
    if len(trials) < 2:
        return []
    answers = {trial.number: trial.candidate for trial in trials}
    # A knob beside the one that it depends on: the longest candidates tell the order best.
    longest = sorted(answers.values(), key=len, reverse=True)
    paths = named({path: path for candidate in longest for path in candidate})
    knobs = [
        _knob_axis(name, {key: one[path] for key, one in answers.items() if path in one}, answers)
        for name, path in paths.items()
    ]
    objectives = [
        _keyaxis(
            with_unit(objective), {trial.number: trial.value(objective.name) for trial in trials}, answers,
            is_log=objective.learned,
        )
        for objective in (views.learned, *views.costs)
    ]  # fmt: skip
    return [*[axis for axis in knobs if len(set(axis.heights.values())) > 1], *objectives]


def _knob_axis(name: str, found: Mapping[int, Any], trials: Mapping[int, Any]) -> _Axis:
    values = list(found.values())
    is_number = all(isinstance(value, int | float) and not isinstance(value, bool) for value in values)
    if is_number and len(set(values)) > 4:
        return _keyaxis(name, found, trials, is_log=False)
    options = sorted(set(values), key=float) if is_number else sorted({answer(value) for value in values})
    texts = [answer(option) for option in options]
    place = {text: index / (len(texts) - 1) if len(texts) > 1 else 0.5 for index, text in enumerate(texts)}
    heights = {key: place[answer(found[key])] if key in found else _ABSENT for key in trials}
    return _Axis(title=name, heights=heights, marks=[(place[text], text) for text in texts])


def _keyaxis(title: str, found: Mapping[int, float], trials: Mapping[int, Any], *, is_log: bool) -> _Axis:
    low, high = min(found.values()), max(found.values())
    is_log = low > 0 and (is_log or high / low > _LOG_SPAN)

    def height(value: float) -> float:
        if low == high:
            return 0.5
        share = math.log(value / low) / math.log(high / low) if is_log else (value - low) / (high - low)
        return round(share, 4)

    heights = {key: height(found[key]) if key in found else _ABSENT for key in trials}
    marks = [(0.0, number(low)), (1.0, number(high))] if low != high else [(0.5, number(low))]
    return _Axis(title=title, heights=heights, marks=marks)


def _lines(axes: Sequence[_Axis], trials: Sequence[TrialView], *, role: str, width: float) -> dict[str, Any]:
    """All trials in one trace, with a gap between each and the next."""
    numbers = [trial.number for trial in trials]
    return {
        "type": "scatter",
        "mode": "lines",
        "meta": role,
        "x": [place for _ in numbers for place in (*range(len(axes)), None)],
        "y": [height for key in numbers for height in (*(axis.heights[key] for axis in axes), None)],
        "customdata": [customdata for key in numbers for customdata in (*[key] * len(axes), None)],
        "line": {"color": LIGHT[role], "width": width},
        "hovertemplate": "%{text}<extra></extra>",
    }


def _labels(axes: Sequence[_Axis]) -> list[dict[str, Any]]:
    return [
        {
            "x": place,
            "y": height,
            "text": html.escape(text if len(text) <= _LONGEST else text[: _LONGEST - 1] + "…", quote=False),
            "showarrow": False,
            "font": {"size": 11},
            "xanchor": "left",
            "xshift": 3,
            "yshift": {0.0: -9, 1.0: 9}.get(height, 0),
        }
        for place, axis in enumerate(axes)
        for height, text in axis.marks
    ]


def _upright(place: int) -> dict[str, Any]:
    ends = {"x0": place, "x1": place, "y0": _ABSENT, "y1": 1}
    return {"type": "line", "name": "dominated", "layer": "below", "line": {"width": 1}, **ends}


def _broken(title: str) -> list[str]:
    """A title on as many lines as its axis is wide for.

    >>> _broken("prune.ratio.mid"), _broken("Latency of one image on this device")
    (['prune.', 'ratio.mid'], ['Latency of ', 'one image ', 'on this…'])
    """
    lines = [""]
    for part in title.replace(".", ".\0").replace("_", "_\0").replace(" ", " \0").split("\0"):
        fits = len((lines[-1] + part).rstrip()) <= _LONGEST
        lines = [*lines[:-1], lines[-1] + part] if fits else [*lines, part]
    lines = [line for line in lines if line]
    if len(lines) > _MOST_LINES:
        lines = [*lines[: _MOST_LINES - 1], lines[_MOST_LINES - 1].rstrip() + "…"]
    return [html.escape(line, quote=False) for line in lines]
