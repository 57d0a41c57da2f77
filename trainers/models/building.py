"""A network from its ArchSpec: the base architecture on the meta device, then every layer at the size it says.

Every compression is a pair of changes, to the spec and to the state dict; ``build`` and ``assembled`` do the rest.
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor, nn

from trainers.models.arch_spec import ArchSpec, Layer
from trainers.models.group_norm import FlexibleGroupNorm, group_norm
from trainers.models.quantized import QuantizedConv2d, QuantizedLinear


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
    spec.network.refresh(net)
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
    """The module at the spec's size; the same module when it has it."""
    resized: nn.Module
    match module:
        case nn.GroupNorm():
            if module.num_channels == layer.outputs and module.num_groups == layer.norm_groups:
                return module
            return group_norm(layer.norm_groups, layer.outputs, eps=module.eps)
        case nn.Conv2d():
            resized = module
            if (module.in_channels, module.out_channels, module.groups) != (layer.inputs, layer.outputs, layer.groups):
                resized = nn.Conv2d(
                    layer.inputs,
                    layer.outputs,
                    module.kernel_size,  # type: ignore[arg-type]
                    module.stride,  # type: ignore[arg-type]
                    module.padding,  # type: ignore[arg-type]
                    module.dilation,  # type: ignore[arg-type]
                    layer.groups,
                    bias=layer.bias,
                )
            return resized if layer.bits == 32 else QuantizedConv2d(resized, bits=layer.bits, format=layer.format)
        case nn.Linear():
            resized = module
            if (module.in_features, module.out_features) != (layer.inputs, layer.outputs):
                resized = nn.Linear(layer.inputs, layer.outputs, bias=layer.bias)
            return resized if layer.bits == 32 else QuantizedLinear(resized, bits=layer.bits, format=layer.format)
        case nn.Embedding():
            if (module.num_embeddings, module.embedding_dim) == (layer.inputs, layer.outputs):
                return module
            return nn.Embedding(layer.inputs, layer.outputs)
        case _:
            raise ValueError(f"a layer of kind {layer.kind!r} cannot replace a {type(module).__name__}")


#: Modules that hold weights, one Layer each in a spec.
WEIGHTED = (nn.Conv2d, nn.Linear, nn.GroupNorm, nn.Embedding, FlexibleGroupNorm, QuantizedConv2d, QuantizedLinear)
