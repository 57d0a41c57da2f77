"""Distillation: the student learns the noise in real images and the teacher's answer to them."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Annotated, Literal

from pydantic import ConfigDict, Field, PositiveInt

from trainers.stage import STAGES, Stage

if TYPE_CHECKING:
    from trainers.models.arch_spec import ArchSpec
    from trainers.models.diffusion_model import DiffusionModel
    from trainers.run import Run

Weight = Annotated[float, Field(ge=0)]


@dataclass(frozen=True, kw_only=True)
class DistilWeights:
    """Weights of the loss terms.

    Args:
        noise: Of the denoising error on real images (Ho et al. 2020, Eq. 14).
        output: Of the squared distance to the teacher's prediction on the same noisy images.
    """

    __pydantic_config__ = ConfigDict(extra="forbid")

    noise: Weight = 1.0
    output: Weight = 0.0


@STAGES.register("distil")
@dataclass(frozen=True, kw_only=True)
class Distil(Stage):
    """Trains the student on real images beside the frozen teacher.

    Args:
        weights: Of the loss terms; with ``output: 0`` this is plain fine-tuning and the teacher is not run.
        sampling_steps: Denoising steps when the student draws; None keeps the teacher's.
        part: This stage's part of the images of the budget, relative to the other training stages.
        batch: Images per step.
        optimizer: ``adamw`` or ``adam``; with 8-bit states ``adamw_8bit`` or ``adam_8bit``: less memory on a GPU, far
            slower on a CPU. There is no weight decay.
        learning_rate: Of the optimiser, after a linear warm-up, decaying to zero as a cosine over the full budget.
        clip: Largest norm of the gradient.
        ema: Decay of the average of the weights that is kept in place of the last ones; 0 turns it off.
    """

    trains = True

    weights: DistilWeights = field(default_factory=DistilWeights)
    sampling_steps: Annotated[int, Field(ge=1, le=1000)] | None = None
    part: Annotated[float, Field(gt=0)] = 1.0
    batch: PositiveInt = 128
    optimizer: Literal["adamw", "adam", "adamw_8bit", "adam_8bit"] = "adamw"
    learning_rate: Annotated[float, Field(gt=0)] = 1e-3
    clip: Annotated[float, Field(gt=0)] = 1.0
    ema: Annotated[float, Field(ge=0, lt=1)] = 0.0

    def plan(self, spec: ArchSpec) -> ArchSpec:
        return spec if self.sampling_steps is None else spec.with_sampling_steps(self.sampling_steps)

    def apply(self, model: DiffusionModel, run: Run) -> DiffusionModel:
        from trainers.distillation import _training

        return _training.distilled(model, run, self)
