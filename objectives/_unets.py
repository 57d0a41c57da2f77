"""Small real U-Nets to time when a device is calibrated."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial

import torch
from torch import Tensor, nn

from trainers.models.arch_spec import ArchSpec, Layer
from trainers.models.building import empty
from trainers.models.diffusion_model import DiffusionModel
from trainers.models.networks.unet import Unet
from trainers.models.sampling import draw
from trainers.models.tracing import spec_of

_BATCH = 64


def generations(device: torch.device) -> Iterator[tuple[ArchSpec, Callable[[], object]]]:
    """Generations of different U-Nets, plain ones in one step and in several, compressed ones in several."""
    for spec in (*_plain(), *(spec.with_sampling_steps(1) for spec in _plain()), *_compressed()):
        noise_BCHW = torch.randn(1, spec.image_channels, spec.image_size, spec.image_size, device=device)
        yield spec, partial(draw, _fresh(spec, device), noise_BCHW)


def forward_calls(device: torch.device) -> list[tuple[ArchSpec, int, Callable[[], Tensor]]]:
    """(architecture, batch, one forward pass) of a small and a large U-Net."""
    calls: list[tuple[ArchSpec, int, Callable[[], Tensor]]] = []
    for channels in ((8, 16), (32, 64)):
        model = _fresh(_spec(channels), device)
        image_BCHW = torch.randn(_BATCH, 1, 8, 8, device=device)
        timestep_B = torch.zeros(_BATCH, dtype=torch.long, device=device)
        calls.append((model.spec, _BATCH, partial(model.predict, image_BCHW, timestep_B)))
    return calls


def training_calls(device: torch.device) -> list[tuple[ArchSpec, int, Callable[[], object]]]:
    """The same with the backward pass."""

    def train(forward: Callable[[], Tensor]) -> None:
        forward().square().mean().backward()

    return [(spec, batch, partial(train, forward)) for spec, batch, forward in forward_calls(device)]


def _plain() -> Iterator[ArchSpec]:
    yield _spec((8, 16))
    yield _spec((32, 64))
    yield _spec((16, 16), attention=(True, True))
    yield _spec((8, 16, 32), layers=2)
    yield _spec((16, 32), image_size=16)


def _compressed() -> Iterator[ArchSpec]:
    """Each way alone and with others: together they cost more than the sum of what each costs alone."""
    for channels, groups, bits, is_flexible in (
        ((16, 32), 2, 32, False),
        ((20, 28), 4, 32, True),
        ((16, 32), 1, 32, True),
        ((16, 32), 1, 8, True),
        ((20, 28), 2, 8, False),
        ((20, 28), 1, 4, False),
        ((16, 24), 4, 4, True),
    ):
        yield _spec(channels).map_layers(partial(_changed, groups=groups, bits=bits, is_flexible=is_flexible))


def _spec(
    channels: tuple[int, ...], *, attention: tuple[bool, ...] | None = None, layers: int = 1, image_size: int = 8
) -> ArchSpec:
    network = Unet(
        image_size=image_size, image_channels=1, channels=channels, attention=attention, layers=layers, norm_groups=4
    )
    return spec_of(network, sampling_steps=4)


def _changed(name: str, layer: Layer, *, groups: int, bits: int, is_flexible: bool) -> Layer:
    """The layer compressed, where its kind and its widths allow it."""
    if layer.kind == "norm" and is_flexible:
        quarter = layer.outputs // 4
        return layer.but(norm_groups=(quarter + 1, quarter - 1, quarter, quarter))
    if layer.kind == "conv" and layer.inputs % groups == 0 and layer.outputs % groups == 0:
        layer = layer.but(groups=groups)
    if layer.kind in ("conv", "linear"):
        layer = layer.but(bits=bits, format={32: "", 8: "int8", 4: "nf4"}[bits])
    return layer


def _fresh(spec: ArchSpec, device: torch.device) -> DiffusionModel:
    """A model with random weights; their values do not matter for time, but zeros or denormals could."""
    net = empty(spec).to_empty(device=device)
    for tensor in (*net.parameters(), *net.buffers()):
        if tensor.is_floating_point():
            nn.init.normal_(tensor.detach(), std=0.05)
        else:
            tensor.random_(0, 256)
    return DiffusionModel(net=net.eval(), spec=spec)
