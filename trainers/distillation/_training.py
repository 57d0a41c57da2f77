"""What the training stages do, once torch is loaded."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from trainers.distillation._loop import Batch, LoopOptions, trained
from trainers.distillation._losses import denoising_error, output_distance
from trainers.distillation._optimizers import slow_here

if TYPE_CHECKING:
    from trainers.distillation.distil import Distil
    from trainers.distillation.train import Train
    from trainers.models.diffusion_model import DiffusionModel
    from trainers.run import Run


def distilled(model: DiffusionModel, run: Run, stage: Distil) -> DiffusionModel:
    """The student after its images beside the teacher."""
    weights, teacher, network = stage.weights, run.teacher, model.spec.network

    def loss(net: nn.Module, batch: Batch) -> Tensor:
        student_BCHW = network.call(net, batch.noisy_BCHW, batch.timestep_B, batch.label_B)
        total = weights.noise * denoising_error(student_BCHW, batch.noise_BCHW)
        if weights.output:
            with torch.no_grad():
                teacher_BCHW = teacher.predict(batch.noisy_BCHW, batch.timestep_B, batch.label_B)
            total = total + weights.output * output_distance(student_BCHW, teacher_BCHW)
        return total

    net, notes = _trained(model, run, stage, loss)
    return model.after(stage, net=net, spec=stage.plan(model.spec), notes=notes)


def from_scratch(model: DiffusionModel, run: Run, stage: Train) -> DiffusionModel:
    """The network after learning the noise in real images, without a teacher."""
    network = model.spec.network

    def loss(net: nn.Module, batch: Batch) -> Tensor:
        predicted_BCHW = network.call(net, batch.noisy_BCHW, batch.timestep_B, batch.label_B)
        return denoising_error(predicted_BCHW, batch.noise_BCHW)

    net, notes = _trained(model, run, stage, loss)
    return model.after(stage, net=net, notes=notes)


def _trained(
    model: DiffusionModel, run: Run, stage: Distil | Train, loss: Callable[[nn.Module, Batch], Tensor]
) -> tuple[nn.Module, tuple[Mapping[str, Any], ...]]:
    """The network after the stage's images, and what is to be said of its optimiser."""
    options = LoopOptions(
        batch=stage.batch,
        optimizer=stage.optimizer,
        learning_rate=stage.learning_rate,
        clip=stage.clip,
        ema=stage.ema,
    )
    notes = slow_here(stage.optimizer, run)
    return trained(model, run, loss=loss, options=options), notes
