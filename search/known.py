"""What is known of a candidate before anything is trained: architecture, costs, and the constraints that it breaks."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

from objectives.objective import OBJECTIVES
from trainers.errors import UserError

if TYPE_CHECKING:
    from objectives.device_model import DeviceModel
    from search.space import Space
    from trainers.models.arch_spec import ArchSpec

PREDICTION_SLACK = 1.3
"""A predicted latency must exceed its limit by this factor before a candidate is turned away untrained."""


@dataclass(frozen=True)
class Known:
    """A candidate without training.

    Args:
        spec: The architecture that comes out.
        costs: Objective name -> value, for the objectives that can be computed or predicted.
        reasons: Why it is not worth training; empty when it is.
        is_possible: Whether it can be built and meets the constraints; only limits can be against it then.
    """

    spec: ArchSpec
    costs: Mapping[str, float]
    reasons: tuple[str, ...]
    is_possible: bool = True


@dataclass(frozen=True)
class Foresight:
    """Answers what is known of any candidate, in milliseconds (``tests/benchmarks/planning.py``).

    Args:
        limits: Objective name -> what still interests; the teacher's costs where the space says nothing.
    """

    space: Space
    teacher: ArchSpec
    device_model: DeviceModel
    limits: Mapping[str, float]

    def of(self, candidate: Mapping[str, Any]) -> Known:
        """The architecture, costs and broken constraints of a candidate.

        A stage that cannot be applied to what the stages before it made is a reason like any other.
        """
        recipe = self.space.fill(candidate)
        try:
            spec = recipe.plan(self.teacher)
        except UserError as error:
            return Known(self.teacher, {}, (str(error),), is_possible=False)
        costs = self.costs(spec)
        violations = self.space.violations(candidate, costs)
        broken = [each.text for each, excess in zip(self.space.constraints, violations, strict=True) if excess]
        reasons = (*(f"breaks the constraint {text!r}" for text in broken), *self._beyond(costs))
        return Known(spec, costs, reasons, is_possible=not broken)

    def costs(self, spec: ArchSpec) -> dict[str, float]:
        """Every objective that is known without training."""
        predicted = {
            OBJECTIVES.name_of(objective): objective.predict(spec, self.device_model)
            for objective in self.space.objectives
        }
        return {name: value for name, value in predicted.items() if value is not None}

    def _beyond(self, costs: Mapping[str, float]) -> list[str]:
        return [
            f"{name} {costs[name]:.4g} is beyond its limit {self.limits[name]:.4g}"
            for name, highest in self._highest.items()
            if name in costs and costs[name] > highest
        ]

    @cached_property
    def _highest(self) -> dict[str, float]:
        """What the costs known of a candidate may be at most."""
        exact = {OBJECTIVES.name_of(objective) for objective in self.space.objectives if objective.is_exact}
        of_teacher = self.costs(self.teacher)
        highest = {}
        for name, limit in self.limits.items():
            if name not in exact and name not in self.space.limits:
                # The teacher's own, as measured. If too much is predicted for it, then for its students as well.
                limit = max(limit, of_teacher.get(name, limit))
            highest[name] = limit if name in exact else limit * PREDICTION_SLACK
        return highest
