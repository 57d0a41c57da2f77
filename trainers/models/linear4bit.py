"""4-bit linear layers on disk, named and described as bitsandbytes' ``Linear4bit`` holds them, so that it reads them.

In memory such a weight is a code and a scale like any other (see ``QuantizedWeight``). bitsandbytes knows no 4-bit
convolutions: those keep our own names, and need neither table nor description.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from trainers.models.stored_bits import described_name, description, is_described
from trainers.models.value_tables import value_table

if TYPE_CHECKING:
    from trainers.models.arch_spec import ArchSpec, Layer


def written(spec: ArchSpec, state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The state with the tensors from which ``Params4bit.from_prequantized`` makes a weight."""
    renamed = dict(state)
    for name, layer in _described(spec):
        renamed[name] = renamed.pop(f"{name}.code")[:, None]
        renamed[f"{name}.absmax"] = renamed.pop(f"{name}.scale")
        renamed[f"{name}.quant_map"] = value_table(layer.format, torch.device("cpu")).clone()
        renamed[described_name(name, layer)] = _as_bytes(layer)
    return renamed


def read(spec: ArchSpec, state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The state as the network holds it; files from before there were descriptions are so already.

    Raises:
        ValueError: when a table or description is not the one that the network restores weights by.
        KeyError: when a part is missing.
    """
    renamed = dict(state)
    for name, layer in _described(spec):
        if f"{name}.code" in renamed:
            continue
        table, described = renamed.pop(f"{name}.quant_map").cpu(), renamed.pop(described_name(name, layer)).cpu()
        if not torch.equal(table, value_table(layer.format, table.device)) or not torch.equal(
            described, _as_bytes(layer)
        ):
            raise ValueError(f"{name} is described as something else than {description(layer)} with its own table")
        renamed[f"{name}.code"] = renamed.pop(name).flatten()
        renamed[f"{name}.scale"] = renamed.pop(f"{name}.absmax")
    return renamed


def _described(spec: ArchSpec) -> Iterator[tuple[str, Layer]]:
    return ((f"{name}.weight", layer) for name, layer in spec.layers.items() if is_described(layer))


def _as_bytes(layer: Layer) -> Tensor:
    return torch.tensor(list(description(layer).encode()), dtype=torch.uint8)
