"""Bounds on objectives as a command line takes them: ``size_mb=1.5``."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from trainers.errors import UserError

if TYPE_CHECKING:
    from search.views import ObjectiveView


def read_bounds(texts: Sequence[str], flag: str) -> dict[str, float]:
    """Bounds by objective from ``OBJECTIVE=NUMBER`` texts. ``UserError`` where one is written otherwise."""
    bounds: dict[str, float] = {}
    for text in texts:
        name, equals, number = (part.strip() for part in text.partition("="))
        try:
            value = float(number) if name and equals else math.nan
        except ValueError:
            value = math.nan
        if not math.isfinite(value):
            raise UserError(f"{flag} {text!r} is not OBJECTIVE=NUMBER. Write, for example, {flag} size_mb=1.5")
        if name in bounds:
            raise UserError(f"{flag} {name} is given twice ({bounds[name]:g} and {value:g}). Keep one of the two.")
        bounds[name] = value
    return bounds


def check_bounds(objectives: Sequence[ObjectiveView], bounds: Mapping[str, float], *, flag: str, goal: str) -> None:
    """``UserError`` where a bound is of another objective than one that ``goal`` makes smaller or larger."""
    import difflib

    goals = {objective.name: objective.goal for objective in objectives}
    for name, bound in bounds.items():
        if name not in goals:
            close = difflib.get_close_matches(name, goals, n=1)
            hint = f" Did you mean {close[0]!r}?" if close else " Take one of these."
            raise UserError(f"{flag}: unknown objective {name!r}; this study has {', '.join(goals)}.{hint}")
        if not math.isfinite(bound):
            raise UserError(f"{flag} {name}={bound}: a bound must be a finite number. Leave it out for no bound.")
        if goals[name] != goal:
            other = "--min" if flag == "--max" else "--max"
            wish = "larger is better" if goals[name] == "max" else "smaller is better"
            raise UserError(
                f"{flag} {name}={bound:g}: of {name} {wish}, so only {other} bounds it. Use {other} {name}=..."
            )
