"""Distillation: the student learns to denoise real images, and what the teacher makes of them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from trainers.distillation._taught_stage import TaughtStage
from trainers.stage import STAGES

if TYPE_CHECKING:
    from trainers.models.diffusion_model import DiffusionModel
    from trainers.run import Run


@STAGES.register("distil")
@dataclass(frozen=True, kw_only=True)
class Distil(TaughtStage):
    """Trains the student on real images beside the frozen teacher.

    A student of T' timesteps at t' learns from the teacher of T timesteps at t = t' T / T', with the same image and
    noise.
    """

    def apply(self, model: DiffusionModel, run: Run) -> DiffusionModel:
        from trainers.distillation import _training

        return _training.distilled(model, run, self)
