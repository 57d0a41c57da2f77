"""Flexible Group Normalization: equal groups are GroupNorm's, and large means do no harm."""

from __future__ import annotations

import pytest
import torch
from torch import nn
from torch.testing import assert_close

from trainers.models.group_norm import FlexibleGroupNorm, group_norm


def reference(input_BCHW: torch.Tensor, sizes: tuple[int, ...], norm: FlexibleGroupNorm) -> torch.Tensor:
    parts = []
    for part in input_BCHW.double().split(sizes, dim=1):
        mean = part.mean((1, 2, 3), keepdim=True)
        variance = part.var((1, 2, 3), correction=0, keepdim=True)
        parts.append((part - mean) / (variance + norm.eps).sqrt())
    scaled = torch.cat(parts, dim=1)
    return (scaled * norm.weight.double()[:, None, None] + norm.bias.double()[:, None, None]).float()


@pytest.mark.parametrize("sizes", [(3, 1, 4), (1, 1, 1), (5,), (2, 6, 1, 7)])
def test_uneven_groups_are_normalised_over_their_own_channels(sizes: tuple[int, ...]) -> None:
    torch.manual_seed(0)
    norm = FlexibleGroupNorm(sizes, eps=1e-6)
    nn.init.normal_(norm.weight)
    nn.init.normal_(norm.bias)
    input_BCHW = torch.randn(2, sum(sizes), 5, 4) * 3 + 1
    assert_close(norm(input_BCHW), reference(input_BCHW, sizes, norm), rtol=1e-4, atol=1e-5)


def test_equal_groups_give_what_group_norm_gives() -> None:
    norm, flexible = nn.GroupNorm(4, 16, eps=1e-6), FlexibleGroupNorm((4,) * 4, eps=1e-6)
    input_BCHW = torch.randn(2, 16, 8, 8)
    assert_close(flexible(input_BCHW), norm(input_BCHW), rtol=1e-5, atol=1e-6)
    assert isinstance(group_norm((4, 4, 4, 4), 16, eps=1e-6), nn.GroupNorm)


def test_a_large_mean_with_a_small_deviation_comes_out_right() -> None:
    norm = FlexibleGroupNorm((3, 5), eps=0.0)
    input_BCHW = 100 + 0.01 * torch.randn(1, 8, 32, 32, generator=torch.Generator().manual_seed(0))
    assert_close(norm(input_BCHW), reference(input_BCHW, (3, 5), norm), rtol=0.0, atol=5e-3)


def test_gradients_are_those_of_the_slow_way() -> None:
    norm = FlexibleGroupNorm((3, 1, 4), eps=1e-6)
    input_BCHW = torch.randn(2, 8, 3, 3, requires_grad=True)
    target = torch.randn(2, 8, 3, 3)
    (fast,) = torch.autograd.grad((norm(input_BCHW) * target).sum(), input_BCHW)
    (slow,) = torch.autograd.grad((reference(input_BCHW, (3, 1, 4), norm) * target).sum(), input_BCHW)
    assert_close(fast, slow, rtol=1e-3, atol=1e-4)
