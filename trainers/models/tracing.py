"""The ArchSpec of a network, read off one forward pass on the meta device."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from functools import lru_cache
from typing import Any

import torch
from torch import Tensor, nn

from trainers.errors import UserError
from trainers.models.arch_spec import ArchSpec, Attention, Layer
from trainers.models.building import is_layer
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

    def note(name: str, module: nn.Module, inputs: tuple[Tensor, ...], output: Tensor) -> None:
        seen = layers.get(name)
        layer = _layer(module, inputs, output)
        layers[name] = layer if seen is None else layer.but(positions=seen.positions + layer.positions)

    hooks = [
        module.register_forward_hook(lambda module, inputs, output, name=name: note(name, module, inputs, output))
        for name, module in net.named_modules()
        if is_layer(module)
    ]
    with torch.no_grad():
        try:
            network.call(net, *example_inputs(network))
        except ValueError as error:
            if "more than 1 value" not in str(error):
                raise
            raise UserError(
                "teacher.network: a norm would see a single value, one channel in its group at a single pixel, and "
                "make it 0. Use fewer norm_groups, wider or fewer channels, or a larger image_size."
            ) from None
    for hook in hooks:
        hook.remove()
    _check_complete(net, layers)
    return ArchSpec(
        network=network,
        layers=layers,
        attentions=tuple(
            Attention(query=query, tokens=layers[query].positions, heads=count, keys=_keys(query, layers))
            for query, count in heads.items()
        ),
    )


def _keys(query: str, layers: Mapping[str, Layer]) -> int:
    """Tokens attended to; 0 where they are the queries' own."""
    keys = layers[query.removesuffix("to_q") + "to_k"].positions
    return 0 if keys == layers[query].positions else keys


def _layer(module: nn.Module, inputs: tuple[Tensor, ...], output: Tensor) -> Layer:
    match module:
        case nn.Conv2d() | nn.ConvTranspose2d():
            is_transposed = isinstance(module, nn.ConvTranspose2d)
            pixels = inputs[0] if is_transposed else output
            return Layer(
                kind="conv_transpose" if is_transposed else "conv",
                inputs=module.in_channels,
                outputs=module.out_channels,
                kernel=module.kernel_size[0] * module.kernel_size[1],
                groups=module.groups,
                bias=module.bias is not None,
                positions=pixels.shape[-2] * pixels.shape[-1],
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
        case nn.LayerNorm():
            (width,) = module.normalized_shape
            positions = output.numel() // width
            bias = module.bias is not None
            return Layer(kind="layer_norm", inputs=width, outputs=width, positions=positions, bias=bias)
        case nn.Embedding():
            return Layer(kind="embedding", inputs=module.num_embeddings, outputs=module.embedding_dim, bias=False)
    return Layer(kind="constant", inputs=0, outputs=module.get_buffer("weight").numel(), bias=False)


def _check_complete(net: nn.Module, layers: dict[str, Any]) -> None:
    """A tensor that no layer accounts for would make every computed cost wrong."""
    held = {f"{name}.{kind}" for name in layers for kind in ("weight", "bias")}
    missed = [name for name in net.state_dict() if name not in held]
    if missed:
        raise TypeError(f"the architecture does not account for the parameters {', '.join(missed[:5])}")
