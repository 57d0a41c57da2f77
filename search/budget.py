"""What a study may spend: full trainings, the rungs at which a trial reports, and who stops there."""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Annotated, Literal

from pydantic import ConfigDict, Field

from trainers.bounds import Count

if TYPE_CHECKING:
    from search.halving import Halving

DEFAULT_TRIALS = 24
DEFAULT_IMAGES = 72_000


@dataclass(frozen=True, kw_only=True)
class Budget:
    """What a study may spend.

    Args:
        trials: How many full trainings' worth of images; raising it later continues the study. Where weak trials stop
            early, more of them begin: one that stopped after a third of its images has cost a third.
        images: Images of a full training: what a trial sees when it runs to its end.
        rungs: Images seen at which a trial reports, rising; the last is ``images``.
    """

    trials: int
    images: int
    rungs: tuple[int, ...]

    @property
    def shares(self) -> tuple[float, ...]:
        """The rungs as shares of a full training."""
        return tuple(images / self.images for images in self.rungs)

    @property
    def worth(self) -> str:
        """The budget in words.

        >>> Budget(trials=24, images=18_000, rungs=(18_000,)).worth
        "24 full trainings' worth of up to 18,000 images"
        """
        trainings = "full training's" if self.trials == 1 else "full trainings'"
        return f"{self.trials} {trainings} worth of up to {self.images:,} images"

    def expected_at_rungs(self, halving: HalvingOptions | None) -> tuple[float, ...]:
        """How many trials will come to each rung, where as many stop as may.

        >>> Budget(trials=24, images=9, rungs=(3, 9)).expected_at_rungs(HalvingOptions())
        (36.0, 18.0)
        """
        kept = 1.0 if halving is None else halving.keep or halving.least_kept
        parts = [after - before for before, after in itertools.pairwise((0.0, *self.shares))]
        begun = self.trials / sum(part * kept**rung for rung, part in enumerate(parts))
        return tuple(begun * kept**rung for rung in range(len(parts)))

    def models_kept(self, halving: HalvingOptions | None) -> int:
        """How many models' bytes the trials will leave: three for one that stopped, for its optimiser's two moments."""
        at_rungs = self.expected_at_rungs(halving)
        return math.ceil(at_rungs[-1] + 3 * (at_rungs[0] - at_rungs[-1]))


@dataclass(frozen=True, kw_only=True)
class ImagesRange:
    """Images of a trial with rungs: ``min``, ``min * factor`` ... and ``max``."""

    __pydantic_config__ = ConfigDict(extra="forbid")

    min: Count
    max: Count
    factor: Annotated[int, Field(ge=2, le=10**12)] = 3


@dataclass(frozen=True, kw_only=True)
class WrittenBudget:
    """A budget as it stands in YAML; a plain number of images means one rung."""

    __pydantic_config__ = ConfigDict(extra="forbid")

    trials: Count = DEFAULT_TRIALS
    images: Count | ImagesRange = DEFAULT_IMAGES

    def budget(self) -> Budget:
        """The same with its rungs; ``min`` must not be above ``max``."""
        if isinstance(self.images, int):
            return Budget(trials=self.trials, images=self.images, rungs=(self.images,))
        rungs = [self.images.min]
        while rungs[-1] * self.images.factor < self.images.max:
            rungs.append(rungs[-1] * self.images.factor)
        last = (self.images.max,) if rungs[-1] < self.images.max else ()
        return Budget(trials=self.trials, images=self.images.max, rungs=(*rungs, *last))


@dataclass(frozen=True, kw_only=True)
class HalvingOptions:
    """How weak trials are stopped early; the fields are the options of ``Halving``, and of ``halving:`` in YAML.

    Args:
        keep: The part of a rung's trials that goes on; None lets it follow from how well the rung foretells the end.
        least_kept: The part that goes on where a rung foretells it well; budget_ei needs it for its first trials only.
        rule: Who goes on: the largest expected ``gain``, or the first by non-dominated ``sort``.
    """

    __pydantic_config__ = ConfigDict(extra="forbid")

    keep: Annotated[float, Field(gt=0, le=1)] | None = None
    least_kept: Annotated[float, Field(gt=0, le=1)] = 0.5
    rule: Literal["gain", "sort"] = "gain"

    def build(self, shares: Sequence[float]) -> Halving:
        """The rule over these shares of a full training."""
        from search.halving import Halving

        return Halving(shares=shares, **asdict(self))
