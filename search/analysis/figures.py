"""Series over blocks or numbers, as plotly figures in plain data and the page's colours."""

from __future__ import annotations

import html
import math
from collections.abc import Mapping, Sequence
from typing import Any

from search.report.lines import LIGHT, STYLES, role
from search.report.plot import layout, ring

Figure = dict[str, Any]

SYMBOLS = (("circle", "●"), ("square", "■"), ("diamond", "◆"), ("triangle-up", "▲"), ("x", "✖"), ("cross", "✚"))
"""Of a series, for plotly and for a legend."""
_WIDEST = 0.36


def figure(
    axes: Mapping[str, Mapping[str, Any]],
    traces: Sequence[Mapping[str, Any]],
    *,
    levels: Mapping[str, float] | None = None,
) -> Figure:
    """The figure; ``levels`` are drawn across it, each with its name."""
    levels = levels or {}
    is_log = axes["yaxis"].get("type") == "log"
    shapes = [
        {"type": "line", "layer": "below", "xref": "paper", "x0": 0, "x1": 1, "y0": level, "y1": level}
        | {"line": {"dash": "dash", "width": 1.2}}
        for level in levels.values()
    ]
    names = [
        {
            "text": html.escape(name),
            "xref": "paper",
            "x": 1,
            "xanchor": "right",
            # Of a logarithmic axis plotly takes notes, unlike lines, by their exponents.
            "y": math.log10(level) if is_log else level,
            "yanchor": "bottom",
            "showarrow": False,
            "font": {"size": 11},
        }
        for name, level in levels.items()
    ]
    # Small numbers are long.
    roomy = {**axes, "yaxis": {**axes["yaxis"], "automargin": True}}
    return {"data": [*traces, ring()], "layout": {**layout(roomy, shapes=shapes), "annotations": names}}


def series(
    place: int, xs: Sequence[float], ys: Sequence[float | None], *, hover: str, is_line: bool = False, **more: Any
) -> dict[str, Any]:
    """Series number ``place``: its own colour, symbol and dash; ``more`` is plotly's."""
    return {
        "type": "scatter",
        "mode": "lines+markers" if is_line else "markers",
        "meta": role(place),
        "x": list(xs),
        "y": list(ys),
        "marker": {"symbol": _symbol(place)[0], "size": 9, "line": {"width": 1}},
        "line": {"width": 1.6, "dash": STYLES[place % len(STYLES)][0]},
        "hovertemplate": f"{hover}<extra></extra>",
        **more,
    }


def mark(place: int) -> str:
    """The symbol of series number ``place`` as a character."""
    return _symbol(place)[1]


def names_axis(title: str, names: Sequence[str]) -> dict[str, Any]:
    """An axis with a place for each name, at 0, 1, 2 ..."""
    return {
        "title": {"text": html.escape(title, quote=False), "standoff": 8},
        # On a phone plotly turns the names, and then they need more room than numbers do.
        "automargin": True,
        "tickvals": list(range(len(names))),
        "ticktext": [html.escape(name) for name in names],
        "range": [-0.5, len(names) - 0.5],
        "zeroline": False,
        "showgrid": False,
    }


def beside(place: int, count: int) -> float:
    """How far series number ``place`` of ``count`` stands beside the middle of a name."""
    return _WIDEST * (place / (count - 1) - 0.5) if count > 1 else 0.0


def _symbol(place: int) -> tuple[str, str]:
    # When the colours begin again, the symbols are shifted, so that no two series are alike.
    return SYMBOLS[(place + place // len(LIGHT)) % len(SYMBOLS)]
