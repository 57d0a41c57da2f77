"""Gaussian process with log expected hypervolume improvement (Optuna), told the limits as constraints."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated

from pydantic import Field

from search.samplers.sampler import SAMPLERS, SamplerOptions

if TYPE_CHECKING:
    import optuna


@SAMPLERS.register("gp")
@dataclass(frozen=True, kw_only=True)
class Gp(SamplerOptions):
    """Optuna's GPSampler: better suggestions than TPE, but seconds for each.

    Args:
        startup_trials: Random trials before the process is fitted.
    """

    startup_trials: Annotated[int, Field(ge=0, le=10**6)] = 10

    def build(self, *, seed: int) -> optuna.samplers.BaseSampler:
        import optuna

        return optuna.samplers.GPSampler(seed=seed, n_startup_trials=self.startup_trials)
