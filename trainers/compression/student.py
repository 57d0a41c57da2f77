"""A new, smaller network in the teacher's place, with fresh weights for the training stages that follow."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated

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
    """

    network: Annotated[Network, NETWORKS]

    def plan(self, spec: ArchSpec) -> ArchSpec:
        from trainers.models import tracing

        network = self._network_like(spec)
        mistakes = network.mistakes()
        if network.classes not in (0, spec.network.classes):
            mistakes.append(
                f"classes is {network.classes}, the teacher's {spec.network.classes}. Use the teacher's, or 0 for none."
            )
        if mistakes:
            raise UserError("\n".join(f"network: {mistake}" for mistake in mistakes))
        return tracing.spec_of(network, sampling_steps=spec.sampling_steps)

    def apply(self, model: DiffusionModel, run: Run) -> DiffusionModel:
        import torch

        from trainers.models import tracing

        network = self._network_like(model.spec)
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(run.seed_for("student"))
            net = network.build().to(run.device)
        spec = tracing.spec_of(network, sampling_steps=model.spec.sampling_steps)
        return model.after(self, net=net, spec=spec, survivors={})

    def _network_like(self, spec: ArchSpec) -> Network:
        return self.network.for_data(image_size=spec.image_size, image_channels=spec.image_channels)
