"""Candidates that may be tried: costs known beforehand, limits and constraints are met before anything is trained.

Legend: N candidates, D knobs, K known objectives.
"""

from __future__ import annotations

import logging
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.stats import qmc

from search.samplers._covariance import trends
from search.samplers._knob_space import KnobSpace

Array = NDArray[np.float64]
Costs = Callable[[Mapping[str, Any]], Mapping[str, float] | None]

_LOGGER = logging.getLogger(__name__)

_POOL = 1024
_DRAWN = 4096
_PRICED_AT_ONCE = 32
_TOO_FEW = 64
_REPAIRS = 24
_TRIES = 256
_COST_RIDGE = 1e-5
"""A part of the number of rows: only enough that choices, whose features add up to 1, can be told apart."""


class UnseenKnobError(Exception):
    """``costs`` asks for a knob that its candidate lacks: no trial has shown yet when it exists."""

    def __init__(self, knob: str) -> None:
        super().__init__(f"costs asks for the knob {knob!r}, of which no trial has shown yet when it exists")
        self.knob = knob


@dataclass(frozen=True, kw_only=True)
class Problem:
    """What is asked of candidates.

    Args:
        fixed: Knobs that are not searched; ``costs`` is told them too.
        costs: Candidate -> what is known before training; None or NaN when it breaks a constraint.
        objectives: Names in the order of the study.
        limits: Name -> the most that still interests (after ``sign``); names that are no objective are heeded too.
        sign: Name -> -1 for what is maximised.
    """

    fixed: Mapping[str, Any] = field(default_factory=dict)
    costs: Costs | None = None
    objectives: Sequence[str] = ()
    limits: Mapping[str, float] = field(default_factory=dict)
    sign: Mapping[str, float] = field(default_factory=dict)


class Allowed:
    """Draws and mutates candidates that a problem allows; the same ones for the same space and seed."""

    def __init__(self, space: KnobSpace, problem: Problem | None = None, *, seed: int) -> None:
        self.space = space
        self.problem = problem or Problem()
        self._cache: dict[bytes, tuple[Array, float]] = {}
        self._seed = seed
        self.known = self._known_among(self.problem.objectives)
        none = np.empty((0, len(space.names)))
        self._priced = (none, none)

    def costs_NK(self, rows_ND: Array) -> Array:
        """Known objectives of each row."""
        return np.array([self._looked_up(row)[0] for row in rows_ND]).reshape(len(rows_ND), len(self.known))

    def estimated_costs_NK(self, rows_ND: Array, beside_ND: Array) -> Array:
        """Known objectives of each row, judged by those of a row beside it and by what each knob does to the pool's.

        Nothing is asked of ``costs`` where it is known already for ``beside_ND``.
        """
        change = (self._cost_features(rows_ND) - self._cost_features(beside_ND)) @ self._cost_slopes
        costs = self.costs_NK(beside_ND)
        return np.where(self._is_log_cost, costs * np.exp(np.where(self._is_log_cost, change, 0.0)), costs + change)

    @cached_property
    def _is_log_cost(self) -> NDArray[np.bool_]:
        """Costs are products of what the knobs do to them, where they are positive."""
        costs = self.costs_NK(self.pool_ND)
        return np.asarray((costs[np.isfinite(costs).all(axis=1)] > 0).all(axis=0))

    @cached_property
    def _cost_slopes(self) -> Array:
        """What each of the ``_cost_features`` adds to each cost, or to its logarithm (ridge regression)."""
        costs = self.costs_NK(self.pool_ND)
        is_known = np.isfinite(costs).all(axis=1)
        features = self._cost_features(self.pool_ND[is_known])
        values = costs[is_known]
        values = np.where(self._is_log_cost, np.log(np.where(self._is_log_cost, values, 1.0)), values)
        gram = features.T @ features + _COST_RIDGE * max(is_known.sum(), 1) * np.eye(features.shape[1])
        return np.asarray(np.linalg.solve(gram, features.T @ values))

    def _cost_features(self, rows_ND: Array) -> Array:
        features = self.space.features(rows_ND)
        return np.hstack([np.ones((len(rows_ND), 1)), trends(features, np.ones(features.shape[1]))])

    def violations_N(self, rows_ND: Array) -> Array:
        """By how much, relative to its limit, each row is beyond; 0 is allowed, infinite breaks a constraint."""
        return np.array([self._looked_up(row)[1] for row in rows_ND])

    @cached_property
    def pool_ND(self) -> Array:
        """Rows spread evenly over what is allowed (scrambled Sobol)."""
        within_ND = self._first_within(_POOL)
        return within_ND if len(within_ND) >= _TOO_FEW else self._repaired()

    def design_D(self, number: int) -> Array | None:
        """Row ``number`` of the start-up design: of the pool, but priced no further than that takes; None after it."""
        within_ND = self._first_within(min(number + 1, _POOL))
        if number < len(within_ND):
            return within_ND[number]
        return self.pool_ND[number] if number < len(self.pool_ND) else None

    def within(self, rows_ND: Array) -> Array:
        """Those of the rows that are allowed."""
        return rows_ND[self.violations_N(rows_ND) <= 0]

    def changed(self, parents_ND: Array, count: int, *, step: float, generator: np.random.Generator) -> Array:
        """Rows near the parents."""
        return self.neighbours(
            parents_ND[generator.integers(len(parents_ND), size=count)], step=step, generator=generator
        )

    def neighbours(self, rows_ND: Array, *, step: float, generator: np.random.Generator) -> Array:
        """One near each row: about a fifth of its knobs are changed by ``step``, at least one."""
        count, width = rows_ND.shape
        changes = generator.random(rows_ND.shape) < max(0.2, 1 / width)
        changes[np.arange(count), generator.integers(width, size=count)] = True
        moved = rows_ND + step * generator.standard_normal(rows_ND.shape)
        # The best value of many a knob is one of its ends. Half of the moves beyond one stop there, the others are
        # reflected, or what lies close to it would never be tried.
        reflected = np.abs(moved)
        reflected = np.where(reflected > 1, np.maximum(2 - reflected, 0.0), reflected)
        moved = np.where(generator.random(rows_ND.shape) < 0.5, np.clip(moved, 0.0, 1.0), reflected)
        anew = np.floor(generator.random(rows_ND.shape) * np.maximum(self.space.counts, 1))
        changed = np.where(self.space.counts > 0, anew, moved)
        return self.space.settled(np.where(changes, changed, rows_ND))

    def _known_among(self, objectives: Sequence[str]) -> list[str]:
        """The objectives that ``costs`` gives for the first candidate drawn that can be built."""
        if self.problem.costs is None:
            return []
        for row_D in self._everything_drawn(np.random.default_rng(0)):
            costs = self._costs_of(row_D)
            if costs is None:
                continue
            if not {*objectives, *self.problem.limits} & set(costs):
                raise ValueError(
                    f"costs gives {', '.join(costs)}, but the objectives are called {', '.join(objectives)}. "
                    "Name the study's objectives in its order: BudgetEI(objectives=[...])."
                )
            return [name for name in objectives if name in costs]
        _LOGGER.warning(
            "costs gives None for all of %d candidates, so none can be avoided, and all objectives are learned",
            _TRIES + _DRAWN,
        )
        return []

    def _everything_drawn(self, generator: np.random.Generator) -> Iterator[Array]:
        for _ in range(_TRIES):
            yield self.space.spread(generator.random((1, len(self.space.names))))[0]
        yield from self._drawn_ND

    @cached_property
    def _drawn_ND(self) -> Array:
        sobol = qmc.Sobol(len(self.space.names), seed=np.random.default_rng(self._seed))
        return self.space.spread(sobol.random(_DRAWN))

    def _first_within(self, count: int) -> Array:
        """As many of the drawn rows, in their order, that are within the limits; fewer where there are no more."""
        within, beyond = self._priced
        while len(within) < count and len(within) + len(beyond) < _DRAWN:
            first = len(within) + len(beyond)
            rows = self._drawn_ND[first : first + _PRICED_AT_ONCE]
            is_within = self.violations_N(rows) <= 0
            # Threads that ask at the same time come to the same, whoever writes it.
            within, beyond = self._priced = np.vstack([within, rows[is_within]]), np.vstack([beyond, rows[~is_within]])
        return within[:count]

    def _repaired(self) -> Array:
        """Where little of the space is allowed: what is least beyond, changed until it is."""
        generator = np.random.default_rng([self._seed, 1])
        rows = np.vstack(self._priced)
        for _ in range(_REPAIRS):
            rows = rows[np.argsort(self.violations_N(rows), kind="stable")][:_TOO_FEW]
            if (self.violations_N(rows) <= 0).all():
                break
            children = self.changed(rows, 2 * _TOO_FEW, step=0.2, generator=generator)
            rows = np.unique(np.vstack([rows, children]), axis=0)
        violations = self.violations_N(rows)
        # Nothing allowed was found: the nearest misses are all that can be tried.
        return rows[violations <= 0] if (violations <= 0).any() else rows[np.argsort(violations)][:_TOO_FEW]

    def _looked_up(self, row_D: Array) -> tuple[Array, float]:
        key = row_D.tobytes()
        if key not in self._cache:
            self._cache[key] = self._computed(row_D)
        return self._cache[key]

    def _computed(self, row_D: Array) -> tuple[Array, float]:
        costs = self._costs_of(row_D)
        if costs is None or any(not math.isfinite(value) for value in costs.values()):
            return np.full(len(self.known), np.nan), math.inf
        minimised = {name: float(value) * self.problem.sign.get(name, 1.0) for name, value in costs.items()}
        excess = [
            (minimised[name] - limit) / (abs(limit) or 1.0)
            for name, limit in self.problem.limits.items()
            if name in minimised
        ]
        return np.array([minimised[name] for name in self.known]), max([*excess, 0.0])

    def _costs_of(self, row_D: Array) -> Mapping[str, float] | None:
        if self.problem.costs is None:
            return {}
        candidate = {**self.problem.fixed, **self.space.candidate(row_D)}
        try:
            return self.problem.costs(candidate)
        except KeyError as error:
            knob = error.args[0] if error.args else None
            if not isinstance(knob, str) or knob in candidate:
                raise
            raise UnseenKnobError(knob) from error
