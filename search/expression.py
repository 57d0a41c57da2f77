"""Constraints such as ``prune.ratio.mid >= prune.ratio.down_0``: parsed and evaluated without ``eval``."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from dataclasses import dataclass

from search import _expression_nodes as nodes
from search._expression_parser import parsed

Value = str | float | None

# A constraint that is just missed (a < b with a == b) is missed by this much, never by 0, which would mean it holds.
SMALLEST_VIOLATION = sys.float_info.epsilon
# How far a division by zero is from holding cannot be said; any finite number keeps samplers working.
UNDEFINED_VIOLATION = 1.0


@dataclass(frozen=True)
class Constraint:
    """A condition between knobs, fixed values and known costs.

    Args:
        text: As written.
        condition: What it means.
    """

    text: str
    condition: nodes.Condition

    @classmethod
    def parse(cls, text: str) -> Constraint:
        """The constraint that ``text`` writes.

        Raises:
            ExpressionError: with the column (from 1) and what was expected there.
        """
        return cls(text, parsed(text))

    @property
    def names(self) -> tuple[str, ...]:
        """Every name once, in the order written."""
        return tuple(dict.fromkeys(nodes.names(self.condition)))

    @property
    def number_names(self) -> tuple[str, ...]:
        """The names that must stand for numbers: they are calculated with, or asked whether they are larger."""
        return tuple(dict.fromkeys(nodes.number_names(self.condition)))

    @property
    def text_comparisons(self) -> tuple[tuple[str, str], ...]:
        """Pairs of a name and the quoted text it is compared with."""
        return tuple(dict.fromkeys(nodes.text_comparisons(self.condition)))

    def holds(self, values: Mapping[str, Value]) -> bool:
        """Whether it is met; a division by zero does not meet it.

        A constraint with a name that has no value holds: the knob is not active in this candidate, so the option that
        the constraint is about does not exist. Refusing such a candidate would forbid the whole branch of the choice.
        """
        return self.violation(values) == 0

    def violation(self, values: Mapping[str, Value]) -> float:
        """0 when it holds, otherwise how far it is from holding: sums over ``and``, the least over ``or``.

        >>> Constraint.parse("size_mb <= 2 and mid > 0.1").violation({"size_mb": 2.5, "mid": 0.2})
        0.5
        """
        if any(values.get(name) is None for name in self.names):
            return 0.0
        return _violation(self.condition, values)


def _violation(condition: nodes.Condition, values: Mapping[str, Value]) -> float:
    if isinstance(condition, nodes.All):
        return sum(_violation(part, values) for part in condition.parts)
    if isinstance(condition, nodes.AnyOf):
        least = UNDEFINED_VIOLATION
        for index, part in enumerate(condition.parts):
            found = _violation(part, values)
            least = found if index == 0 else min(least, found)
        return least
    try:
        left, right = nodes.amount(condition.left, values), nodes.amount(condition.right, values)
    except nodes.UndefinedError:
        return UNDEFINED_VIOLATION
    return _distance(left, condition.operator, right)


def _distance(left: str | float, operator: nodes.Comparison, right: str | float) -> float:
    if isinstance(left, str) or isinstance(right, str):
        if operator not in ("==", "!="):
            return UNDEFINED_VIOLATION
        return 0.0 if (left == right) == (operator == "==") else 1.0
    holds = {
        "<": left < right,
        "<=": left <= right,
        ">": left > right,
        ">=": left >= right,
        "==": left == right,
        "!=": left != right,
    }
    if holds[operator]:
        return 0.0
    if operator == "!=":
        return 1.0
    return min(max(abs(left - right), SMALLEST_VIOLATION), sys.float_info.max)
