"""Mixed knobs as rows of numbers, and as the coordinates in which a Gaussian process measures distance.

Legend: N candidates, D knobs, F features. A row holds, for each knob, its position between its ends (0 to 1, by
logarithm for a log knob) or the number of its choice; NaN where the candidate does not have the knob.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray
from optuna.distributions import BaseDistribution, CategoricalDistribution, FloatDistribution, IntDistribution

Array = NDArray[np.float64]

_FEW = 16
"""Whole numbers of a knob on which others may depend: how many layers there are, say."""
_SAME = 1e-9
"""Positions closer than this are the same, whatever way they were computed."""


@dataclass(frozen=True, kw_only=True)
class KnobSpace:
    """The knobs of a search and when each exists.

    Args:
        distributions: Knob -> Optuna's distribution.
        conditions: Knob -> another knob, a choice or a few whole numbers, and its positions at which the former
            exists.
    """

    distributions: Mapping[str, BaseDistribution]
    conditions: Mapping[str, tuple[str, frozenset[float]]] = field(default_factory=dict)

    @classmethod
    def seen(cls, distributions: Mapping[str, BaseDistribution], candidates: Sequence[Mapping[str, Any]]) -> KnobSpace:
        """The space that explains which knobs each of the ``candidates`` has."""
        found = cls(distributions=distributions)
        conditions = {}
        for name in distributions:
            condition = found._explanation(name, candidates)
            if condition is not None:
                conditions[name] = condition
        return cls(distributions=distributions, conditions=conditions)

    @cached_property
    def names(self) -> list[str]:
        """Each knob after the one on which it depends."""
        ordered: list[str] = []

        def place(name: str) -> None:
            if name not in ordered:
                if name in self.conditions:
                    place(self.conditions[name][0])
                ordered.append(name)

        for name in self.distributions:
            place(name)
        return ordered

    @cached_property
    def counts(self) -> NDArray[np.int64]:
        """How many choices each knob has; 0 for numbers."""
        return np.array([_choices(self.distributions[name]) for name in self.names], dtype=np.int64)

    def rows(self, candidates: Sequence[Mapping[str, Any]]) -> Array:
        """The candidates as numbers. Values outside the ends lie outside 0 to 1."""
        knobs = list(zip(self.names, self._positions_of, strict=True))
        rows = [
            [position_of(candidate[name]) if name in candidate else math.nan for name, position_of in knobs]
            for candidate in candidates
        ]
        return np.array(rows, dtype=float).reshape(len(candidates), len(knobs))

    @cached_property
    def _positions_of(self) -> list[Callable[[Any], float]]:
        return [_position_of(self.distributions[name]) for name in self.names]

    @cached_property
    def _values_at(self) -> list[Callable[[float], Any]]:
        return [_value_at(self.distributions[name]) for name in self.names]

    def candidate(self, row_D: Array) -> dict[str, Any]:
        """The knobs that a row has, with their values."""
        return {
            name: value_at(position)
            for name, value_at, position in zip(self.names, self._values_at, row_D.tolist(), strict=True)
            if not math.isnan(position)
        }

    def spread(self, unit_ND: Array) -> Array:
        """Numbers of the unit cube, evenly over the space: rows that are steps, choices, and conditions met."""
        rows = np.asarray(unit_ND, float).copy()
        is_choice = self.counts > 0
        rows[:, is_choice] = np.floor(rows[:, is_choice] * self.counts[is_choice])
        return self.settled(rows)

    def settled(self, rows_ND: Array) -> Array:
        """Rows on allowed values only, without knobs whose condition is not met; missing ones that exist are filled."""
        rows = np.where(np.isnan(rows_ND), 0.5, rows_ND)
        for column, name in enumerate(self.names):
            rows[:, column] = _snapped(self.distributions[name], rows[:, column])
        for column, name in enumerate(self.names):
            if name in self.conditions:
                other, allowed = self.conditions[name]
                positions = rows[:, self.names.index(other), None]
                is_active = (np.abs(positions - np.array(sorted(allowed))) < _SAME).any(axis=1)
                rows[~is_active, column] = np.nan
        return rows

    def filled(self, rows_ND: Array) -> Array:
        """The rows with the middle of each knob that exists and has no value yet."""
        return np.where(np.isnan(rows_ND), self.settled(rows_ND), rows_ND)

    @cached_property
    def groups(self) -> NDArray[np.int64]:
        """For each feature the number of its length scale: one per knob, one more for each condition."""
        groups: list[int] = []
        for count in self.counts:
            groups += [max(groups, default=-1) + 1] * (int(count) if count > 2 else 1)
        for name in self.names:
            if name in self.conditions:
                groups.append(max(groups) + 1)
        return np.array(groups, dtype=np.int64)

    def features(self, rows_ND: Array) -> Array:
        """Coordinates: two different choices are as far apart as the ends of a number.

        A knob that is absent sits at its middle, so its value does not matter; that it is absent is a coordinate.
        """
        columns = []
        for column, count in enumerate(self.counts):
            values = rows_ND[:, column]
            is_absent = np.isnan(values)
            if count > 2:
                one_hot = (values[:, None] == np.arange(count)) / math.sqrt(2)
                columns.append(np.where(is_absent[:, None], 1 / count / math.sqrt(2), one_hot))
            else:
                columns.append(np.where(is_absent, 0.5, values)[:, None])
        for column, name in enumerate(self.names):
            if name in self.conditions:
                columns.append(np.isnan(rows_ND[:, column])[:, None].astype(float))
        return np.hstack(columns)

    def tried(self, final: Sequence[Mapping[str, Any]], rest: Sequence[Mapping[str, Any]]) -> Tried:
        """These candidates, to be told from new ones.

        Args:
            final: They lack the knobs that do not exist beside what they have, so no other value of those is new.
            rest: They may lack knobs that nobody has asked for yet.
        """
        parts = []
        for candidates, is_final in ((final, True), (rest, False)):
            rows_ND = self.rows(candidates)
            has_ND = ~np.isnan(rows_ND)
            for has_D in np.unique(has_ND, axis=0):
                asked_D = has_D if is_final else np.ones_like(has_D)
                alike_ND = rows_ND[(has_ND == has_D).all(axis=1)]
                parts.append((asked_D, frozenset(row.tobytes() for row in _rounded(alike_ND[:, asked_D]))))
        return Tried(parts)

    def _explanation(self, name: str, candidates: Sequence[Mapping[str, Any]]) -> tuple[str, frozenset[float]] | None:
        """The first other knob whose value tells whether ``name`` is there; None where none does or it always is."""
        has = [name in candidate for candidate in candidates]
        if all(has):
            return None
        # Choices first: they are what knobs mostly depend on.
        for other, every in sorted(self._every_position.items(), key=lambda each: self._is_number(each[0])):
            # The condition must come first, or two knobs could wait for each other.
            if other == name:
                continue
            if any(is_there and other not in candidate for is_there, candidate in zip(has, candidates, strict=True)):
                continue
            where_there: set[float] = set()
            where_absent: set[float] = set()
            position_of = _position_of(self.distributions[other])
            for is_there, candidate in zip(has, candidates, strict=True):
                if other in candidate:
                    (where_there if is_there else where_absent).add(position_of(candidate[other]))
            is_earlier = sum(other in candidate for candidate in candidates) > sum(has)
            if not where_there & where_absent and where_absent and is_earlier:
                return other, every - where_absent
        return None

    @cached_property
    def _every_position(self) -> dict[str, frozenset[float]]:
        """The positions of each knob that has few."""
        found = {}
        for name, distribution in self.distributions.items():
            if isinstance(distribution, CategoricalDistribution):
                found[name] = frozenset(map(float, range(len(distribution.choices))))
            elif isinstance(distribution, IntDistribution):
                values = range(distribution.low, distribution.high + 1, distribution.step)
                if len(values) <= _FEW:
                    found[name] = frozenset(map(_position_of(distribution), values))
        return found

    def _is_number(self, name: str) -> bool:
        return not isinstance(self.distributions[name], CategoricalDistribution)


@dataclass(frozen=True)
class Tried:
    """Candidates as they can be looked up.

    Args:
        parts: The knobs that count, and what those candidates that have these alone hold there.
    """

    parts: Sequence[tuple[NDArray[np.bool_], frozenset[bytes]]]

    def holds_N(self, rows_ND: Array) -> NDArray[np.bool_]:
        """Which rows are among them."""
        held_N = np.zeros(len(rows_ND), dtype=bool)
        for asked_D, known in self.parts:
            held_N |= np.array([row.tobytes() in known for row in _rounded(rows_ND[:, asked_D])], dtype=bool)
        return held_N


def _rounded(rows_ND: Array) -> Array:
    """Positions in whole numbers of ``_SAME``, and no negative zero."""
    return np.asarray(np.round(rows_ND / _SAME) + 0.0)


def _choices(distribution: BaseDistribution) -> int:
    return len(distribution.choices) if isinstance(distribution, CategoricalDistribution) else 0


def _ends(distribution: FloatDistribution | IntDistribution) -> tuple[float, float]:
    if distribution.log:
        return math.log(distribution.low), math.log(distribution.high)
    return float(distribution.low), float(distribution.high)


def _position_of(distribution: BaseDistribution) -> Callable[[Any], float]:
    """What turns values of this knob into positions."""
    if isinstance(distribution, CategoricalDistribution):
        try:
            numbers = {choice: float(distribution.to_internal_repr(choice)) for choice in distribution.choices}
        except TypeError:
            # Optuna allows lists among the choices, with a warning.
            return lambda choice: float(distribution.to_internal_repr(choice))
        # Optuna knows what else is a choice, another NaN say, and what is none.
        return lambda choice: numbers[choice] if choice in numbers else float(distribution.to_internal_repr(choice))
    assert isinstance(distribution, FloatDistribution | IntDistribution)
    low, high = _ends(distribution)
    is_log, span = distribution.log, high - low
    if span <= 0:
        return lambda value: 0.5
    return lambda value: ((math.log(value) if is_log else float(value)) - low) / span


def _value_at(distribution: BaseDistribution) -> Callable[[float], Any]:
    """What turns positions into values of this knob."""
    if isinstance(distribution, CategoricalDistribution):
        choices = distribution.choices
        return lambda position: choices[int(position)]
    assert isinstance(distribution, FloatDistribution | IntDistribution)
    low, high = _ends(distribution)
    first, last, step, is_log = distribution.low, distribution.high, distribution.step, distribution.log
    is_stepped = step is not None and not is_log
    as_written: Callable[[float], Any] = round if isinstance(distribution, IntDistribution) else float

    def value_at(position: float) -> Any:
        number = low + position * (high - low)
        number = min(max(math.exp(number) if is_log else number, first), last)
        if is_stepped:
            number = first + round((number - first) / step) * step  # type: ignore[operator]
        return as_written(number)

    return value_at


def _snapped(distribution: BaseDistribution, positions_N: Array) -> Array:
    """The nearest positions that are allowed values."""
    if isinstance(distribution, CategoricalDistribution):
        return np.clip(np.rint(positions_N), 0, len(distribution.choices) - 1)
    assert isinstance(distribution, FloatDistribution | IntDistribution)
    if distribution.single():
        return np.full(len(positions_N), 0.5)
    low, high = _ends(distribution)
    positions = np.clip(positions_N, 0.0, 1.0)
    if distribution.log and isinstance(distribution, IntDistribution):
        return (
            np.log(np.clip(np.rint(np.exp(low + positions * (high - low))), distribution.low, distribution.high)) - low
        ) / (high - low)
    if distribution.step is not None and not distribution.log:
        steps = (high - low) / distribution.step
        return np.rint(positions * steps) / steps
    return positions
