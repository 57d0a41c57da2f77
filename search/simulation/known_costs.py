"""What is known of a candidate before training, at the speed that hundreds of simulated searches need.

Legend: N candidates, F coordinates, P terms, K objectives.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from random import Random
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from search.known import PREDICTION_SLACK, Foresight

if TYPE_CHECKING:
    from search.knob import Knob

Array = NDArray[np.float64]

_FITTED_TO = 800
_JUDGED_ON = 200
_ABSENT = object()

Place = dict[tuple[type, Any], list[float]] | Callable[[Any], list[float]]


@dataclass(frozen=True, kw_only=True)
class KnownCosts:
    """Exact costs in the study's units, each candidate's computed once.

    Args:
        foresight: Has no limits of its own.
        corrections: Objective -> what its prediction is multiplied by, so that it meets what the study measured.
        limits: Objective -> what still interests.
    """

    foresight: Foresight
    corrections: Mapping[str, float]
    limits: Mapping[str, float]
    _found: dict[tuple[tuple[str, Any], ...], dict[str, float] | None] = field(default_factory=dict)

    def of(self, candidate: Mapping[str, Any]) -> dict[str, float] | None:
        """Objective -> value; None for what cannot be built, breaks a constraint or is beyond a limit."""
        key = tuple(candidate.items())
        if key not in self._found:
            costs = self.unlimited(candidate)
            self._found[key] = costs if costs is not None and self.is_within(costs) else None
        return self._found[key]

    def unlimited(self, candidate: Mapping[str, Any]) -> dict[str, float] | None:
        """The same without regard to the limits."""
        known = self.foresight.of(candidate)
        if known.reasons:
            return None
        return {name: value * self.corrections.get(name, 1.0) for name, value in known.costs.items()}

    def is_within(self, costs: Mapping[str, float]) -> bool:
        """Whether a study would train it: predictions may be somewhat beyond a limit, what is exact may not."""
        return all(value <= self._most.get(name, math.inf) for name, value in costs.items())

    @cached_property
    def _most(self) -> dict[str, float]:
        return {
            name: self.limits[name] * (1.0 if objective.is_exact else PREDICTION_SLACK)
            for name, objective in self.foresight.space.named_objectives.items()
            if name in self.limits
        }


@dataclass(frozen=True, kw_only=True)
class CostSketch:
    """Polynomials of second degree through the logarithms of exact costs, about 50 times as fast.

    For a sampler that weighs a thousand candidates for each that it suggests; what is trained has exact costs.

    Args:
        places: Knob -> the coordinates of each choice, or a function that gives those of a number.
        forms_KFF: Quadratic forms of the coordinates, of which the first is 1.
        error: Median relative error on candidates that were not fitted, of the worst objective.
    """

    costs: KnownCosts
    names: tuple[str, ...]
    places: Mapping[str, Place]
    forms_KFF: Array
    error: float
    _fixed: dict[tuple[Any, ...], Mapping[str, Any]] = field(default_factory=dict)

    @classmethod
    def of(cls, costs: KnownCosts, *, seed: int = 0) -> CostSketch | None:
        """None where polynomials cannot stand in: some candidate cannot be built, or has no positive cost."""
        space = costs.foresight.space
        generator = Random(seed)
        candidates = [space.random_candidate(generator) for _ in range(_FITTED_TO + _JUDGED_ON)]
        exact = [costs.foresight.of(candidate).costs for candidate in candidates]
        names = tuple(exact[0])
        if not names or any(not found or min(found.values()) <= 0 for found in exact):
            return None
        logs_NK = np.log([[found[name] * costs.corrections.get(name, 1.0) for name in names] for found in exact])
        places = {knob.path: _place(knob) for knob in space.knobs}
        features_NF = np.array([_features(places, candidate) for candidate in candidates])
        one, other = np.triu_indices(features_NF.shape[1])
        terms_NP = features_NF[:, one] * features_NF[:, other]
        weights_PK = np.linalg.lstsq(terms_NP[:_FITTED_TO], logs_NK[:_FITTED_TO], rcond=1e-8)[0]
        left_NK = np.abs(terms_NP[_FITTED_TO:] @ weights_PK - logs_NK[_FITTED_TO:])
        forms_KFF = np.zeros((len(names), features_NF.shape[1], features_NF.shape[1]))
        forms_KFF[:, one, other] = weights_PK.T
        error = float(np.expm1(np.median(left_NK, axis=0)).max())
        return cls(costs=costs, names=names, places=places, forms_KFF=forms_KFF, error=error)

    def of_candidate(self, candidate: Mapping[str, Any]) -> dict[str, float] | None:
        """As ``KnownCosts.of``."""
        features_F = np.array(_features(self.places, candidate))
        logs_K = self.forms_KFF @ features_F @ features_F
        found = dict(zip(self.names, np.exp(logs_K).tolist(), strict=True))
        return found if self.costs.is_within(found) and self._holds(candidate, found) else None

    def _holds(self, candidate: Mapping[str, Any], costs: Mapping[str, float]) -> bool:
        space = self.costs.foresight.space
        if not space.constraints:
            return True
        # What is written out and not a knob follows from the choices alone, and takes long to gather.
        chosen = tuple((name, candidate.get(name)) for name, place in self.places.items() if isinstance(place, dict))
        if chosen not in self._fixed:
            self._fixed[chosen] = space.fixed_values(candidate)
        values = {**self._fixed[chosen], **candidate, **costs}
        return all(constraint.holds(values) for constraint in space.constraints)


def _place(knob: Knob) -> Place:
    if knob.kind == "choice":
        # The last choice is where all others are not.
        return {(type(label), label): [float(label is each) for each in knob.choices[:-1]] for label in knob.choices}
    scale = math.log if knob.log else float
    low, high = scale(knob.low), scale(knob.high)
    return lambda value: [(scale(value) - low) / ((high - low) or 1.0)]


def _features(places: Mapping[str, Place], candidate: Mapping[str, Any]) -> list[float]:
    """1 and the coordinates of each knob; one that is absent is told by the choice above it."""
    features = [1.0]
    for name, place in places.items():
        value = candidate.get(name, _ABSENT)
        if isinstance(place, dict):
            features += [0.0] * (len(place) - 1) if value is _ABSENT else place[type(value), value]
        else:
            features += [0.5] if value is _ABSENT else place(value)
    return features
