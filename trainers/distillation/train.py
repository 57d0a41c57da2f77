"""Training without a teacher: the network learns the noise in real images."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Literal

from pydantic import Field, PositiveInt

from trainers.stage import STAGES, Stage

if TYPE_CHECKING:
    from trainers.models.diffusion_model import DiffusionModel
    from trainers.run import Run


@STAGES.register("train")
@dataclass(frozen=True, kw_only=True)
class Train(Stage):
    """Denoising training (Ho et al. 2020, Algorithm 1); teachers are made by it.

    Args:
        part: This stage's part of the images of the budget, relative to the other training stages.
        batch: Images per step.
        optimizer: ``adamw`` or ``adam``; with 8-bit states ``adamw_8bit`` or ``adam_8bit``: less memory on a GPU, far
            slower on a CPU. There is no weight decay.
        learning_rate: Of the optimiser, after a linear warm-up, decaying to zero as a cosine over the full budget.
        clip: Largest norm of the gradient.
        ema: Decay of the average of the weights that is kept in place of the last ones; 0 turns it off.
    """

    trains = True

    part: Annotated[float, Field(gt=0)] = 1.0
    batch: PositiveInt = 128
    optimizer: Literal["adamw", "adam", "adamw_8bit", "adam_8bit"] = "adamw"
    learning_rate: Annotated[float, Field(gt=0)] = 1e-3
    clip: Annotated[float, Field(gt=0)] = 1.0
    ema: Annotated[float, Field(ge=0, lt=1)] = 0.0

    def apply(self, model: DiffusionModel, run: Run) -> DiffusionModel:
        from trainers.distillation import _training

        return _training.from_scratch(model, run, self)
