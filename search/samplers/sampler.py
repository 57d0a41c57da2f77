"""The Sampler contract: named options that build an Optuna sampler."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

from trainers.bounds import Seed
from trainers.registry import Registry

if TYPE_CHECKING:
    import optuna

    from search.samplers._history import Others


@dataclass(frozen=True, kw_only=True)
class Problem:
    """What is known of a search before its first trial.

    Args:
        objectives: Names, in the order of the study's directions.
        limits: Name -> the worst value that still interests.
        distributions: Every knob, conditional ones included.
        costs: Values of the active knobs -> the objectives known before training; None when the candidate cannot be
            built or breaks a constraint.
        examples: Candidates that together show when each conditional knob exists.
        others: What other studies measured of this one's knobs and objectives.
    """

    objectives: Sequence[str]
    limits: Mapping[str, float]
    distributions: Mapping[str, optuna.distributions.BaseDistribution]
    costs: Callable[[Mapping[str, Any]], Mapping[str, float] | None]
    examples: Sequence[Mapping[str, Any]] = ()
    others: Others = ()


@dataclass(frozen=True, kw_only=True)
class SamplerOptions(ABC):
    """Which candidate to try next. The fields of a subclass are its options in YAML.

    Args:
        seed: A study with the same seed, opened again after n trials, goes on with a stream derived from (seed, n).
    """

    #: False for samplers whose suggestions follow from the seed and the trials told, however often they are built.
    derives_seed: ClassVar[bool] = True
    #: Whether results of other studies help it.
    uses_others: ClassVar[bool] = False

    seed: Seed = 0

    @abstractmethod
    def build(self, *, seed: int) -> optuna.samplers.BaseSampler:
        """The sampler; the limits reach it as constraints of each trial (all <= 0 when a trial is of interest)."""

    def inform(self, sampler: optuna.samplers.BaseSampler, problem: Problem) -> None:  # noqa: B027 (most cannot use it)
        """Tell a sampler that ``build`` made what is known of the search."""


SAMPLERS: Registry[SamplerOptions] = Registry("sampler", folders=("search.samplers",))
