"""Gradual distillation: teacher, then one or more models in between, then the student."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated

from pydantic import ConfigDict, Field

from trainers.bounds import Steps
from trainers.distillation._taught_stage import TaughtStage
from trainers.errors import UserError
from trainers.models.network import NETWORKS, Network
from trainers.stage import STAGES, Place

if TYPE_CHECKING:
    from trainers.models.arch_spec import ArchSpec
    from trainers.models.diffusion_model import DiffusionModel
    from trainers.run import Run


@dataclass(frozen=True, kw_only=True)
class Intermediate:
    """A model between teacher and student.

    Args:
        network: Its architecture; image size and channels are taken from the data when left out.
        timesteps: Of its process; the teacher's when left out.
        images: Part of the stage's images that it learns from, relative to the student's own part of 1.
    """

    __pydantic_config__ = ConfigDict(extra="forbid")

    network: Annotated[Network, NETWORKS]
    timesteps: Steps | None = None
    images: Annotated[float, Field(gt=0)] = 1.0

    def spec_like(self, spec: ArchSpec) -> ArchSpec:
        """Its architecture, for images and process of ``spec``, the teacher's.

        Raises:
            UserError: when it cannot be built.
        """
        from dataclasses import replace

        from trainers.models.tracing import spec_of

        network = self.network.for_data(image_size=spec.image_size, image_channels=spec.image_channels)
        if mistakes := network.data_mistakes(image_size=spec.image_size, image_channels=spec.image_channels):
            raise UserError("\n".join(mistakes))
        if network.classes not in (0, spec.network.classes):
            raise UserError(f"classes is {network.classes}, expected {spec.network.classes}, or 0 for none.")
        if mistakes := network.mistakes():
            raise UserError("\n".join(mistakes))
        diffusion = spec.diffusion if self.timesteps is None else spec.diffusion.shortened(self.timesteps)
        steps = min(spec.sampling_steps, diffusion.steps)
        made = spec_of(network, sampling_steps=steps, diffusion=diffusion)
        return replace(made, sampler=spec.sampler)


@STAGES.register("gradual")
@dataclass(frozen=True, kw_only=True)
class Gradual(TaughtStage):
    """Distils the teacher into the models of ``via``, each into the next, and the last of them into the student.

    Gradual distillation of the work on a compact CIFAR-10 DDPM; without anything in between it is ``distil``.

    Args:
        via: From the teacher's side to the student's.
    """

    via: tuple[Intermediate, ...] = ()

    @property
    def tells_early(self) -> bool:
        return not self.via

    def check_place(self, spec: ArchSpec, place: Place) -> None:
        from trainers.distillation._checks import check_teaching, check_training

        teacher = place.teacher
        for number, between in enumerate(self.via):
            try:
                learner = between.spec_like(place.teacher)
                check_training(self, learner)
                check_teaching(self, learner, teacher=teacher)
            except UserError as error:
                raise UserError("\n".join(f"via: item {number}: {line}" for line in str(error).splitlines())) from None
            teacher = learner
        check_teaching(self, spec, teacher=teacher)

    def kept_specs(self, phase: int, *, spec: ArchSpec, run: Run) -> Mapping[str, ArchSpec]:
        learners = [*(between.spec_like(run.teacher.spec) for between in self.via), spec]
        if not 0 <= phase < len(learners):
            return {}
        student = {"student": spec} if phase < len(self.via) else {}
        return {"model": learners[phase], **student, **({"teacher": learners[phase - 1]} if phase else {})}

    def apply(self, model: DiffusionModel, run: Run) -> DiffusionModel:
        from trainers.distillation import _gradual

        return _gradual.distilled_through(model, run, self)
