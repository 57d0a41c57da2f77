"""A weighted sum of objectives: each is counted in parts of its limit, so that units do not matter."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from trainers.errors import UserError

if TYPE_CHECKING:
    from search.views import StudyViews, TrialView


_MOST = 1e9


@dataclass(frozen=True, kw_only=True)
class Weighing:
    """The sum over objectives of weight x value / scale; smaller is better.

    Args:
        weights: Objective -> how much it counts, positive; those that are not named do not count.
        scales: Of the same objectives, in their units; negative for those that are maximised.
    """

    weights: Mapping[str, float]
    scales: Mapping[str, float]

    @classmethod
    def of(cls, views: StudyViews, weights: Mapping[str, float]) -> Weighing:
        """With each objective's limit as its scale, or what the teacher measures where there is no limit.

        Raises:
            UserError: for an objective that the study does not have or has no scale for, or a weight that is not
                positive, or too small or large to be added up.
        """
        goals = {objective.name: objective.goal for objective in views.front.objectives}
        teacher = views.front.teacher.values if views.front.teacher else {}
        scales = {}
        for name, weight in weights.items():
            if name not in goals:
                raise UserError(f"--weight: unknown objective {name!r}. Take one of {', '.join(goals)}.")
            if not 1 / _MOST <= weight <= _MOST:
                raise UserError(
                    f"--weight {name}={weight:g}: a weight must be a number from {1 / _MOST:g} to {_MOST:g}. "
                    f"Leave {name} out where it does not count."
                )
            scale = views.front.limits.get(name) or teacher.get(name)
            if not scale:
                raise UserError(
                    f"--weight {name}: {name} has no limit and the teacher has no value, so nothing says what much of "
                    f"it is. Write `limits: {{{name}: ...}}` into the space, or leave its weight out."
                )
            scales[name] = abs(scale) if goals[name] == "min" else -abs(scale)
        return cls(weights=weights, scales=scales)

    def score(self, trial: TrialView) -> float:
        """The sum for a complete trial."""
        return sum(weight * trial.value(name) / self.scales[name] for name, weight in self.weights.items())

    def error(self, trial: TrialView) -> float:
        """Its standard error."""
        parts = [weight * trial.error(name) / self.scales[name] for name, weight in self.weights.items()]
        return math.hypot(*parts)

    @property
    def formula(self) -> str:
        """The sum as it would be written: ``2 x fid / 80 + size_mb / 0.656``."""
        from search.report.number import number

        terms = [
            f"{'' if weight == 1 else f'{number(weight)} x '}{name} / {number(abs(self.scales[name]))}"
            for name, weight in self.weights.items()
        ]
        signs = ["-" if self.scales[name] < 0 else "+" for name in self.weights]
        first = f"{'-' if signs[0] == '-' else ''}{terms[0]}"
        return " ".join([first, *(f"{sign} {term}" for sign, term in zip(signs[1:], terms[1:], strict=True))])
