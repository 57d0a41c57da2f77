"""NSGA-II (Deb et al. 2002, through Optuna), told the limits as constraints."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated

from pydantic import Field

from search.samplers.sampler import SAMPLERS, SamplerOptions

if TYPE_CHECKING:
    import optuna


@SAMPLERS.register("nsga2")
@dataclass(frozen=True, kw_only=True)
class Nsga2(SamplerOptions):
    """Optuna's NSGAIISampler: evolution with constraint domination; needs hundreds of trials.

    Args:
        population: Trials per generation.
    """

    population: Annotated[int, Field(ge=2, le=10**6)] = 20

    def build(self, *, seed: int) -> optuna.samplers.BaseSampler:
        import optuna

        return optuna.samplers.NSGAIISampler(seed=seed, population_size=self.population)
