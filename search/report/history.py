"""How a study went and what more would add: hypervolume against trainings and hours, in words and as figures."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import pairwise
from typing import Any

from search.insight.course import Course, course
from search.insight.forecast import Forecast, forecast
from search.insight.study_model import study_model
from search.report.markup import Html, element, joined
from search.report.number import duration, number
from search.report.palette import LIGHT
from search.report.plot import layout, ring
from search.report.volume import is_share_of
from search.views import StudyViews

_MORE = 20
"""Trainings that a finished study is asked for; of one that runs it is the rest, and not more than twice as many."""
_NEARLY = 0.9
_FEWEST = 2


def history_section(views: StudyViews, *, figure: int) -> Html | None:
    """The section, with room for its two figures from this number on; None while fewer than two trials are complete.

    Without limits there is no hypervolume, and no section either.
    """
    went = course(views)
    if not _has_course(views, went):
        return None
    what = "the share of the region" if is_share_of(views) else "the volume, in units of the limits,"
    panels = [element("div", class_="panel", data_figure=figure + place) for place in range(2)]
    return joined(
        element("h2", "How it went, and what more would add"),
        element("ul", *[element("li", text) for text in history_sentences(views)]),
        element("div", *panels, class_="panels even"),
        element(
            "p",
            f"Hypervolume is {what} within the limits that the front dominates, by what was measured first, in the "
            "order in which trials began. Time is the study's, shared out by how long each trial took.",
            class_="quiet",
        ),
    )


def history_figures(views: StudyViews) -> list[dict[str, Any]]:
    """Hypervolume against trainings, with what is expected of more, and against hours."""
    went = course(views)
    if not _has_course(views, went):
        return []
    unit, per_hour = ("h", 1.0) if went.hours[-1] >= 1 else ("min", 60.0)
    return [
        _figure(went, went.trainings, "Full trainings, or their worth", _expected(went, expected_of(views))),
        _figure(went, [hours * per_hour for hours in went.hours], f"Time [{unit}]", []),
    ]


def history_sentences(views: StudyViews) -> Iterator[str]:
    """How soon the study came how far, and what more would add."""
    went = course(views)
    last = went.volumes[-1]
    if last <= 0:
        yield "No trial is within all limits yet, so there is no hypervolume."
        return
    nearly = next(place for place, volume in enumerate(went.volumes) if volume >= _NEARLY * last)
    yield (
        f"The hypervolume was {number(last)} after {number(went.trainings[-1])} full trainings "
        f"({duration(3600 * went.hours[-1])}); {100 * _NEARLY:.0f} % of it was there after "
        f"{number(went.trainings[nearly])} ({duration(3600 * went.hours[nearly])})."
    )
    expected = expected_of(views)
    if expected is not None and expected.before > 0:
        yield _promised(expected)


def expected_of(views: StudyViews) -> Forecast | None:
    """What the rest of the budget is expected to add, or of a finished study twenty more; None where nothing tells."""
    model = study_model(views)
    if model is None:
        return None
    # Counted from the last trial that the model knows, so that it need not be asked again after each one.
    went, last = course(views), model.views.complete[-1].number
    spent = went.trainings[went.trials.index(last)] - sum(trial.by_hand for trial in views.complete)
    left = (views.front.budget_trials or 0) - spent
    return forecast(model, _MORE if views.front.finished or left < 1 else min(round(left), 2 * _MORE))


def _has_course(views: StudyViews, went: Course) -> bool:
    return len(went.trials) >= _FEWEST and any(views.front.limits.values())


def _promised(expected: Forecast) -> str:
    gain, spread = (100 * value / expected.before for value in (expected.gain, expected.spread))
    told = f"{expected.trainings} more full trainings are expected to add {number(gain, digits=2)} %"
    if not expected.hindsights:
        return (
            f"{told} at most. That is what a model promises, and such promises come out too high; the study is too "
            "short to tell by how much."
        )
    past = " and ".join(
        f"{number(100 * each.kept, digits=2)} % in the last {each.trainings} trainings" for each in expected.hindsights
    )
    return (
        f"{told} (± {number(spread, digits=2)} %). That is what a model promises, times the part that it would have "
        f"kept of its promises in this study: {past}."
    )


def _figure(went: Course, xs: Sequence[float], title: str, further: list[dict[str, Any]]) -> dict[str, Any]:
    highest = max([*went.volumes, *[high for trace in further for high in trace["y"]]])
    # What changed nothing needs no point; the last one tells how long it has been so.
    rose = [place for place, (before, after) in enumerate(pairwise(went.volumes), start=1) if after > before]
    shown = sorted({0, *rose, len(went.volumes) - 1})
    steps = {
        "type": "scatter",
        "mode": "lines+markers",
        "meta": "steps",
        "x": [xs[place] for place in shown],
        "y": [went.volumes[place] for place in shown],
        "customdata": [went.trials[place] for place in shown],
        "text": [
            f"Trial {went.trials[place]}<br>hypervolume {number(went.volumes[place])} after "
            f"{number(went.trainings[place])} full trainings, {duration(3600 * went.hours[place])}"
            for place in shown
        ],
        "line": {"color": LIGHT["steps"], "shape": "hv", "width": 1.8},
        "marker": {"color": LIGHT["steps"], "size": 5, "line": {"width": 0}},
        "hovertemplate": "%{text}<extra></extra>",
    }
    axes: dict[str, dict[str, Any]] = {
        "xaxis": {"title": {"text": title, "standoff": 8}, "rangemode": "tozero", "ticks": "outside", "ticklen": 4},
        "yaxis": {"title": {"text": "Hypervolume", "standoff": 8}, "range": [0, 1.08 * highest or 1.0]},
    }
    return {"data": [steps, *further, ring()], "layout": layout(axes)}


def _expected(went: Course, found: Forecast | None) -> list[dict[str, Any]]:
    """Dashed, from the last training to where more would lead."""
    if found is None or not found.hindsights:
        return []
    ends = [went.trainings[-1], went.trainings[-1] + found.trainings]
    return [
        {
            "type": "scatter",
            "mode": "lines+markers",
            "meta": "same",
            "x": ends,
            "y": [went.volumes[-1], went.volumes[-1] + found.gain],
            "text": ["", f"expected after {found.trainings} more: + {number(found.gain)} ± {number(found.spread)}"],
            "error_y": {"type": "data", "array": [0, found.spread], "width": 4, "thickness": 1.3},
            "line": {"color": LIGHT["same"], "dash": "dash", "width": 1.4},
            "marker": {"color": LIGHT["same"], "size": [0, 7], "symbol": "diamond", "line": {"width": 0}},
            "hovertemplate": "%{text}<extra></extra>",
        }
    ]
