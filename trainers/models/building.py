"""A network from its ArchSpec: the base architecture on the meta device, then every layer at the size it says.

Every compression is a pair of changes, to the spec and to the state dict; ``build`` and ``assembled`` do the rest.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

from trainers.models.arch_spec import ArchSpec, Layer
from trainers.models.group_norm import FlexibleGroupNorm, group_norm
from trainers.models.quantized import quantized_layer


def assembled(spec: ArchSpec, state: Mapping[str, Tensor]) -> nn.Module:
    """The network of ``spec`` with these weights, in evaluation mode, every parameter trainable.

    Raises:
        ValueError: when names or shapes of the state do not fit the spec.
    """
    net = empty(spec)
    try:
        net.load_state_dict(dict(state), assign=True, strict=True)
    except RuntimeError as error:
        raise ValueError(f"these weights do not fit the architecture they come with: {error}") from None
    for parameter in net.parameters():
        parameter.requires_grad_(True)
    return net.eval()


def empty(spec: ArchSpec) -> nn.Module:
    """The network of ``spec`` on the meta device: right in every shape, without values."""
    with torch.device("meta"):
        net = spec.network.build()
        for name, layer in spec.layers.items():
            holder, attribute = _holder(net, name)
            module = getattr(holder, attribute)
            resized = _resized(module, layer)
            if resized is not module:
                setattr(holder, attribute, resized)
    spec.network.refresh(net, {attention.query: attention.heads for attention in spec.attentions})
    return net


def _holder(net: nn.Module, name: str) -> tuple[nn.Module, str]:
    parent, _, attribute = name.rpartition(".")
    try:
        holder = net.get_submodule(parent)
        holder.get_submodule(attribute)
    except AttributeError:
        raise ValueError(f"the architecture names a layer {name!r} that its network does not have") from None
    return holder, attribute


def _resized(module: nn.Module, layer: Layer) -> nn.Module:
    """The module at the spec's size and storage; the same module when nothing differs."""
    dense = _dense(module, layer)
    return dense if layer.bits in (32, 16) else quantized_layer(dense, layer)


def _dense(module: nn.Module, layer: Layer) -> nn.Module:
    match module:
        case nn.GroupNorm():
            if (module.num_channels, module.num_groups) == (layer.outputs, layer.norm_groups) and not layer.norm_over:
                return module
            return group_norm(
                layer.norm_groups,
                layer.outputs,
                eps=module.eps,
                **({"over": layer.norm_over} if layer.norm_over else {}),
            )
        case nn.LayerNorm():
            if module.normalized_shape == (layer.outputs,):
                return module
            return nn.LayerNorm(layer.outputs, eps=module.eps, bias=layer.bias)
        case nn.Conv2d() | nn.ConvTranspose2d():
            if (module.in_channels, module.out_channels, module.groups) == (layer.inputs, layer.outputs, layer.groups):
                return module
            return _convolution(module, layer)
        case nn.Linear():
            if (module.in_features, module.out_features) == (layer.inputs, layer.outputs):
                return module
            return nn.Linear(layer.inputs, layer.outputs, bias=layer.bias)
        case nn.Embedding():
            if (module.num_embeddings, module.embedding_dim) == (layer.inputs, layer.outputs):
                return module
            return nn.Embedding(layer.inputs, layer.outputs)
        case _ if layer.kind == "constant":
            return module
    raise ValueError(f"a layer of kind {layer.kind!r} cannot replace a {type(module).__name__}")


def _convolution(module: nn.Conv2d | nn.ConvTranspose2d, layer: Layer) -> nn.Module:
    """The same geometry with other channels."""
    geometry: dict[str, Any] = {
        name: getattr(module, name) for name in ("kernel_size", "stride", "padding", "dilation", "padding_mode")
    }
    if isinstance(module, nn.ConvTranspose2d):
        geometry["output_padding"] = module.output_padding
    return type(module)(layer.inputs, layer.outputs, groups=layer.groups, bias=layer.bias, **geometry)


def is_layer(module: nn.Module) -> bool:
    """Whether a module is one Layer of a spec: a leaf with weights of its own."""
    return isinstance(module, _WEIGHTED) or (not list(module.children()) and "weight" in dict(module.named_buffers()))


_WEIGHTED = (nn.Conv2d, nn.ConvTranspose2d, nn.Linear, nn.GroupNorm, nn.LayerNorm, nn.Embedding, FlexibleGroupNorm)
