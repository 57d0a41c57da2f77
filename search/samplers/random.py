"""Independent random candidates (Optuna): the baseline of every comparison."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from search.samplers.sampler import SAMPLERS, SamplerOptions

if TYPE_CHECKING:
    import optuna


@SAMPLERS.register("random")
@dataclass(frozen=True, kw_only=True)
class Random(SamplerOptions):
    """Optuna's RandomSampler."""

    def build(self, *, seed: int) -> optuna.samplers.BaseSampler:
        import optuna

        return optuna.samplers.RandomSampler(seed=seed)
