"""Tree-structured Parzen estimator (Optuna), told the limits as constraints."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated

from pydantic import Field

from search.samplers.sampler import SAMPLERS, SamplerOptions

if TYPE_CHECKING:
    import optuna


@SAMPLERS.register("tpe")
@dataclass(frozen=True, kw_only=True)
class Tpe(SamplerOptions):
    """Optuna's TPESampler: a good default from the first trial on, milliseconds per suggestion.

    Args:
        startup_trials: Random trials before the estimator begins.
    """

    startup_trials: Annotated[int, Field(ge=0, le=10**6)] = 8

    def build(self, *, seed: int) -> optuna.samplers.BaseSampler:
        import optuna

        return optuna.samplers.TPESampler(seed=seed, n_startup_trials=self.startup_trials, constant_liar=True)
