"""Axes of the figures: title with unit, log where ratios count, ticks at round numbers, room around the points."""

from __future__ import annotations

import html
import math
from collections.abc import Sequence
from typing import Any

from search.report.number import number
from search.views import ObjectiveView

_LOG_SPAN = 30.0  # a cost that spans more than this shows nothing at its small end on a linear axis
_MANTISSAS = ((1.0, 1.5, 2.0, 3.0, 4.0, 5.0, 7.0), (1.0, 2.0, 5.0), (1.0,))


def title_of(objective: ObjectiveView) -> str:
    """The title, or the name where the study gave none."""
    return objective.title or objective.name


def with_unit(objective: ObjectiveView) -> str:
    """The title with its unit in brackets: ``Size [MB]``."""
    return f"{title_of(objective)} [{objective.unit}]" if objective.unit else title_of(objective)


def axis(objective: ObjectiveView, values: Sequence[float], *, limit: float | None) -> dict[str, Any]:
    """The axis of ``objective`` for points at ``values``; a limit just beyond them is brought into view."""
    is_positive = bool(values) and min(values) > 0
    is_log = is_positive and (objective.learned or max(values) / min(values) > _LOG_SPAN)
    settings: dict[str, Any] = {
        "title": {"text": html.escape(with_unit(objective), quote=False), "standoff": 8},
        "zeroline": False,
        "ticks": "outside",
        "ticklen": 4,
    }
    if not values:
        return {**settings, "range": [0, 1], "showticklabels": False}
    low, high = min(values), max(values)
    if limit is not None and high < limit <= high * 1.4:
        high = limit
    if is_log:
        margin = max(0.06 * math.log10(high / low), 0.02)
        low, high = math.log10(low) - margin, math.log10(high) + margin
        ticks = _log_ticks(10**low, 10**high)
        return {**settings, "type": "log", "range": [low, high], "tickvals": ticks, "ticktext": [*map(number, ticks)]}
    if is_positive:
        low = 0.0
    margin = 0.06 * (high - low) or abs(high) or 1.0
    return {**settings, "range": [low if is_positive else low - margin, high + margin]}


def _log_ticks(low: float, high: float) -> list[float]:
    decades = range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1)
    for mantissas in _MANTISSAS:
        ticks = [mantissa * 10.0**decade for decade in decades for mantissa in mantissas]
        inside = [tick for tick in ticks if low <= tick <= high]
        if len(inside) <= 8:
            break
    # A range too narrow for round numbers is labelled at its thirds.
    return inside if len(inside) >= 2 else [float(f"{low + (high - low) * third / 3:.3g}") for third in (0.5, 1.5, 2.5)]
