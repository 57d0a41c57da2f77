"""What all figures of the page have in common: their layout, and the ring around the chosen trial."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, TypeVar

from search.report.palette import LIGHT

T = TypeVar("T")
MOST_POINTS = 250


def layout(axes: Mapping[str, Mapping[str, Any]], *, shapes: Sequence[Mapping[str, Any]] = ()) -> dict[str, Any]:
    """The layout around ``axes``, which are ``xaxis`` and ``yaxis``."""
    return {
        **axes,
        "shapes": list(shapes),
        "margin": {"l": 58, "r": 14, "t": 10, "b": 50},
        "showlegend": False,
        "hovermode": "closest",
        "hoverlabel": {"align": "left"},
        "height": 340,
    }


def thinned(items: Sequence[T]) -> Sequence[T]:
    """At most ``MOST_POINTS`` of them, evenly: more are a grey field, and seconds of drawing.

    >>> len(thinned(range(250))), thinned(range(750))[:4]
    (250, range(0, 12, 3))
    """
    return items[:: -(-len(items) // MOST_POINTS) or 1]


def ring() -> dict[str, Any]:
    """The trace that the script moves to the chosen trial; empty until then."""
    return {
        "type": "scatter",
        "mode": "markers",
        "meta": "chosen",
        "x": [],
        "y": [],
        "marker": {"symbol": "circle-open", "size": 17, "color": LIGHT["chosen"], "line": {"width": 2}},
        "hoverinfo": "skip",
    }


def line(role: str, xs: Sequence[float], ys: Sequence[float], **style: Any) -> dict[str, Any]:
    """A line that answers to no pointer; ``style`` is plotly's."""
    return {
        "type": "scatter",
        "mode": "lines",
        "meta": role,
        "x": list(xs),
        "y": list(ys),
        "line": {"color": LIGHT[role], **style},
        "hoverinfo": "skip",
    }
