"""What the training stages do, once torch is loaded."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from trainers.distillation._loop import Batch, LoopOptions, trained
from trainers.distillation._losses import denoising_error, output_distance

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

    options = LoopOptions(batch=stage.batch, learning_rate=stage.learning_rate, clip=stage.clip, ema=stage.ema)
    net = trained(model, run, loss=loss, options=options)
    return model.after(stage, net=net, spec=stage.plan(model.spec))


def from_scratch(model: DiffusionModel, run: Run, stage: Train) -> DiffusionModel:
    """The network after learning the noise in real images, without a teacher."""
    network = model.spec.network

    def loss(net: nn.Module, batch: Batch) -> Tensor:
        predicted_BCHW = network.call(net, batch.noisy_BCHW, batch.timestep_B, batch.label_B)
        return denoising_error(predicted_BCHW, batch.noise_BCHW)

    options = LoopOptions(batch=stage.batch, learning_rate=stage.learning_rate, clip=stage.clip, ema=stage.ema)
    return model.after(stage, net=trained(model, run, loss=loss, options=options))
