"""Flexible Group Normalization: groups keep the channels that survived pruning, so they may differ in size."""

from __future__ import annotations

import itertools
from collections.abc import Sequence

import torch
from torch import Tensor, nn


class FlexibleGroupNorm(nn.Module):
    """Normalises each group over its surviving channels and all pixels ("proper" statistics).

    With equal groups it gives what ``nn.GroupNorm`` gives. Groups are contiguous: pruning keeps the order of channels.

    Args:
        sizes: Channels of each group, none of them 0.
        eps: Added to the variance.
    """

    def __init__(self, sizes: Sequence[int], *, eps: float) -> None:
        super().__init__()
        self.sizes = tuple(sizes)
        self.eps = eps
        self.weight = nn.Parameter(torch.ones(sum(self.sizes)))
        self.bias = nn.Parameter(torch.zeros(sum(self.sizes)))

    def forward(self, input_BCHW: Tensor) -> Tensor:
        """Normalised values, shaped like the input: (batch, channels, ...)."""
        flat_BCP = input_BCHW.flatten(2).float()
        share_CG = _membership_CG(self.sizes, flat_BCP.device)
        # Centred in two steps: E[x^2] - E[x]^2 loses everything when the mean is far larger than the deviation.
        mean_BC = flat_BCP.mean(dim=2) @ share_CG @ (share_CG > 0).T.float()
        centred_BCP = flat_BCP - mean_BC[:, :, None]
        variance_BG = centred_BCP.square().mean(dim=2) @ share_CG
        scale_BC = (variance_BG + self.eps).rsqrt() @ (share_CG > 0).T.float() * self.weight
        return (
            torch.addcmul(self.bias[:, None], centred_BCP, scale_BC[:, :, None])
            .to(input_BCHW.dtype)
            .view_as(input_BCHW)
        )

    def extra_repr(self) -> str:
        """Sizes in the printed module."""
        return f"sizes={self.sizes}, eps={self.eps}"


def group_norm(groups: int | Sequence[int], channels: int, *, eps: float) -> nn.Module:
    """``nn.GroupNorm`` when the groups are equal, else ``FlexibleGroupNorm``."""
    if isinstance(groups, int):
        return nn.GroupNorm(groups, channels, eps=eps)
    if len(set(groups)) == 1:
        return nn.GroupNorm(len(groups), channels, eps=eps)
    return FlexibleGroupNorm(groups, eps=eps)


_memberships: dict[tuple[tuple[int, ...], torch.device], Tensor] = {}


def _membership_CG(sizes: tuple[int, ...], device: torch.device) -> Tensor:
    """1 / size where channel c is in group g, else 0: one small product averages each group."""
    key = (sizes, device)
    if key not in _memberships:
        share_CG = torch.zeros(sum(sizes), len(sizes))
        edges = (0, *itertools.accumulate(sizes))
        for group, (first, last) in enumerate(itertools.pairwise(edges)):
            share_CG[first:last, group] = 1 / (last - first)
        _memberships[key] = share_CG.to(device)
    return _memberships[key]
