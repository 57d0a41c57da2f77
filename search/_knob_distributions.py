"""Knobs as Optuna's distributions."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from search.knob import Knob

if TYPE_CHECKING:
    import optuna
    from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution


def distribution(knob: Knob) -> CategoricalDistribution | IntDistribution | FloatDistribution:
    """What a knob may be."""
    from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution

    if knob.kind == "choice":
        return CategoricalDistribution(knob.choices)
    if knob.kind == "int":
        step = 1 if knob.step is None else int(knob.step)
        return IntDistribution(int(knob.low), int(knob.high), step=step, log=knob.log)
    return FloatDistribution(knob.low, knob.high, step=knob.step, log=knob.log)


def suggested(trial: optuna.trial.Trial, knob: Knob) -> Any:
    """What a trial's sampler says for a knob."""
    from optuna.distributions import CategoricalDistribution, IntDistribution

    asked = distribution(knob)
    if isinstance(asked, CategoricalDistribution):
        return trial.suggest_categorical(knob.path, asked.choices)
    if isinstance(asked, IntDistribution):
        return trial.suggest_int(knob.path, asked.low, asked.high, step=asked.step, log=asked.log)
    return trial.suggest_float(knob.path, asked.low, asked.high, step=asked.step, log=asked.log)
