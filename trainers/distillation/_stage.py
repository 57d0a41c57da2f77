"""What all training stages have in common."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Literal

from pydantic import Field

from trainers.bounds import BatchSize
from trainers.models.diffusion import Weighting
from trainers.stage import Stage

if TYPE_CHECKING:
    from trainers.models.arch_spec import ArchSpec
    from trainers.run import Run, TrainingState


@dataclass(frozen=True, kw_only=True)
class TrainingStage(Stage):
    """A stage that sees images.

    Args:
        part: This stage's part of the images of the budget, relative to the other training stages.
        batch: Images per step.
        optimizer: ``adamw`` or ``adam``; with 8-bit states ``adamw_8bit`` or ``adam_8bit``: less memory on a GPU, far
            slower on a CPU. There is no weight decay.
        learning_rate: Of the optimiser, after the warm-up.
        warmup_images: Over which the learning rate rises from zero; 20 batches when left out.
        decay: How the learning rate falls to zero over the full budget: ``cosine``, ``linear``, or ``none``.
        clip: Largest norm of the gradient.
        ema: Decay of the average of the weights that is kept in place of the last ones; 0 turns it off.
        error_weight: Of the squared error at each timestep: ``plain`` is 1 on what the network predicts (Ho et al.
            2020); ``truncated_snr`` and ``snr_plus_one`` weight the error of the image (Salimans and Ho 2022).
        label_dropout: Share of images that are shown without their label, for classifier-free guidance.
        precision: ``fp32``; ``bf16`` or ``fp16`` compute in mixed precision (fp16 with a scaled loss).
        checkpointing: Blocks are computed again in the backward pass instead of being kept: less memory, more time.
        compile: Compile the network with torch.compile; worth it for long trainings only.
    """

    trains = True

    part: Annotated[float, Field(gt=0)] = 1.0
    batch: BatchSize = 128
    optimizer: Literal["adamw", "adam", "adamw_8bit", "adam_8bit"] = "adamw"
    learning_rate: Annotated[float, Field(gt=0)] = 1e-3
    warmup_images: Annotated[int, Field(ge=0, le=10**12)] | None = None
    decay: Literal["cosine", "linear", "none"] = "cosine"
    clip: Annotated[float, Field(gt=0)] = 1.0
    ema: Annotated[float, Field(ge=0, lt=1)] = 0.0
    error_weight: Weighting = "plain"
    label_dropout: Annotated[float, Field(ge=0, lt=1)] = 0.0
    precision: Literal["fp32", "bf16", "fp16"] = "fp32"
    checkpointing: bool = False
    compile: bool = False

    @property
    def shows_unlabelled(self) -> bool:
        return self.label_dropout > 0

    def kept_specs(self, phase: int, *, spec: ArchSpec, run: Run) -> Mapping[str, ArchSpec]:
        """The architectures in a state of a phase, from 0: of the ``model`` in training, and those beside it by name.

        Empty when the stage, applied to a model of ``spec``, has no such phase.
        """
        return {"model": spec} if phase == 0 else {}

    def check_state(self, state: TrainingState, *, spec: ArchSpec, run: Run) -> None:
        from trainers.distillation._kept import check_models, phase_of

        check_models(state, self.kept_specs(phase_of(state.tensors), spec=spec, run=run))
