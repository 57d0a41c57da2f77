"""One column of a study's table as a function of the candidate, with how far off it is on trials it has not seen."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from search.samplers._gaussian_process import GaussianProcess
from search.samplers._knob_space import KnobSpace

Array = NDArray[np.float64]

_Without = Callable[[GaussianProcess, Array, Array, Array], GaussianProcess]
"""A process like a whole one, of these features, values and shares alone."""
_FOLDS = 24


@dataclass(frozen=True, kw_only=True)
class Seen:
    """A value that was measured after ``share`` of a full training."""

    trial: int
    candidate: Mapping[str, Any]
    value: float
    share: float = 1.0


@dataclass(frozen=True, kw_only=True)
class Fit:
    """A Gaussian process of a column, or its mean where the process foretells left-out trials no better than that.

    Args:
        process: None: the mean.
        mean: Of full trainings; as the spread, of the logarithm where ``is_log``.
        is_log: The column is positive and its logarithm was fitted.
        noise: Standard deviation of what the process does not take to come from the knobs.
        spread: The same of what is left when a trial is foretold from all others: noise, and what is not known yet.
        r2: The part of the variance that is foretold then; below 0 it is worse than the mean.
        trials: Full trainings that were fitted.
    """

    space: KnobSpace
    process: GaussianProcess | None
    mean: float
    is_log: bool
    noise: float
    spread: float
    r2: float
    trials: int

    @classmethod
    def of(cls, space: KnobSpace, seen: Sequence[Seen], *, is_log: bool) -> Fit:
        """The fit to ``seen``, of at least two full trainings; small shares help to foretell full ones."""
        return cls._judged(space, seen, is_log=is_log, without=_fitted_again)

    @classmethod
    def expecting(cls, space: KnobSpace, seen: Sequence[Seen], *, is_log: bool) -> Fit:
        """The same in a tenth of the time, where only the expectation is asked, as of costs.

        Trials are left out of a process whose length scales have seen them. That tells well enough whether it is
        better than the mean, but ``spread`` and ``r2`` look a little better than they are.
        """
        return cls._judged(space, seen, is_log=is_log, without=_of_known_scales)

    @classmethod
    def _judged(cls, space: KnobSpace, seen: Sequence[Seen], *, is_log: bool, without: _Without) -> Fit:
        values = np.array([each.value for each in seen])
        values = np.log(values) if is_log else values
        features = space.features(space.rows([each.candidate for each in seen]))
        shares = np.array([each.share for each in seen])
        is_full = shares >= 1
        mean, variance = float(values[is_full].mean()), float(values[is_full].var())
        whole = GaussianProcess.fitted(features, values, groups=space.groups, shares_N=shares)
        left = values[is_full] - _foretold(whole, seen, features, values, shares, without)
        r2 = 1 - float((left**2).mean()) / variance if variance > 0 else 0.0
        process, noise, spread = None, math.sqrt(variance), math.sqrt(variance)
        if r2 > 0:
            process = whole
            fitted, unsure = process.predict(features[is_full])
            noise, spread = math.sqrt(((values[is_full] - fitted) ** 2 + unsure**2).mean()), math.sqrt((left**2).mean())
        return cls(
            space=space,
            process=process,
            mean=mean,
            is_log=is_log,
            noise=noise,
            spread=spread,
            r2=r2,
            trials=int(is_full.sum()),
        )

    def expected(self, candidate: Mapping[str, Any]) -> float:
        """What a full training is expected to give; the logarithm where ``is_log``."""
        if self.process is None:
            return self.mean
        return float(self.process.predict(self.space.features(self.space.rows([candidate])))[0][0])


def _foretold(
    whole: GaussianProcess, seen: Sequence[Seen], features: Array, values: Array, shares: Array, without: _Without
) -> Array:
    """Each full training as foretold without all that its trial measured; of many trials some are left out together."""
    trials = np.array([each.trial for each in seen])
    full = [each.trial for each in seen if each.share >= 1]
    found: dict[int, float] = {}
    for fold in range(min(_FOLDS, len(full))):
        is_kept = ~np.isin(trials, full[fold::_FOLDS])
        process = without(whole, features[is_kept], values[is_kept], shares[is_kept])
        is_asked = ~is_kept & (shares >= 1)
        found |= dict(zip(trials[is_asked], process.predict(features[is_asked])[0], strict=True))
    return np.array([found[trial] for trial in full])


def _fitted_again(whole: GaussianProcess, features: Array, values: Array, shares: Array) -> GaussianProcess:
    return GaussianProcess.fitted(features, values, groups=whole.groups, shares_N=shares)


def _of_known_scales(whole: GaussianProcess, features: Array, values: Array, shares: Array) -> GaussianProcess:
    return replace(whole, features_NF=features, values_N=values, shares_N=shares)
