"""Networks whose best weights are known in closed form: a number per timestep and class, as suits Gaussian data."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor, nn

from trainers.models.arch_spec import ArchSpec
from trainers.models.diffusion import Diffusion
from trainers.models.diffusion_model import DiffusionModel
from trainers.models.network import Network, Region


class Table(nn.Module):
    """x^ = scale_t x_t, with a scale for each class and one for none, the last."""

    def __init__(self, timesteps: int, classes: int) -> None:
        super().__init__()
        self.scale = nn.Parameter(torch.zeros((classes + 1) * timesteps))

    def reset_parameters(self) -> None:
        nn.init.zeros_(self.scale)


@dataclass(frozen=True, kw_only=True)
class TableNetwork(Network):
    """Predicts a multiple of its input, another one at each timestep and for each class."""

    timesteps: int

    def mistakes(self) -> list[str]:
        return []

    def build(self) -> nn.Module:
        return Table(self.timesteps, self.classes)

    def call(self, net: nn.Module, image_BCHW: Tensor, timestep_B: Tensor, label_B: Tensor | None) -> Tensor:
        row_B = torch.full_like(timestep_B, self.classes) if label_B is None else label_B % (self.classes + 1)
        return net.get_parameter("scale")[row_B * self.timesteps + timestep_B][:, None, None, None] * image_BCHW

    @property
    def unlabelled(self) -> int | None:
        return -1 if self.classes else None

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
    return _table(diffusion, [variance], sampling_steps=sampling_steps)


def ideal_by_class(diffusion: Diffusion, *, variances: Sequence[float], sampling_steps: int) -> DiffusionModel:
    """The same of classes with these variances; the last one is that of images without a label."""
    return _table(diffusion, variances, sampling_steps=sampling_steps)


def untrained(diffusion: Diffusion, *, sampling_steps: int, classes: int = 0) -> DiffusionModel:
    """All zeros."""
    network = TableNetwork(image_size=8, image_channels=1, timesteps=diffusion.steps, classes=classes)
    spec = ArchSpec(network=network, layers={}, diffusion=diffusion, sampling_steps=sampling_steps)
    return DiffusionModel(net=network.build(), spec=replace(spec))


def _table(diffusion: Diffusion, variances: Sequence[float], *, sampling_steps: int) -> DiffusionModel:
    blank = untrained(diffusion, sampling_steps=sampling_steps, classes=len(variances) - 1)
    timestep_T = torch.arange(diffusion.steps)
    alpha_T111, sigma_T111 = diffusion.alpha_sigma(timestep_T)
    scales = []
    for variance in variances:
        gain_T111 = alpha_T111 * variance / (alpha_T111.square() * variance + sigma_T111.square())
        scales.append(diffusion.prediction_of(gain_T111, torch.ones_like(gain_T111), timestep_T).flatten())
    blank.net.load_state_dict({"scale": torch.cat(scales)})
    return blank
