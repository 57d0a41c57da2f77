"""The probability-flow equation, solved by scipy (Song et al. 2021)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated

from pydantic import Field

from trainers.models.samplers.sampler import SAMPLERS, Sampler

if TYPE_CHECKING:
    import torch
    from numpy import float64
    from numpy.typing import NDArray
    from torch import Tensor

    from trainers.models.diffusion import Diffusion
    from trainers.models.samplers.sampler import Predict

#: Forward passes per decade of tolerance that images of digits took; only a guess before it is measured.
_PER_DECADE = 12.0


@SAMPLERS.register("ode")
@dataclass(frozen=True, kw_only=True)
class Ode(Sampler):
    """The probability-flow equation through scipy's adaptive Runge-Kutta method; deterministic.

    ``sampling_steps`` do not count: the tolerance decides how many forward passes are made, and the images of a batch
    take their steps together, so that an image depends a little on its neighbours, within the tolerance.

    Args:
        tolerance: Relative and absolute error allowed in a step.
    """

    tolerance: Annotated[float, Field(gt=0, le=0.1)] = 1e-4

    def draw(
        self, predict: Predict, noise_BCHW: Tensor, *, diffusion: Diffusion, steps: int, generator: torch.Generator
    ) -> Tensor:
        import torch
        from scipy.integrate import solve_ivp

        from trainers.models.samplers._equations import EARLIEST, Equations, denoised

        equations = Equations(predict, diffusion)

        def as_images(values: NDArray[float64]) -> Tensor:
            return torch.from_numpy(values).to(noise_BCHW.device, torch.float32).view_as(noise_BCHW)

        def slope(time: float, values: NDArray[float64]) -> NDArray[float64]:
            noisy_BCHW = as_images(values)
            drift, variance = equations.rates(time)
            found_BCHW = drift * noisy_BCHW - variance / 2 * equations.score(noisy_BCHW, time)
            result: NDArray[float64] = found_BCHW.double().cpu().numpy().ravel()
            return result

        begun = (noise_BCHW * diffusion.noisiest).double().cpu().numpy().ravel()
        solved = solve_ivp(slope, (1.0, EARLIEST), begun, method="RK45", rtol=self.tolerance, atol=self.tolerance)
        if not solved.success:
            raise FloatingPointError(f"the probability-flow equation could not be solved: {solved.message}")
        return denoised(equations, as_images(solved.y[:, -1]))

    def evaluations(self, steps: int) -> float:
        import math

        return max(14.0, -_PER_DECADE * math.log10(self.tolerance))

    def mistakes(self, diffusion: Diffusion) -> list[str]:
        return []
