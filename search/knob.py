"""A knob: one value that a space leaves open, with what it may be and when it exists."""

from __future__ import annotations

import math
import random
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

Value = str | int | float | bool | None

# Numbers written in binary do not meet a step exactly.
_STEP_TOLERANCE = 1e-8
# An int knob with more values than this is tried at this many of them when a space is checked.
_MAX_PROBES = 32
# Irregular on purpose, so that a float knob on an option that takes whole numbers only is found out.
_INNER_PART = 0.6180339887


@dataclass(frozen=True, kw_only=True)
class Knob:
    """A value to be chosen by the search.

    Args:
        path: Where it stands in the recipe: ``prune.ratio.mid``.
        kind: ``float`` and ``int`` use the fields ``low`` to ``step``, ``choice`` uses ``choices``.
        low, high: Both ends are allowed. With a step, ``high`` is the last value that steps reach.
        log: Equal ratios rather than equal distances count the same.
        step: Distance between allowed values; None allows every number, or every whole number.
        choices: The label of each item: the item itself, the name it begins with, or its JSON text.
        condition: (path, label) of each choice around it; the knob exists only when all of them are chosen.
    """

    path: str
    kind: Literal["float", "int", "choice"]
    low: float = 0.0
    high: float = 0.0
    log: bool = False
    step: float | None = None
    choices: tuple[Value, ...] = ()
    condition: tuple[tuple[str, Value], ...] = ()

    def is_active(self, candidate: Mapping[str, Value]) -> bool:
        """Whether the choices made in ``candidate`` bring this knob about."""
        return all(path in candidate and is_same(candidate[path], label) for path, label in self.condition)

    def accepted(self, value: object) -> Value:
        """``value`` as the type of this knob.

        Raises:
            ValueError: saying what is allowed, when it is out of range.
        """
        if self.kind == "choice":
            for label in self.choices:
                if is_same(label, value):
                    return label
            raise ValueError(f"must be one of {', '.join(map(repr, self.choices))}, got {value!r}")
        number = self._nearest(value)
        if number is None or not self.low <= number <= self.high:
            raise ValueError(f"must be in {self}, got {value!r}")
        return self._typed(number)

    def extremes(self) -> tuple[Value, ...]:
        """Both ends, or every choice."""
        if self.kind == "choice":
            return self.choices
        return (self._typed(self.low),) if self.low == self.high else (self._typed(self.low), self._typed(self.high))

    def probes(self) -> tuple[Value, ...]:
        """The extremes and values between them: where these are allowed, all may be taken to be."""
        if self.kind == "choice" or self.low == self.high:
            return self.extremes()
        if self.kind == "float" and self.step is None:
            return (*self.extremes(), self.low + _INNER_PART * (self.high - self.low))
        step = self.step or 1
        count = round((self.high - self.low) / step) + 1
        tried = min(count, _MAX_PROBES)
        steps = dict.fromkeys(round(index * (count - 1) / (tried - 1)) for index in range(tried))
        return tuple(self._typed(self.low + index * step) for index in steps)

    def random(self, generator: random.Random) -> Value:
        """A value drawn evenly (in logarithms for ``log``)."""
        if self.kind == "choice":
            return generator.choice(self.choices)
        if self.step is not None or (self.kind == "int" and not self.log):
            step = self.step or 1
            return self._typed(self.low + step * generator.randint(0, round((self.high - self.low) / step)))
        if not self.log:
            return generator.uniform(self.low, self.high)
        # Half a unit on each side gives the two ends of an int knob their share.
        margin = 0.5 if self.kind == "int" else 0.0
        drawn = math.exp(generator.uniform(math.log(self.low - margin), math.log(self.high + margin)))
        return self._typed(min(max(drawn, self.low), self.high))

    def written(self) -> dict[str, Any]:
        """As in YAML, with labels in place of items."""
        if self.kind == "choice":
            return {"choice": list(self.choices)}
        written: dict[str, Any] = {self.kind: [self._typed(end) for end in (self.low, self.high)]}
        if self.log:
            written["log"] = True
        if self.step is not None:
            written["step"] = self._typed(self.step)
        return written

    def __str__(self) -> str:
        from search._yaml import flow_text

        return flow_text(self.written())

    def _typed(self, number: float) -> int | float:
        # 12 digits hide what binary numbers add to 0.1 * 3, and stay far inside the tolerance of a step.
        return round(number) if self.kind == "int" else round(number, 12) if self.step is not None else float(number)

    def _nearest(self, value: object) -> float | None:
        """The number that ``value`` is, rid of what binary numbers add to a step; None when it is not a step."""
        if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
            return None
        step = self.step or (1 if self.kind == "int" else None)
        if step is None:
            return float(value)
        steps = (value - self.low) / step
        return self._typed(self.low + round(steps) * step) if abs(steps - round(steps)) < _STEP_TOLERANCE else None


def is_same(one: object, other: object) -> bool:
    """Whether two labels are one; ``true`` and 1 are not."""
    return one == other and isinstance(one, bool) == isinstance(other, bool)
