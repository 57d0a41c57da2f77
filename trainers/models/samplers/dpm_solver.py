"""DPM-Solver++ (Lu et al. 2022)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from trainers.models.samplers.sampler import SAMPLERS, Sampler

if TYPE_CHECKING:
    import torch
    from torch import Tensor

    from trainers.models.diffusion import Diffusion
    from trainers.models.samplers.sampler import Predict


@SAMPLERS.register("dpm_solver")
@dataclass(frozen=True, kw_only=True)
class DpmSolver(Sampler):
    """DPM-Solver++, multistep (Lu et al. 2022, Algorithm 2): one forward pass a step, deterministic.

    Args:
        order: Of the solver; at few steps the last ones are of lower order, which is more stable.
    """

    order: Literal[1, 2, 3] = 2

    def draw(
        self, predict: Predict, noise_BCHW: Tensor, *, diffusion: Diffusion, steps: int, generator: torch.Generator
    ) -> Tensor:
        from trainers.models.samplers._schedulers import drawn

        return drawn(self._scheduler(diffusion), predict, noise_BCHW, diffusion.timesteps(steps))

    def scheduler(self, diffusion: Diffusion, steps: int) -> Any | None:
        scheduler = self._scheduler(diffusion)
        scheduler.set_timesteps(steps)
        return scheduler if scheduler.timesteps.tolist() == diffusion.timesteps(steps).tolist() else None

    def _scheduler(self, diffusion: Diffusion) -> Any:
        from diffusers.schedulers.scheduling_dpmsolver_multistep import DPMSolverMultistepScheduler

        from trainers.models.samplers._schedulers import process

        # Static clipping of the predicted image, as DDIM's: diffusers' own "thresholding" with a ratio of 1 and a
        # largest value of 1 is just that.
        return DPMSolverMultistepScheduler(
            **process(diffusion),
            solver_order=self.order,
            thresholding=diffusion.is_clipped,
            dynamic_thresholding_ratio=1.0,
            sample_max_value=1.0,
        )
