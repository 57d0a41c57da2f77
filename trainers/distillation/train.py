"""Training from scratch, without a teacher: the network learns to denoise real images."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from trainers.distillation._stage import TrainingStage
from trainers.stage import STAGES

if TYPE_CHECKING:
    from trainers.models.arch_spec import ArchSpec
    from trainers.models.diffusion_model import DiffusionModel
    from trainers.run import Run


@STAGES.register("train")
@dataclass(frozen=True, kw_only=True)
class Train(TrainingStage):
    """Denoising training (Ho et al. 2020, Algorithm 1) from new weights; teachers are made by it.

    After ``prune`` or ``group`` it trains the smaller architecture from scratch; ``finetune`` goes on from the weights
    that are there.
    """

    begins_anew = True

    def plan(self, spec: ArchSpec) -> ArchSpec:
        from trainers.distillation._checks import check_training

        check_training(self, spec)
        return spec

    def apply(self, model: DiffusionModel, run: Run) -> DiffusionModel:
        from trainers.distillation import _training

        return _training.from_scratch(model, run, self)
