"""Fine-tuning, without a teacher: the network goes on learning to denoise real images."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated

from pydantic import Field

from trainers.distillation._stage import TrainingStage
from trainers.stage import STAGES

if TYPE_CHECKING:
    from trainers.models.arch_spec import ArchSpec
    from trainers.models.diffusion_model import DiffusionModel
    from trainers.run import Run


@STAGES.register("finetune")
@dataclass(frozen=True, kw_only=True)
class Finetune(TrainingStage):
    """Denoising training (Ho et al. 2020, Algorithm 1) that goes on from the weights that are there.

    So Diff-Pruning trains what it pruned.
    """

    learning_rate: Annotated[float, Field(gt=0)] = 2e-4

    def plan(self, spec: ArchSpec) -> ArchSpec:
        from trainers.distillation._checks import check_training

        check_training(self, spec)
        return spec

    def apply(self, model: DiffusionModel, run: Run) -> DiffusionModel:
        from trainers.distillation import _training

        return _training.fine_tuned(model, run, self)
