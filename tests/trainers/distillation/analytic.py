"""Networks whose best weights are known in closed form: one number per timestep, as suits Gaussian data."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

import torch
from torch import Tensor, nn

from trainers.models.arch_spec import ArchSpec
from trainers.models.diffusion import Diffusion
from trainers.models.diffusion_model import DiffusionModel
from trainers.models.network import Network, Region


class Table(nn.Module):
    """x^ = scale_t x_t."""

    def __init__(self, timesteps: int) -> None:
        super().__init__()
        self.scale = nn.Parameter(torch.zeros(timesteps))

    def reset_parameters(self) -> None:
        nn.init.zeros_(self.scale)


@dataclass(frozen=True, kw_only=True)
class TableNetwork(Network):
    """Predicts a multiple of its input, another one at each timestep."""

    timesteps: int

    def mistakes(self) -> list[str]:
        return []

    def build(self) -> nn.Module:
        return Table(self.timesteps)

    def call(self, net: nn.Module, image_BCHW: Tensor, timestep_B: Tensor, label_B: Tensor | None) -> Tensor:
        return net.get_parameter("scale")[timestep_B][:, None, None, None] * image_BCHW

    def attentions(self, net: nn.Module) -> dict[str, int]:
        return {}

    def refresh(self, net: nn.Module, heads: Mapping[str, int]) -> None:
        pass

    def block_of(self, layer: str) -> str:
        return "mid"

    def blocks(self) -> tuple[str, ...]:
        return ("mid",)

    def macro_block_of(self, layer: str) -> str:
        return "M1"

    def region_of(self, layer: str) -> Region | None:
        return None


def ideal(diffusion: Diffusion, *, variance: float, sampling_steps: int) -> DiffusionModel:
    """The best denoiser of images whose pixels are independent and N(0, variance).

    E[x_0 | x_t] = alpha variance / (alpha^2 variance + sigma^2) x_t, and of that what the process has networks predict.
    """
    blank = untrained(diffusion, sampling_steps=sampling_steps)
    timestep_T = torch.arange(diffusion.steps)
    alpha_T111, sigma_T111 = diffusion.alpha_sigma(timestep_T)
    gain_T111 = alpha_T111 * variance / (alpha_T111.square() * variance + sigma_T111.square())
    one_T111 = torch.ones_like(gain_T111)
    scale_T = diffusion.prediction_of(gain_T111, one_T111, timestep_T).flatten()
    blank.net.load_state_dict({"scale": scale_T})
    return blank


def untrained(diffusion: Diffusion, *, sampling_steps: int) -> DiffusionModel:
    """All zeros."""
    network = TableNetwork(image_size=8, image_channels=1, timesteps=diffusion.steps)
    spec = ArchSpec(network=network, layers={}, diffusion=diffusion, sampling_steps=sampling_steps)
    return DiffusionModel(net=network.build(), spec=replace(spec))
