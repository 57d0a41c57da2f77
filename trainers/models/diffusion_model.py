"""DiffusionModel: a network with its architecture, its noise process and the log of what was done to it."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from trainers.models.arch_spec import ArchSpec
from trainers.models.building import assembled

if TYPE_CHECKING:
    from trainers.stage import Stage


@dataclass(frozen=True)
class DiffusionModel:
    """What a stage takes and gives back.

    Args:
        net: The network; never changed in place once the model exists.
        spec: Its architecture; what the net is and what the spec says are always the same.
        log: What was done, oldest first, one JSON object per stage.
        notes: What was asked and what was achieved, where a stage could do only a part.
        survivors: Of each coupled group that lost channels (by name), those that are left, in the teacher's numbering.
    """

    net: nn.Module
    spec: ArchSpec
    log: tuple[Any, ...] = ()
    notes: tuple[Mapping[str, Any], ...] = ()
    survivors: Mapping[str, tuple[int, ...]] = field(default_factory=dict)

    @property
    def device(self) -> torch.device:
        """Where the weights are."""
        return next(self.net.parameters()).device

    def predict(self, image_BCHW: Tensor, timestep_B: Tensor, label_B: Tensor | None = None) -> Tensor:
        """The network's answer to noisy images: the noise in them, for epsilon prediction."""
        return self.spec.network.call(self.net, image_BCHW, timestep_B, label_B)

    def after(
        self,
        stage: Stage,
        *,
        net: nn.Module | None = None,
        spec: ArchSpec | None = None,
        notes: tuple[Mapping[str, Any], ...] = (),
        survivors: Mapping[str, tuple[int, ...]] | None = None,
    ) -> DiffusionModel:
        """This model with another network or architecture, and the stage in its log."""
        from trainers.stage import STAGES

        return replace(
            self,
            net=net if net is not None else self.net,
            spec=spec if spec is not None else self.spec,
            log=(*self.log, STAGES.written(stage)),
            notes=(*self.notes, *notes),
            survivors=survivors if survivors is not None else self.survivors,
        )

    def fingerprint(self) -> str:
        """16 hex digits that change with any weight or any part of the architecture."""
        digest = hashlib.sha256(self.spec.to_json().encode())
        for name, tensor in sorted(self.net.state_dict().items()):
            digest.update(name.encode())
            digest.update(tensor.detach().cpu().contiguous().numpy().tobytes())
        return digest.hexdigest()[:16]

    def to(self, device: torch.device | str) -> DiffusionModel:
        """A copy of the model on another device; the model itself when it is there already."""
        if torch.device(device) == self.device:
            return self
        state = {name: tensor.to(device) for name, tensor in self.net.state_dict().items()}
        return replace(self, net=assembled(self.spec, state))

    def copy_of_net(self) -> nn.Module:
        """The network with its own copy of the weights, to be trained."""
        return assembled(self.spec, {name: tensor.detach().clone() for name, tensor in self.net.state_dict().items()})
