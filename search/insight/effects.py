"""How a knob matters: what is expected when it alone is set, and all others are drawn at random.

The partial dependence of Friedman 2001 (Section 8.2) on a process: an average of a normal function is normal, so its
band is exact for the process that was fitted.

Legend: N candidates, G values of the knob, D knobs.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray
from optuna.distributions import BaseDistribution, CategoricalDistribution
from scipy.stats import qmc

from search.insight.study_model import StudyModel

Array = NDArray[np.float64]

_PLACES = 13
_OTHERS = 48
_DRAWN = 512
_BAND = 1.645  # deviations, 90 %
_SEED = 1


@dataclass(frozen=True, kw_only=True)
class Effect:
    """The learned objective, in the study's units, along one knob.

    Args:
        values: Of the knob, rising, or its choices.
        expected, low, high: For each value; the geometric mean over the other knobs where logarithms were fitted.
        is_choice: The values have no order.
        is_log: Equal ratios of the values count the same.
    """

    knob: str
    values: list[Any]
    expected: list[float]
    low: list[float]
    high: list[float]
    is_choice: bool
    is_log: bool


@lru_cache(maxsize=64)
def effect(model: StudyModel, knob: str) -> Effect:
    """The effect of one knob; where it is conditional, over the candidates that have it."""
    assert model.process is not None, "without a process nothing has an effect"
    knobs = model.knobs
    column = knobs.names.index(knob)
    distribution = knobs.distributions[knob]
    unit = qmc.Sobol(len(knobs.names), seed=_SEED).random(_DRAWN)
    has_knob = ~np.isnan(knobs.spread(unit)[:, column])
    others = unit[has_knob][:_OTHERS]
    places = _places(distribution)
    rows = []
    for place in places:
        # Set before choices are made of numbers, so that what hangs on a choice comes and goes with it.
        others[:, column] = place
        rows.append(knobs.spread(others))
    mean, covariance = model.process.posterior(knobs.features(np.vstack(rows)))
    shape = (len(places), len(others))
    mean_G = mean.reshape(shape).mean(axis=1)
    variance_G = np.einsum("gngm->g", covariance.reshape(*shape, *shape)) / len(others) ** 2
    band_G = _BAND * np.sqrt(np.maximum(variance_G, 0.0))
    ends = model.as_measured(mean_G - band_G), model.as_measured(mean_G + band_G)
    is_choice = isinstance(distribution, CategoricalDistribution)
    return Effect(
        knob=knob,
        values=[knobs.candidate(each[0])[knob] for each in rows],
        expected=model.as_measured(mean_G).tolist(),
        low=ends[0].tolist(),
        high=ends[1].tolist(),
        is_choice=is_choice,
        is_log=not is_choice and bool(getattr(distribution, "log", False)),
    )


def _places(distribution: BaseDistribution) -> Array:
    """Numbers between 0 and 1 that become each choice, or values from end to end without repeats."""
    if isinstance(distribution, CategoricalDistribution):
        return (np.arange(len(distribution.choices)) + 0.5) / len(distribution.choices)
    if distribution.single():
        return np.array([0.5])
    step, low, high = (getattr(distribution, name) for name in ("step", "low", "high"))
    count = _PLACES if step is None or getattr(distribution, "log", False) else round((high - low) / step) + 1
    return np.linspace(0.0, 1.0, min(count, _PLACES))
