"""Weights stored in 16 bits: in memory they are float32 with values that float16 can hold, on disk they are float16."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from trainers.errors import UserError

if TYPE_CHECKING:
    from trainers.models.arch_spec import ArchSpec


def names_in_float16(spec: ArchSpec) -> Iterator[str]:
    """The tensors of the state that are stored as float16."""
    for name, layer in spec.layers.items():
        if layer.bits == 16:
            yield f"{name}.weight"
        if layer.bias and layer.bias_bits == 16:
            yield f"{name}.bias"


def rounded(spec: ArchSpec, state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The state with values that float16 can hold wherever the spec stores 16 bits; the rest as it is.

    Raises:
        UserError: when a value is too large for float16.
    """
    held = {name: halved(name, state[name]).to(state[name].dtype) for name in names_in_float16(spec)}
    return {**state, **held}


def halved(name: str, tensor: Tensor) -> Tensor:
    """The tensor called ``name`` as float16, which rounds it.

    Raises:
        UserError: when a value is too large for float16.
    """
    half = tensor.detach().half()
    if bool((half.isinf() & tensor.isfinite()).any()):
        largest = torch.finfo(torch.float16).max
        raise UserError(
            f"{name} holds {float(tensor.detach().abs().max()):g}; float16 reaches {largest:g}. "
            "Name this layer in `skip`, or leave it at 32 bits."
        )
    return half
