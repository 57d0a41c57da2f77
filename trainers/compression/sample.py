"""How the model draws: sampler, steps and guidance, which cost and quality depend on as on its weights."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Annotated

from pydantic import Field

from trainers.errors import UserError
from trainers.models.samplers.sampler import SAMPLERS, Sampler
from trainers.stage import STAGES, Stage

if TYPE_CHECKING:
    from trainers.models.arch_spec import ArchSpec
    from trainers.models.diffusion_model import DiffusionModel
    from trainers.run import Run


@STAGES.register("sample")
@dataclass(frozen=True, kw_only=True)
class Sample(Stage):
    """Sets how images are drawn; nothing is trained. What is left out stays as it is.

    Args:
        steps: Of the sampler.
        sampler: ``ddim``, ``ddpm``, ``dpm_solver``; of the score network ``euler_maruyama``, ``predictor_corrector`` or
            ``ode``.
        guidance: Of a class-conditional model that was trained with label dropout: 1 is none; each step then takes two
            forward passes (Ho and Salimans 2022; 1 + w in their terms).
    """

    steps: Annotated[int, Field(ge=1, le=1000)] | None = None
    sampler: Annotated[Sampler, SAMPLERS] | None = None
    guidance: Annotated[float, Field(ge=0)] | None = None

    def plan(self, spec: ArchSpec) -> ArchSpec:
        planned = replace(
            spec,
            sampling_steps=spec.sampling_steps if self.steps is None else self.steps,
            sampler=spec.sampler if self.sampler is None else self.sampler,
            guidance=spec.guidance if self.guidance is None else self.guidance,
        )
        if mistakes := planned.drawing_mistakes():
            # The option is called steps in here.
            raise UserError("\n".join(mistake.removeprefix("sampling_") for mistake in mistakes))
        return planned

    def apply(self, model: DiffusionModel, run: Run) -> DiffusionModel:
        return model.after(self, spec=self.plan(model.spec))
