"""Which knobs matter for the learned objective, and how: in words, as a table and as figures."""

from __future__ import annotations

import html
from dataclasses import replace
from typing import Any

from search.insight.effects import Effect, effect
from search.insight.importance import Importance, importances
from search.insight.study_model import StudyModel, study_model
from search.insight.wording import band, interval, knob_sentences, label, percent
from search.report.axes import axis, title_of
from search.report.markup import Html, element, joined
from search.report.palette import LIGHT
from search.report.plot import layout, ring
from search.views import StudyViews

_ROLE = "steps"
_FILL = "rgba(0,114,178,.16)"
_DRAWN = 6
"""Knobs whose effect has a figure."""
_BARS = 10
_LONGEST = 26
"""Characters of a knob beside its bar: on a phone the bars need room too."""


def knobs_section(views: StudyViews, *, figure: int) -> Html | None:
    """The section, with room for the figures from this number on; None where too few trials are complete."""
    model = study_model(views)
    if model is None:
        return None
    words = element("ul", *[element("li", text) for text in knob_sentences(model)])
    found = importances(model)
    if not found:
        return joined(element("h2", "Which knobs matter"), words)
    panels = [element("div", class_="panel", data_figure=figure + place) for place in range(1 + len(_told(model)))]
    return joined(
        element("h2", "Which knobs matter, and how"),
        element("section", panels[0], element("div", words, _note(model)), class_="foretell"),
        element("div", *panels[1:], class_="panels even"),
        element("details", element("summary", "All knobs"), _table(model, found)),
    )


def knob_figures(views: StudyViews) -> list[dict[str, Any]]:
    """How much each knob matters, then the effects of the first few; none where the process foretells nothing."""
    model = study_model(views)
    if model is None or not importances(model):
        return []
    return [_bars(importances(model)[:_BARS]), *_effect_figures(model)]


def _told(model: StudyModel) -> list[Effect]:
    return [effect(model, each.knob) for each in importances(model)[:_DRAWN]]


def _note(model: StudyModel) -> Html:
    name = title_of(model.views.learned)
    return element(
        "p",
        f"A knob's share is the part of the variance of {'log ' if model.learned.is_log else ''}{name} that is left "
        "when all other knobs are known (total Sobol index): interactions count for each knob that takes part, so "
        "shares may add up to more than 100 %. Bars and bands hold 90 % of what the process holds possible. An effect "
        "is what is expected when one knob is set and all others are drawn at random.",
        class_="quiet",
    )


def _table(model: StudyModel, found: tuple[Importance, ...]) -> Html:
    name = title_of(model.views.learned)
    headings = ["Knob", "Share (90 %)", f"Best for {name}", "Worst", "In candidates"]
    head = element("thead", element("tr", *[element("th", heading, scope="col") for heading in headings]))
    rows = [
        element("tr", *[element("td", cell, data_label=heading) for heading, cell in zip(headings, cells, strict=True)])
        for cells in (_cells(model, each) for each in found)
    ]
    return element("div", element("table", head, element("tbody", *rows)), class_="scroll")


def _cells(model: StudyModel, each: Importance) -> list[str]:
    along = effect(model, each.knob)
    costs = [model.sign * value for value in along.expected]
    ends = [
        f"{label(along.values[place])}: {band(along, place)}"
        for place in (costs.index(min(costs)), costs.index(max(costs)))
    ]
    return [each.knob, interval(each), *ends, percent(each.exists)]


def _bars(found: tuple[Importance, ...]) -> dict[str, Any]:
    shown = found[::-1]  # plotly begins at the bottom
    bars = {
        "type": "bar",
        "orientation": "h",
        "meta": _ROLE,
        "x": [100 * each.share for each in shown],
        "y": [each.knob for each in shown],
        "error_x": {
            "type": "data",
            "symmetric": False,
            "array": [100 * (each.high - each.share) for each in shown],
            "arrayminus": [100 * (each.share - each.low) for each in shown],
            "color": LIGHT["same"],
            "thickness": 1.3,
            "width": 0,
        },
        "marker": {"color": LIGHT[_ROLE], "line": {"width": 0}},
        "text": [_escaped(f"{each.knob}: {interval(each)}") for each in shown],
        "textposition": "none",
        "hovertemplate": "%{text}<extra></extra>",
    }
    axes: dict[str, dict[str, Any]] = {
        "xaxis": {"title": {"text": "Share of the variance [%]", "standoff": 8}, "rangemode": "tozero"},
        "yaxis": {
            "title": {"text": "Knob", "standoff": 8},
            "automargin": True,
            "ticks": "",
            "type": "category",
            "tickvals": [each.knob for each in shown],
            "ticktext": [_escaped(_ending(each.knob)) for each in shown],
        },
    }
    return {"data": [bars, ring()], "layout": layout(axes)}


def _effect_figures(model: StudyModel) -> list[dict[str, Any]]:
    told = _told(model)
    # One axis for all, so that a steep line is steep beside a flat one.
    seen = [value for each in told for value in (*each.low, *each.high)]
    learned = replace(model.views.learned, title=f"{title_of(model.views.learned)}, expected")
    return [_effect_figure(each, axis(learned, seen, limit=None)) for each in told]


def _effect_figure(along: Effect, yaxis: dict[str, Any]) -> dict[str, Any]:
    xs = [_escaped(label(value)) for value in along.values] if along.is_choice else along.values
    said = [_escaped(f"{along.knob} {label(value)}: {band(along, at)}") for at, value in enumerate(along.values)]
    points: dict[str, Any] = {
        "type": "scatter",
        "mode": "markers" if along.is_choice else "lines",
        "meta": _ROLE,
        "x": xs,
        "y": along.expected,
        "text": said,
        "hovertemplate": "%{text}<extra></extra>",
    }
    kind = {"type": "category"} if along.is_choice else {"type": "log"} if along.is_log else {}
    axes = {
        "xaxis": {**kind, "title": {"text": _escaped(along.knob), "standoff": 8}, "ticks": "outside", "ticklen": 4},
        "yaxis": yaxis,
    }
    if along.is_choice:
        points["error_y"] = {
            "type": "data",
            "symmetric": False,
            "array": [high - middle for high, middle in zip(along.high, along.expected, strict=True)],
            "arrayminus": [middle - low for low, middle in zip(along.low, along.expected, strict=True)],
            "thickness": 1.6,
            "width": 6,
        }
        points["marker"] = {"color": LIGHT[_ROLE], "size": 10, "line": {"width": 1}}
        return {"data": [points, ring()], "layout": layout(axes)}
    points["line"] = {"color": LIGHT[_ROLE], "width": 2}
    return {"data": [_band(along), points, ring()], "layout": layout(axes)}


def _band(along: Effect) -> dict[str, Any]:
    return {
        "type": "scatter",
        "mode": "lines",
        "meta": _ROLE,
        "x": [*along.values, *along.values[::-1]],
        "y": [*along.high, *along.low[::-1]],
        "fill": "toself",
        "fillcolor": _FILL,
        "line": {"color": LIGHT[_ROLE], "width": 0},
        "hoverinfo": "skip",
    }


def _ending(path: str) -> str:
    """A path, or the end of a long one."""
    return path if len(path) <= _LONGEST else f"…{path[-_LONGEST + 1 :]}"


def _escaped(text: str) -> str:
    # Plotly takes texts for markup of its own.
    return html.escape(text, quote=False)
