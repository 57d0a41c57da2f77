"""A new, smaller network in the teacher's place, with fresh weights for the training stages that follow."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated

from trainers.bounds import Steps
from trainers.errors import UserError
from trainers.models.network import NETWORKS, Network
from trainers.stage import STAGES, Stage

if TYPE_CHECKING:
    from trainers.models.arch_spec import ArchSpec
    from trainers.models.diffusion_model import DiffusionModel
    from trainers.run import Run


@STAGES.register("student")
@dataclass(frozen=True, kw_only=True)
class Student(Stage):
    """Replaces the network; noise schedule and prediction type stay the teacher's.

    Args:
        network: The student's architecture; its widths and number of blocks can be knobs.
        timesteps: T' of its process; the teacher's T when left out. At equal times t'/T' = t/T there is equal noise, of
            linear schedules nearly: their signal-to-noise ratio differs by 0.4 dB at most with 500 of 1000 steps, by 3
            dB with 100, and by far more with few.
        own_betas: The linear schedule goes from the teacher's first to its last beta in T' steps, as in the work on a
            compact CIFAR-10 DDPM; with fewer steps images then keep more of their signal at the end.
    """

    begins_anew = True

    network: Annotated[Network, NETWORKS]
    timesteps: Steps | None = None
    own_betas: bool = False

    def plan(self, spec: ArchSpec) -> ArchSpec:
        network = self._network_like(spec)
        mistakes = network.data_mistakes(image_size=spec.image_size, image_channels=spec.image_channels)
        mistakes += network.mistakes()
        if network.classes not in (0, spec.network.classes):
            mistakes.append(
                f"classes is {network.classes}, the teacher's {spec.network.classes}. Use the teacher's, or 0 for none."
            )
        mistakes = [f"network: {mistake}" for mistake in mistakes]
        if self.own_betas and (self.timesteps is None or spec.diffusion.schedule not in ("linear", "scaled_linear")):
            mistakes.append("own_betas: changes nothing without timesteps and a linear schedule. Leave it out.")
        if mistakes:
            raise UserError("\n".join(mistakes))
        return self._spec(network, spec)

    def apply(self, model: DiffusionModel, run: Run) -> DiffusionModel:
        from trainers.models.fresh import fresh

        spec = self._spec(self._network_like(model.spec), model.spec)
        made = fresh(spec, seed=run.seed_for("student"), device=run.device)
        return model.after(self, net=made.net, spec=spec, survivors={})

    def _spec(self, network: Network, teacher: ArchSpec) -> ArchSpec:
        from dataclasses import replace

        from trainers.models.tracing import spec_of

        diffusion = teacher.diffusion
        if self.timesteps is not None:
            shortened = diffusion.shortened(self.timesteps)
            diffusion = replace(diffusion, steps=self.timesteps) if self.own_betas else shortened
        steps = min(teacher.sampling_steps, diffusion.steps)
        made = spec_of(network, sampling_steps=steps, diffusion=diffusion)
        return replace(
            made, sampler=teacher.sampler, guidance=teacher.guidance if network.unlabelled is not None else 1.0
        )

    def _network_like(self, spec: ArchSpec) -> Network:
        return self.network.for_data(image_size=spec.image_size, image_channels=spec.image_channels)
