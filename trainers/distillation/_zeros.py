"""Weights that were set to zero stay zero in training (unstructured pruning)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from trainers.distillation._kept import kept_like

if TYPE_CHECKING:
    from trainers.models.arch_spec import ArchSpec

_NAME = "is_kept."


class Zeros:
    """The zeros of a network's masked layers, as they are when it is made.

    Args:
        net: The network about to be trained.
        spec: Its architecture; layers with a share of ``zeros`` keep them, of weight and bias.
    """

    def __init__(self, net: nn.Module, spec: ArchSpec) -> None:
        masked = {name for name, layer in spec.layers.items() if layer.zeros}
        self._parameters = {
            name: parameter for name, parameter in net.named_parameters() if name.rpartition(".")[0] in masked
        }
        self._is_kept = {name: (tensor.detach() != 0).to(tensor.dtype) for name, tensor in self._parameters.items()}

    @torch.no_grad()
    def put_back(self) -> None:
        """Set them to zero again, after an optimiser's step."""
        if self._is_kept:
            masked: list[Tensor] = list(self._parameters.values())
            torch._foreach_mul_(masked, list(self._is_kept.values()))
            # A negative weight leaves -0.0, which neither compresses nor quantises as 0 does.
            torch._foreach_add_(masked, 0.0)

    def kept_state(self) -> dict[str, Tensor]:
        """Where they are, as tensors: a weight that reached zero by training is none of them."""
        return {f"{_NAME}{name}": is_kept.bool() for name, is_kept in self._is_kept.items()}

    def restore_state(self, kept: Mapping[str, Tensor]) -> None:
        """Take them from what ``kept_state`` gave.

        Raises:
            UnfitStateError: when they are not there, or another network's.
        """
        for name, is_kept in self._is_kept.items():
            is_kept.copy_(kept_like(is_kept.bool(), f"{_NAME}{name}", kept))
