"""What the training stages do, once torch is loaded."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import TYPE_CHECKING

from torch import Tensor, nn

from trainers.distillation._loop import Batch, Phase, trained
from trainers.distillation._losses import squared_error
from trainers.distillation._optimizers import slow_here
from trainers.distillation._teaching import Teaching
from trainers.models.fresh import with_fresh_weights

if TYPE_CHECKING:
    from trainers.distillation._stage import TrainingStage
    from trainers.distillation._taught_stage import TaughtStage
    from trainers.distillation.distil import Distil
    from trainers.distillation.finetune import Finetune
    from trainers.distillation.train import Train
    from trainers.models.arch_spec import ArchSpec
    from trainers.models.diffusion_model import DiffusionModel
    from trainers.run import Run


def distilled(model: DiffusionModel, run: Run, stage: Distil) -> DiffusionModel:
    """The student after its images beside the teacher."""
    net = taught(model, run, stage, teacher=run.teacher)
    return model.after(stage, net=net, spec=stage.plan(model.spec), notes=slow_here(stage.optimizer, run))


def taught(
    model: DiffusionModel, run: Run, stage: TaughtStage, *, teacher: DiffusionModel, phase: Phase | None = None
) -> nn.Module:
    """The student's network after its images, or those of a phase, beside ``teacher``."""
    teaching = Teaching.of(stage, model.spec, teacher, run)

    def loss(net: nn.Module, batch: Batch) -> Tensor:
        with teaching.watching(net):
            return teaching.loss(net, batch)

    return trained(model, run, loss=loss, options=stage, phase=phase)


def from_scratch(model: DiffusionModel, run: Run, stage: Train) -> DiffusionModel:
    """The architecture with new weights that learned to denoise real images."""
    # Where training goes on, the model has the weights in training already; the seed gives the same new ones.
    is_going_on = run.state is not None and run.state.stage == run.stage_index
    start = model if is_going_on else with_fresh_weights(model, seed=run.seed_for("weights"))
    return replace(_denoising(start, run, stage), survivors={})


def fine_tuned(model: DiffusionModel, run: Run, stage: Finetune) -> DiffusionModel:
    """The model after denoising more real images."""
    return _denoising(model, run, stage)


def _denoising(model: DiffusionModel, run: Run, stage: TrainingStage) -> DiffusionModel:
    net = trained(model, run, loss=denoising_loss(model.spec, stage), options=stage)
    return model.after(stage, net=net, notes=slow_here(stage.optimizer, run))


def denoising_loss(spec: ArchSpec, stage: TrainingStage) -> Callable[[nn.Module, Batch], Tensor]:
    """Weighted squared error of what a network of this spec predicts."""
    network, diffusion = spec.network, spec.diffusion

    def loss(net: nn.Module, batch: Batch) -> Tensor:
        predicted_BCHW = network.call(net, batch.noisy_BCHW, batch.timestep_B, batch.label_B)
        return squared_error(
            predicted_BCHW,
            diffusion.target(batch.image_BCHW, batch.noise_BCHW, batch.timestep_B),
            diffusion.error_weight(stage.error_weight, batch.timestep_B),
        )

    return loss
