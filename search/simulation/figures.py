"""A comparison of simulated searches as two plotly figures in plain data: how far, and how soon."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from search.report.axes import axis
from search.report.lines import LIGHT, STYLES, role
from search.report.number import number
from search.report.plot import layout, ring
from search.report.volume import is_share_of
from search.simulation.contest import Contest, Spread, Standing
from search.simulation.wording import ranked
from search.views import ObjectiveView

Figure = dict[str, Any]

_MOST_STEPS = 200
_UNITS = ((7200.0, 3600.0, "h"), (120.0, 60.0, "min"), (0.0, 1.0, "s"))


def figures(contest: Contest) -> list[Figure]:
    """Hypervolume against full trainings, and time to the aim against workers where a sampler came so far."""
    is_reached = any(
        math.isfinite(Spread.of(seconds).median)
        for standing in contest.standings
        for seconds in standing.seconds.values()
    )
    return [_progress(contest), *([_waiting(contest)] if is_reached else [])]


def _progress(contest: Contest) -> Figure:
    step = max(1, contest.trainings // _MOST_STEPS)
    xs = [*range(0, contest.trainings, step), contest.trainings]
    traces, highest = [], contest.stand_in.own_volume
    for place, standing in enumerate(ranked(contest)):
        spreads = [standing.volume_at(x) for x in xs]
        highest = max(highest, spreads[-1].high)
        traces += _banded(place, standing, xs, spreads, mode="lines", hover="%{x} full trainings: %{y:.3f}")
    unit = "share of the region" if is_share_of(contest.stand_in.views) else "in units of the limits"
    volume = ObjectiveView(name="", title="Hypervolume", unit=unit)
    axes = {
        "xaxis": axis(ObjectiveView(name="", title="Full trainings spent"), [0.0, *xs], limit=None)
        | {"range": [0, contest.trainings]},
        "yaxis": axis(volume, [0.0, highest], limit=None) | {"range": [0, 1.06 * highest or 1.0]},
    }
    own = contest.stand_in.own_volume
    line = {"type": "line", "layer": "below", "xref": "paper", "x0": 0, "x1": 1, "y0": own, "y1": own}
    shapes = [{**line, "line": {"dash": "dash", "width": 1.4}}] if own else []
    return {"data": [*traces, ring()], "layout": layout(axes, shapes=shapes)}


def _waiting(contest: Contest) -> Figure:
    spreads = [[Spread.of(seconds) for seconds in standing.seconds.values()] for standing in ranked(contest)]
    reached = [end for each in spreads for spread in each for end in (spread.low, spread.high) if math.isfinite(end)]
    _, unit, name = next(each for each in _UNITS if max(reached, default=0.0) >= each[0])
    counts = [float(count) for count in contest.standings[0].seconds]
    traces = []
    for place, (standing, each) in enumerate(zip(ranked(contest), spreads, strict=True)):
        hover = "%{x} workers: %{y:.3g} " + name
        traces += _banded(place, standing, counts, each, mode="lines+markers", hover=hover, unit=unit)
    time = ObjectiveView(name="", title="Time to the study's front", unit=name, learned=True)
    axes = {
        "xaxis": axis(ObjectiveView(name="", title="Workers", learned=True), counts, limit=None)
        | {"tickvals": counts, "ticktext": [number(count) for count in counts]},
        "yaxis": axis(time, [value / unit for value in reached], limit=None),
    }
    return {"data": [*traces, ring()], "layout": layout(axes)}


def _banded(
    place: int,
    standing: Standing,
    xs: Sequence[float],
    spreads: Sequence[Spread],
    *,
    mode: str,
    hover: str,
    unit: float = 1.0,
) -> list[dict[str, Any]]:
    """The median, and a band between the ends where every seed came so far."""
    style = place % len(STYLES)
    shape = "hv" if mode == "lines" else "linear"
    band = [spread for spread in spreads if math.isfinite(spread.high)]
    edge = {
        "type": "scatter",
        "mode": "lines",
        "meta": role(place),
        "x": [x for x, spread in zip(xs, spreads, strict=True) if math.isfinite(spread.high)],
        "line": {"width": 0, "shape": shape},
        "hoverinfo": "skip",
    }
    return [
        {**edge, "y": [spread.low / unit for spread in band]},
        {**edge, "y": [spread.high / unit for spread in band], "fill": "tonexty", "fillcolor": f"{LIGHT[style]}1A"},
        {
            "type": "scatter",
            "mode": mode,
            "meta": role(place),
            "x": list(xs),
            "y": [spread.median / unit if math.isfinite(spread.median) else None for spread in spreads],
            "line": {"width": 2.2, "shape": shape, "dash": STYLES[style][0]},
            "marker": {"size": 7, "line": {"width": 1}},
            "hovertemplate": f"<b>{standing.entrant.name}</b><br>{hover}<extra></extra>",
        },
    ]
