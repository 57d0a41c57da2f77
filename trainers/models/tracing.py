"""The ArchSpec of a network, read off one forward pass on the meta device."""

from __future__ import annotations

from dataclasses import replace
from functools import lru_cache
from typing import Any

import torch
from torch import Tensor, nn

from trainers.models.arch_spec import ArchSpec, Attention, Layer
from trainers.models.building import WEIGHTED
from trainers.models.diffusion import Diffusion
from trainers.models.network import Network


def spec_of(network: Network, *, sampling_steps: int, diffusion: Diffusion | None = None) -> ArchSpec:
    """The architecture that ``network`` builds, before anything is compressed; computed once per network."""
    return replace(_traced(network), sampling_steps=sampling_steps, diffusion=diffusion or Diffusion())


def example_inputs(network: Network) -> tuple[Tensor, Tensor, Tensor | None]:
    """One noisy image, its timestep and its label (None without classes), on the meta device."""
    assert network.image_size is not None and network.image_channels is not None
    image_BCHW = torch.zeros(1, network.image_channels, network.image_size, network.image_size, device="meta")
    timestep_B = torch.ones(1, dtype=torch.long, device="meta")
    return image_BCHW, timestep_B, torch.zeros_like(timestep_B) if network.classes else None


@lru_cache(maxsize=256)
def _traced(network: Network) -> ArchSpec:
    with torch.device("meta"):
        net = network.build()
    heads = network.attentions(net)
    layers: dict[str, Layer] = {}

    def note(name: str, module: nn.Module, output: Tensor) -> None:
        seen = layers.get(name)
        layer = _layer(module, output)
        layers[name] = layer if seen is None else replace(layer, positions=seen.positions + layer.positions)

    hooks = [
        module.register_forward_hook(lambda module, _, output, name=name: note(name, module, output))
        for name, module in net.named_modules()
        if isinstance(module, WEIGHTED)
    ]
    with torch.no_grad():
        network.call(net, *example_inputs(network))
    for hook in hooks:
        hook.remove()
    _check_complete(net, layers)
    return ArchSpec(
        network=network,
        layers=layers,
        attentions=tuple(
            Attention(query=query, tokens=layers[query].positions, heads=count) for query, count in heads.items()
        ),
    )


def _layer(module: nn.Module, output: Tensor) -> Layer:
    match module:
        case nn.Conv2d():
            return Layer(
                kind="conv",
                inputs=module.in_channels,
                outputs=module.out_channels,
                kernel=module.kernel_size[0] * module.kernel_size[1],
                groups=module.groups,
                bias=module.bias is not None,
                positions=output.shape[-2] * output.shape[-1],
            )
        case nn.Linear():
            return Layer(
                kind="linear",
                inputs=module.in_features,
                outputs=module.out_features,
                bias=module.bias is not None,
                positions=output.numel() // output.shape[-1],
            )
        case nn.GroupNorm():
            positions = output.numel() // output.shape[1]
            width = module.num_channels
            return Layer(kind="norm", inputs=width, outputs=width, norm_groups=module.num_groups, positions=positions)
        case nn.Embedding():
            return Layer(kind="embedding", inputs=module.num_embeddings, outputs=module.embedding_dim, bias=False)
    raise TypeError(f"no layer kind for {type(module).__name__}")


def _check_complete(net: nn.Module, layers: dict[str, Any]) -> None:
    """A parameter that no layer accounts for would make every computed cost wrong."""
    held = {f"{name}.{kind}" for name in layers for kind in ("weight", "bias")}
    missed = [name for name, _ in net.named_parameters() if name not in held]
    if missed:
        raise TypeError(f"the architecture does not account for the parameters {', '.join(missed[:5])}")
