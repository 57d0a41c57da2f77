"""What a study may spend: trials, images per trial with the rungs at which a trial reports, and resources per trial."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

from pydantic import ConfigDict, Field, PositiveInt

DEFAULT_TRIALS = 24
DEFAULT_IMAGES = 72_000


@dataclass(frozen=True, kw_only=True)
class Budget:
    """What a study may spend.

    Args:
        trials: Trials to run in all; raising it later continues the study.
        images: Images that a trial sees when it runs to its end.
        rungs: Images seen at which a trial reports, rising; the last is ``images``.
    """

    trials: int
    images: int
    rungs: tuple[int, ...]


@dataclass(frozen=True, kw_only=True)
class ImagesRange:
    """Images of a trial with rungs: ``min``, ``min * factor`` ... and ``max``."""

    __pydantic_config__ = ConfigDict(extra="forbid")

    min: PositiveInt
    max: PositiveInt
    factor: Annotated[int, Field(ge=2)] = 3


@dataclass(frozen=True, kw_only=True)
class WrittenBudget:
    """A budget as it stands in YAML; a plain number of images means one rung."""

    __pydantic_config__ = ConfigDict(extra="forbid")

    trials: PositiveInt = DEFAULT_TRIALS
    images: PositiveInt | ImagesRange = DEFAULT_IMAGES

    def budget(self) -> Budget:
        """The same with its rungs; ``min`` must not be above ``max``."""
        if isinstance(self.images, int):
            return Budget(trials=self.trials, images=self.images, rungs=(self.images,))
        rungs = [self.images.min]
        while rungs[-1] * self.images.factor < self.images.max:
            rungs.append(rungs[-1] * self.images.factor)
        last = (self.images.max,) if rungs[-1] < self.images.max else ()
        return Budget(trials=self.trials, images=self.images.max, rungs=(*rungs, *last))
