"""The Sampler contract: named options that build an Optuna sampler."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import TYPE_CHECKING

from trainers.registry import Registry

if TYPE_CHECKING:
    import optuna


@dataclass(frozen=True, kw_only=True)
class SamplerOptions(ABC):
    """Which candidate to try next. The fields of a subclass are its options in YAML.

    Args:
        seed: A study with the same seed, opened again after n trials, goes on with a stream derived from (seed, n).
    """

    seed: int = 0

    @abstractmethod
    def build(self, *, seed: int) -> optuna.samplers.BaseSampler:
        """The sampler; the limits reach it as constraints of each trial (all <= 0 when a trial is of interest)."""


SAMPLERS: Registry[SamplerOptions] = Registry("sampler", folders=("search.samplers",))
