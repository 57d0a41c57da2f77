"""A kept study as a function that stands in for training: what its table makes one expect, and luck."""

from __future__ import annotations

import math
import zlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np

from search.front import hypervolume
from search.simulation.fit import Fit
from search.simulation.known_costs import CostSketch, KnownCosts

if TYPE_CHECKING:
    from optuna.distributions import BaseDistribution
    from optuna.trial import Trial

    from search.samplers._knob_space import KnobSpace
    from search.space import Space
    from search.views import StudyViews, TrialView


@dataclass(frozen=True, kw_only=True)
class StandIn:
    """A study that can be searched again and again.

    Args:
        learned: Objective -> its fit; all that is not known before training.
        changes: (objective, share) -> fit of what it is at that share, relative to the full training.
        seconds: Fit of the time that a full training takes.
        shares: At which a trial can be stopped, rising, the last one 1.
        limits: Objective -> the most that interests; minimised like all values in here.
        sign: Objective -> -1 where the study maximises it.
        workers: Trials that ran at a time, about, as told by their times.
    """

    views: StudyViews
    space: Space
    knobs: KnobSpace
    learned: Mapping[str, Fit]
    changes: Mapping[tuple[str, float], Fit]
    seconds: Fit
    costs: KnownCosts
    sketch: CostSketch | None
    shares: tuple[float, ...]
    limits: Mapping[str, float]
    sign: Mapping[str, float]
    workers: int

    @property
    def distributions(self) -> Mapping[str, BaseDistribution]:
        """All knobs, those that exist only under a choice included."""
        return self.knobs.distributions

    def ask(self, trial: Trial) -> dict[str, Any]:
        """Have the sampler of ``trial`` fill the space."""
        from search._knob_distributions import suggested

        return self.space.candidate(lambda knob: suggested(trial, knob))

    def known(self, candidate: Mapping[str, Any]) -> dict[str, float] | None:
        """Exact costs, minimised; None for what would not be trained."""
        return self._minimised(self.costs.of(candidate))

    def guessed(self, candidate: Mapping[str, Any]) -> dict[str, float] | None:
        """Nearly the same, and fast."""
        if self.sketch is not None and not self.space.constraints:
            return self._minimised(self.sketch.of_candidate(candidate))
        # Before any trial has shown which knobs exist together, a sampler may answer all.
        active = self.space.candidate(lambda knob: candidate.get(knob.path, knob.extremes()[0]))
        return self._minimised(self.costs.of(active) if self.sketch is None else self.sketch.of_candidate(active))

    def trained(self, *, seed: int) -> Callable[[Mapping[str, Any], float], dict[str, float]]:
        """(candidate, share) -> what training gives; ``seed`` decides each candidate's luck."""

        def evaluate(candidate: Mapping[str, Any], share: float) -> dict[str, float]:
            return {name: self.sign[name] * self._value(name, candidate, share, seed) for name in self.learned}

        return evaluate

    def duration(self, *, seed: int) -> Callable[[Mapping[str, Any]], float]:
        """Candidate -> seconds of a full training."""
        fit = self.seconds
        return lambda candidate: math.exp(fit.expected(candidate) + fit.noise * _luck(candidate, "seconds", seed))

    def volume(self, values: Sequence[Mapping[str, float]]) -> float:
        """Hypervolume of minimised points divided by their limits, the study's own measure."""
        names = [name for name, limit in self.limits.items() if limit != 0]
        scale = np.array([abs(self.limits[name]) for name in names])
        points = np.array([[each[name] for name in names] for each in values]).reshape(-1, len(names))
        return hypervolume(points / scale, np.sign([self.limits[name] for name in names]))

    @cached_property
    def own_volume(self) -> float:
        """What the study itself reached, as the search first measured it."""
        return self.volume([self._minimised(measured(trial)) or {} for trial in self.views.complete])

    @property
    def own_trainings(self) -> float:
        """What the study spent, in full trainings."""
        return sum(_share(trial, self.space.budget.images) for trial in self.views.trials)

    def _value(self, name: str, candidate: Mapping[str, Any], share: float, seed: int) -> float:
        fit = self.learned[name]
        # Only noise is luck. With all that cannot be foretold as luck, its strokes would carry any sampler far.
        found = fit.expected(candidate) + fit.noise * _luck(candidate, name, seed)
        if share < 1:
            change = self.changes[name, share]
            found += change.expected(candidate) + change.spread * _luck(candidate, f"{name} {share:.6f}", seed)
        return math.exp(min(found, 300.0)) if fit.is_log else found

    def _minimised(self, values: Mapping[str, float] | None) -> dict[str, float] | None:
        return None if values is None else {name: self.sign[name] * value for name, value in values.items()}


def measured(trial: TrialView) -> dict[str, float]:
    """What the search was told, not what was measured again after it."""
    return {name: value for name, value in trial.values.items() if value is not None}


def _share(trial: TrialView, images: int) -> float:
    if trial.state == "complete":
        return 1.0
    return min(1.0, (trial.images or 0) / images) if trial.state == "stopped" else 0.0


def _luck(candidate: Mapping[str, Any], what: str, seed: int) -> float:
    """A standard normal draw that the same candidate has again under the same seed."""
    key = zlib.crc32(repr((what, sorted(candidate.items()))).encode())
    return float(np.random.default_rng([seed, key]).standard_normal())
