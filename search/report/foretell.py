"""How well short trainings foretell full ones: each trial's value at a share against its final one, and in words."""

from __future__ import annotations

import html
import math
from dataclasses import replace
from typing import Any

from search.rank_fidelity import RungFidelity, described
from search.report.axes import axis, title_of
from search.report.figure import Figure
from search.report.markup import Html, element, joined
from search.report.palette import LIGHT
from search.report.plot import layout, line, ring, thinned
from search.views import StudyViews, TrialView

_SYMBOLS = (("circle", "●"), ("square", "■"), ("triangle-up", "▲"), ("diamond", "◆"))
"""Of each share, for plotly and for the legend; the roles ``share0`` and on have their colours."""


def foretelling(views: StudyViews, *, figure: int) -> Html | None:
    """The section, with room for the figure of this number; None where no trial has a short and a full result."""
    rows = views.front.rank_fidelity
    if not any(row.pairs for row in rows):
        return None
    words = [
        element("ul", *[element("li", text) for text in described(rows)]),
        element(
            "p",
            "Counted are trials that were trained to the end, by their first measurement. The others were stopped for "
            "what they measured at a share, so the order agrees less among those left than it would over all: “had "
            "all gone on” corrects for that. What picking costs is by how much the trial that was best at the share "
            "ends worse than the best of all.",
            class_="quiet",
        ),
    ]
    return joined(
        element("h2", "How well short trainings foretell"),
        element(
            "section",
            element("div", _legend(views), element("div", class_="panel", data_figure=figure))
            if _drawn(views)
            else None,
            element("div", *words),
            class_="foretell",
        ),
    )


def foretelling_figures(views: StudyViews) -> list[Figure]:
    """One figure, values at each share against final ones; none where no trial has both."""
    traces = [_points(views, place, row) for place, row in _drawn(views)]
    if not traces:
        return []
    learned = views.learned
    xs, ys = ([value for trace in traces for value in trace[key]] for key in "xy")
    ends = [min(xs + ys) / 2, max(xs + ys) * 2]
    titles = f"{title_of(learned)} at a share", f"{title_of(learned)} at the end"
    axes = {
        "xaxis": axis(replace(learned, title=titles[0]), xs, limit=None),
        "yaxis": axis(replace(learned, title=titles[1]), ys, limit=None),
    }
    return [{"data": [line("same", ends, ends, dash="dot", width=1.2), *traces, ring()], "layout": layout(axes)}]


def _legend(views: StudyViews) -> Html:
    entries = [
        (_role(place), _symbol(place)[1], f"at {row.images:,} images ({100 * row.share:.0f} %)")
        for place, row in _drawn(views)
    ]
    entries.append(("same", "╌", "the same at the end"))
    return element(
        "ul",
        *[element("li", element("span", mark, class_=role, aria_hidden="true"), text) for role, mark, text in entries],
        class_="legend",
    )


def _drawn(views: StudyViews) -> list[tuple[int, RungFidelity]]:
    """The shares that have a point, each with its place among all."""
    return [(place, row) for place, row in enumerate(views.front.rank_fidelity) if _pairs(views, row)]


def _pairs(views: StudyViews, row: RungFidelity) -> list[tuple[TrialView, float, float]]:
    """Complete trials with their value at the share and their first full one; only positive ones have a place."""
    name = views.learned.name
    pairs = [
        (trial, _placed(rung.values.get(name)), _placed(trial.values.get(name)))
        for trial in views.complete
        for rung in trial.rungs
        if rung.images == row.images
    ]
    return [(trial, low, final) for trial, low, final in pairs if low is not None and final is not None]


def _placed(value: float | None) -> float | None:
    return value if value is not None and math.isfinite(value) and value > 0 else None


def _points(views: StudyViews, place: int, row: RungFidelity) -> dict[str, Any]:
    pairs, role = thinned(_pairs(views, row)), _role(place)
    return {
        "type": "scatter",
        "mode": "markers",
        "meta": role,
        "x": [low for _, low, _ in pairs],
        "y": [final for _, _, final in pairs],
        "customdata": [trial.number for trial, _, _ in pairs],
        "marker": {"symbol": _symbol(place)[0], "size": 9, "color": LIGHT[role], "line": {"width": 1}},
        "hovertemplate": _hover_template(views, row),
    }


def _role(place: int) -> str:
    return f"share{place % len(_SYMBOLS)}"


def _symbol(place: int) -> tuple[str, str]:
    return _SYMBOLS[place % len(_SYMBOLS)]


def _hover_template(views: StudyViews, row: RungFidelity) -> str:
    """Of all points at once: plotly fills in trial and values. A title's own braces would be read as such a place."""
    title = html.escape(title_of(views.learned), quote=False).replace("%{", "{")
    unit = html.escape(views.learned.unit, quote=False).replace("%{", "{")
    return (
        f"<b>Trial %{{customdata}}</b><br>{title} at {row.images:,} images: %{{x:.3~r}} {unit}"
        f"<br>at {row.full_images:,} images: %{{y:.3~r}} {unit}<extra></extra>"
    )
