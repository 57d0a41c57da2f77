"""Flexible Group Normalization: groups keep the channels that survived pruning, so they may differ in size."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from trainers.models._group_norm_function import Groups, Normalise, formula, is_channels_last

# Elements up to which starting the fast way costs more than it saves when no gradient is wanted.
_SMALL = 2**16


class FlexibleGroupNorm(nn.Module):
    """Normalises each group over its surviving channels and all pixels ("proper"), or as if none had gone ("zeroed").

    With equal groups, all counted, it gives what ``nn.GroupNorm`` gives. Zeroed statistics are those of a sparse
    network, whose removed channels are there and always 0. Groups are contiguous: pruning keeps the order of channels.

    Args:
        sizes: Channels of each group, none of them 0.
        eps: Added to the variance.
        over: Channels that each group counts, removed ones included (zeroed); empty: those present (proper).
    """

    def __init__(self, sizes: Sequence[int], *, eps: float, over: Sequence[int] = ()) -> None:
        super().__init__()
        self.sizes = tuple(sizes)
        self.over = tuple(over)
        self.eps = eps
        if min(self.sizes, default=0) < 1:
            raise ValueError(
                f"sizes must hold 1 or more per group, got {self.sizes}. Leave out groups without channels."
            )
        self.groups = Groups(self.sizes, self.over or self.sizes)
        if len(self.groups.over) != len(self.sizes) or any(map(int.__gt__, self.sizes, self.groups.over)):
            raise ValueError(
                f"over must hold one number per group, at least its size, got {self.over} for sizes {self.sizes}. "
                "Give the sizes from before pruning, or nothing."
            )
        self.weight = nn.Parameter(torch.ones(sum(self.sizes)))
        self.bias = nn.Parameter(torch.zeros(sum(self.sizes)))

    def reset_parameters(self) -> None:
        """Scale by 1 and shift by 0, as torch's own norms begin."""
        nn.init.ones_(self.weight)
        nn.init.zeros_(self.bias)

    def forward(self, input_BCP: Tensor) -> Tensor:
        """Normalised values, shaped like the input: (batch, channels, ...)."""
        kept = input_BCP.dtype
        if input_BCP.is_cuda and torch.is_autocast_enabled("cuda"):
            kept = torch.float32  # what autocast makes of nn.GroupNorm; on a CPU it leaves it alone
        # Half precision holds values, not sums of them.
        values_BCP = input_BCP if input_BCP.dtype == torch.float64 else input_BCP.float()
        weight_C, bias_C = self.weight.to(values_BCP.dtype), self.bias.to(values_BCP.dtype)
        if not torch.is_grad_enabled() and values_BCP.numel() <= _SMALL:
            return formula(values_BCP, weight_C, bias_C, self.groups, self.eps)[0].to(kept)
        if not is_channels_last(values_BCP):
            values_BCP = values_BCP.contiguous()
        return Normalise.apply(values_BCP, weight_C, bias_C, self.groups, self.eps)[0].to(kept)

    def extra_repr(self) -> str:
        """Sizes in the printed module."""
        return f"sizes={self.sizes}, eps={self.eps}" + (f", over={self.over}" if self.over else "")


def group_norm(
    groups: int | Sequence[int], channels: int, *, eps: float, over: Sequence[int] = ()
) -> nn.GroupNorm | FlexibleGroupNorm:
    """``nn.GroupNorm`` when the groups are equal and nothing else is counted, else ``FlexibleGroupNorm``."""
    if isinstance(groups, int):
        if channels % groups == 0 and not over:
            return _equal(groups, channels, eps)
        if groups > channels or (over and len(over) != groups):
            raise ValueError(f"{groups} groups do not fit {channels} channels. Count them again.")
        groups = (channels // groups,) * groups
    if sum(groups) != channels:
        raise ValueError(
            f"groups {tuple(groups)} add up to {sum(groups)}, not to {channels} channels. Count them again."
        )
    if len(set(groups)) == 1 and tuple(over) in ((), tuple(groups)):
        return _equal(len(groups), channels, eps)
    return FlexibleGroupNorm(groups, eps=eps, over=over)


class _SingleGroupNorm(nn.GroupNorm):
    """Of one channel in each group, also where that is a single pixel of a single image: torch's own refuses that."""

    def forward(self, input: Tensor) -> Tensor:
        return torch.group_norm(input, self.num_groups, self.weight, self.bias, self.eps)


def _equal(groups: int, channels: int, eps: float) -> nn.GroupNorm:
    return (_SingleGroupNorm if groups == channels else nn.GroupNorm)(groups, channels, eps=eps)
