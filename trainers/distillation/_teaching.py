"""What a student learns from its teacher: answers, features of images, and where blocks are active."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from trainers.distillation._checks import shared_ends
from trainers.distillation._losses import block_distance, feature_distance, squared_error
from trainers.errors import UserError

if TYPE_CHECKING:
    from trainers.distillation._loop import Batch
    from trainers.distillation._taught_stage import TaughtStage
    from trainers.models.arch_spec import ArchSpec
    from trainers.models.diffusion_model import DiffusionModel
    from trainers.run import Run

Features = Callable[[Tensor], Tensor]


@dataclass
class Teaching:
    """The losses of one student beside one teacher.

    Args:
        stage: With the weights of the losses.
        spec: Of the student.
        teacher: Never trained.
        features: Of images, where they are compared.
        layers: Last layer of each block that both have, where blocks are compared.
    """

    stage: TaughtStage
    spec: ArchSpec
    teacher: DiffusionModel
    features: Features | None
    layers: tuple[str, ...]
    _student_outputs: dict[str, Tensor] = field(default_factory=dict)
    _teacher_outputs: dict[str, Tensor] = field(default_factory=dict)

    @classmethod
    def of(cls, stage: TaughtStage, spec: ArchSpec, teacher: DiffusionModel, run: Run) -> Teaching:
        """What the stage asks for, which ``check_teaching`` has found that the teacher can answer."""
        layers = shared_ends(spec, teacher.spec) if stage.weights.block else ()
        return cls(stage, spec, teacher, features_for(stage, run) if stage.weights.feature else None, layers)

    def loss(self, net: nn.Module, batch: Batch) -> Tensor:
        """All terms; with blocks to compare, within ``watching``."""
        weights, diffusion = self.stage.weights, self.spec.diffusion
        student_BCHW = self.spec.network.call(net, batch.noisy_BCHW, batch.timestep_B, batch.label_B)
        error_weight_B111 = diffusion.error_weight(self.stage.error_weight, batch.timestep_B)
        target_BCHW = diffusion.target(batch.image_BCHW, batch.noise_BCHW, batch.timestep_B)
        total = weights.noise * squared_error(student_BCHW, target_BCHW, error_weight_B111)
        if not weights.asks_teacher:
            return total
        with torch.no_grad():
            teacher_BCHW = self.answer(batch)
        if weights.output:
            total = total + weights.output * squared_error(student_BCHW, teacher_BCHW, error_weight_B111)
        if self.features is not None:
            student_BF, teacher_BF = (
                self.features(self._shown(answer_BCHW, batch)) for answer_BCHW in (student_BCHW, teacher_BCHW)
            )
            total = total + weights.feature * feature_distance(student_BF, teacher_BF)
        if self.layers:
            outputs = ([held[name] for name in self.layers] for held in (self._student_outputs, self._teacher_outputs))
            total = total + weights.block * block_distance(*outputs)
        return total

    def answer(self, batch: Batch) -> Tensor:
        """What the teacher would have the student predict: it sees the same images and noise at the same time t.

        The student's timestep t' of T' is the teacher's t = t' T / T', counted from 1.
        """
        ours, theirs = self.spec.diffusion, self.teacher.spec.diffusion
        if ours == theirs:
            return self.teacher.predict(batch.noisy_BCHW, batch.timestep_B, self._label(batch))
        timestep_B = (batch.timestep_B + 1) * theirs.steps / ours.steps - 1
        if theirs.time == "discrete":
            timestep_B = timestep_B.round().long().clamp(min=0)
        noisy_BCHW = theirs.noised(batch.image_BCHW, batch.noise_BCHW, timestep_B)
        answer_BCHW = self.teacher.predict(noisy_BCHW, timestep_B, self._label(batch))
        if ours.prediction == theirs.prediction != "v":
            return answer_BCHW
        image_BCHW = theirs.image_of(answer_BCHW, noisy_BCHW, timestep_B)
        return ours.prediction_of(image_BCHW, batch.noisy_BCHW, batch.timestep_B)

    @contextmanager
    def watching(self, net: nn.Module) -> Iterator[None]:
        """Within it, the outputs of the blocks to compare are kept."""
        pairs = ((net, self._student_outputs), (self.teacher.net, self._teacher_outputs))
        handles = [_keep_output(of, name, held) for of, held in pairs for name in self.layers]
        try:
            yield
        finally:
            for handle in handles:
                handle.remove()
            self._student_outputs.clear()
            self._teacher_outputs.clear()

    def _label(self, batch: Batch) -> Tensor | None:
        return batch.label_B if self.teacher.spec.network.classes else None

    def _shown(self, answer_BCHW: Tensor, batch: Batch) -> Tensor:
        """What features are taken of."""
        if self.stage.feature_of == "output":
            return answer_BCHW
        # Far from the image the estimate leaves [-1, 1] by far, where the extractor has never been.
        image_BCHW = self.spec.diffusion.image_of(answer_BCHW.float(), batch.noisy_BCHW, batch.timestep_B)
        return image_BCHW.clamp(-1, 1)


def features_for(stage: TaughtStage, run: Run) -> Features:
    """Differentiable features of images in [-1, 1], on the run's device.

    Raises:
        UserError: for Inception without weights, labels where there are none, or images in latents.
    """
    from trainers.models import inception
    from trainers.models.extractor import label_extractor

    if run.images.latents is not None:
        raise UserError(
            "weights.feature: features are of pixels, but this data is trained in latents. Use weights.output."
        )
    if stage.extractor == "inception" or (stage.extractor == "auto" and inception.is_here()):
        return inception.inception_features().to(run.device)
    return label_extractor(run.images, run.cache).net.to(run.device).features


def _keep_output(net: nn.Module, name: str, held: dict[str, Tensor]) -> torch.utils.hooks.RemovableHandle:
    def keep(module: nn.Module, inputs: object, output: Tensor) -> None:
        held[name] = output

    return net.get_submodule(name).register_forward_hook(keep)
