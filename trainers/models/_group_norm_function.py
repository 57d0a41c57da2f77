"""Normalising uneven groups fast: few passes over memory, and nothing the size of the input but the result.

P pixels, G groups; a tensor _BC holds one number per channel of each sample, _BG one per group. Flat tensors have their
pixels second: (B C, P), or (B, P, C) for channels_last.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, NamedTuple

import torch
from torch import Tensor

# Elements worked on at a time on a CPU. A megabyte of float32 stays in the core's cache from one step to the next.
# Touching a fresh tensor of the input's size costs more than all the arithmetic here, so only the result may be one:
# that is why var_mean and the thesis' mask take several times as long as nn.GroupNorm.
_CHUNK = 2**18
# In the place of eps: a constant channel has a finite 1 / deviation, whose square is one too.
_NO_VARIANCE = 1e-30
# Means so many times as large as their group's deviation leave float32 five of its seven digits.
_FAR = 100.0


class Groups(NamedTuple):
    """Channels that each group has, and those that its statistics count."""

    sizes: tuple[int, ...]
    over: tuple[int, ...]


class Normalise(torch.autograd.Function):
    """Normalised values, then for the backward pass the channels' means, their groups' means and 1 / deviations.

    The output is scale * x + shift with one scale and one shift per channel, its gradient a * dy + k * x + c likewise.
    So every pass over pixels goes by channel, however groups lie, and groups only matter to the small BC tensors.
    """

    @staticmethod
    def forward(
        input: Tensor, weight_C: Tensor, bias_C: Tensor, groups: Groups, eps: float
    ) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        if _is_plain(input):
            return _normalised_in_place(input, weight_C, bias_C, groups, eps)
        flat, per_channel = _flat(input)
        scratch = _scratch(flat)
        moments = [_moments(x, scratch=scratch) for (x,) in _chunks(flat)]
        mean_BC, variance_BC = (torch.cat(parts).view(input.shape[:2]) for parts in zip(*moments, strict=True))
        of_group_BC, rstd_BC = _group_statistics(mean_BC, variance_BC, _placed(groups, like=input), eps)
        scale_BC = rstd_BC * weight_C
        shift_BC = torch.addcmul(bias_C, of_group_BC, scale_BC, value=-1)
        output = torch.empty_like(input)
        small = (scale_BC.view(per_channel), shift_BC.view(per_channel))
        for x, y, scale, shift in _chunks(flat, _flat(output)[0], *small):
            torch.mul(x, scale, out=y).add_(shift)
        return output, mean_BC, of_group_BC, rstd_BC

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: tuple[Tensor, ...]) -> None:
        input, weight_C, bias_C, ctx.groups, ctx.eps = inputs
        ctx.mark_non_differentiable(*output[1:])
        ctx.set_materialize_grads(False)
        ctx.save_for_backward(input, weight_C, bias_C, *output[1:])

    @staticmethod
    def backward(ctx: Any, grad: Tensor | None, *_: Any) -> tuple[Tensor | None, ...]:
        input, weight_C, bias_C, mean_BC, of_group_BC, rstd_BC = ctx.saved_tensors
        if grad is None:
            return None, None, None, None, None
        if torch.is_grad_enabled() and not torch.compiler.is_compiling():  # somebody wants second derivatives
            _, pull_back = torch.func.vjp(
                lambda x, weight, bias: formula(x, weight, bias, ctx.groups, ctx.eps)[0], input, weight_C, bias_C
            )  # type: ignore[misc]  # two values without has_aux
            return *pull_back(grad), None, None
        placed = _placed(ctx.groups, like=input)
        flat, per_channel = _flat(input)
        flat_grad, _ = _flat(grad, like=input)
        if _is_plain(input) and float((mean_BC * rstd_BC).abs().max()) < _FAR:
            grad_BC, product_BC = _sums_in_one_pass(flat, flat_grad, mean_BC)
        else:
            scratch = _scratch(flat)
            sums = [
                _gradient_sums(x, dy, mean, scratch=scratch)
                for x, dy, mean in _chunks(flat, flat_grad, mean_BC.view(per_channel))
            ]
            grad_BC, product_BC = (torch.cat(parts).view(mean_BC.shape) for parts in zip(*sums, strict=True))
        # From products with x - mean of the channel to products with the normalised x.
        product_BC = torch.addcmul(product_BC, grad_BC, mean_BC - of_group_BC).mul_(rstd_BC)
        if not ctx.needs_input_grad[0]:
            return None, product_BC.sum(0), grad_BC.sum(0), None, None
        # The gradient of nn.GroupNorm, but averaged over the channels counted. Nothing else differs for zeroed ones:
        # the mean is that of all that is counted, so the variance is least there and hands the mean no gradient.
        factor_BC = rstd_BC / -input.shape[2:].numel()
        slope_BC = placed.average_BC(product_BC * weight_C) * factor_BC * rstd_BC
        shift_BC = placed.average_BC(grad_BC * weight_C) * factor_BC - slope_BC * of_group_BC
        result = torch.empty_like(input)
        small = (value_BC.view(per_channel) for value_BC in (rstd_BC * weight_C, slope_BC, shift_BC))
        for x, dy, dx, scale, slope, shift in _chunks(flat, flat_grad, _flat(result)[0], *small):
            torch.mul(x, slope, out=dx).add_(shift).addcmul_(dy, scale)
        return result, product_BC.sum(0), grad_BC.sum(0), None, None

    @staticmethod
    def vmap(info: Any, in_dims: tuple[Any, ...], *given: Any) -> tuple[tuple[Tensor, ...], tuple[int, ...]]:
        varying, groups, eps = given[:3], *given[3:]
        mapped = torch.vmap(lambda x, weight, bias: formula(x, weight, bias, groups, eps), in_dims=in_dims[:3])
        return mapped(*varying), (0, 0, 0, 0)


def _is_plain(input: Tensor) -> bool:
    """Whether each channel of a sample is several pixels in one piece of main memory, and nothing is compiled."""
    has_pixels = input.numel() > input.shape[:2].numel() and input.is_contiguous()
    return has_pixels and input.device.type == "cpu" and not torch.compiler.is_compiling()


def _normalised_in_place(
    input: Tensor, weight_C: Tensor, bias_C: Tensor, groups: Groups, eps: float
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """What ``Normalise`` gives: each channel normalised by itself, in torch's own pass, and then moved to its group's.

    With as many groups as channels that pass tells the moments of each and writes the result, which is all the memory
    that is touched; by itself it takes as long as nn.GroupNorm.
    """
    batch, channels, pixels = *input.shape[:2], input.shape[2:].numel()
    output, mean_BC, own_rstd_BC = torch.native_group_norm(
        input, None, None, batch, channels, pixels, channels, _NO_VARIANCE
    )
    variance_BC = own_rstd_BC.square().reciprocal()
    of_group_BC, rstd_BC = _group_statistics(mean_BC, variance_BC, _placed(groups, like=input), eps)
    scale_BC = rstd_BC * weight_C
    shift_BC = torch.addcmul(bias_C, mean_BC - of_group_BC, scale_BC)
    small = (value_BC.view(batch * channels, 1) for value_BC in (scale_BC / own_rstd_BC, shift_BC))
    for y, scale, shift in _chunks(output.view(batch * channels, pixels), *small):
        y.mul_(scale).add_(shift)
    return output, mean_BC, of_group_BC, rstd_BC


def _sums_in_one_pass(flat: Tensor, flat_grad: Tensor, mean_BC: Tensor) -> tuple[Tensor, Tensor]:
    """Sums of the gradient, and of its products with x - mean, by torch's own pass: of B C channels of one sample.

    It subtracts the means after summing, which is exact enough only where they are not far larger than deviations.
    """
    (rows, pixels), no_scaling = flat.shape, torch.ones_like(mean_BC).view(1, -1)
    _, product, grad = torch.ops.aten.native_group_norm_backward(
        flat_grad.contiguous().view(1, rows, pixels),
        flat.view(1, rows, pixels),
        mean_BC.view(1, rows),
        no_scaling,
        None,
        1,
        rows,
        pixels,
        rows,
        [False, True, True],
    )
    return grad.view(mean_BC.shape), product.view(mean_BC.shape)


def formula(
    input: Tensor, weight_C: Tensor, bias_C: Tensor, groups: Groups, eps: float
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """What ``Normalise`` computes, in plain operations that can be differentiated any number of times."""
    flat_BCP = input.reshape(*input.shape[:2], input.shape[2:].numel())
    mean_BC = flat_BCP.mean(2)
    variance_BC = (flat_BCP - mean_BC[:, :, None]).square().mean(2)
    of_group_BC, rstd_BC = _group_statistics(mean_BC, variance_BC, _placed(groups, like=input), eps)
    scale_BC = rstd_BC * weight_C
    output_BCP = (flat_BCP - of_group_BC[:, :, None]) * scale_BC[:, :, None] + bias_C[:, None]
    return output_BCP.reshape(input.shape), mean_BC, of_group_BC, rstd_BC


def _group_statistics(mean_BC: Tensor, variance_BC: Tensor, placed: _Placed, eps: float) -> tuple[Tensor, Tensor]:
    """Mean and 1 / deviation of every channel's group, put together from those of channels (Chan et al. 1979)."""
    of_group_BC = placed.average_BC(mean_BC)
    variance_BC = placed.average_BC(variance_BC + (mean_BC - of_group_BC).square())
    if placed.absent_C is not None:  # channels that are always zero lie the whole mean away from it
        variance_BC = variance_BC + placed.absent_C * of_group_BC.square()
    return of_group_BC, (variance_BC + eps).rsqrt()


class _Placed(NamedTuple):
    """Groups as tensors: each channel's group, how many that counts, and which share of those is absent (None: 0)."""

    group_C: Tensor
    over_G: Tensor
    absent_C: Tensor | None

    def average_BC(self, value_BC: Tensor) -> Tensor:
        """Sums over each group's channels by the number counted, for every channel of the group."""
        # Not a matrix product: autocast and TF32 would round the statistics.
        sum_BG = value_BC.new_zeros(len(value_BC), len(self.over_G)).index_add(1, self.group_C, value_BC)
        return (sum_BG / self.over_G).index_select(1, self.group_C)


def _placed(groups: Groups, *, like: Tensor) -> _Placed:
    if torch.compiler.is_compiling():  # constants of the graph
        return _place(groups, like)
    key = (groups, like.device, like.dtype)
    if key not in _known:
        _known[key] = _place(groups, like)
    return _known[key]


_known: dict[tuple[Groups, torch.device, torch.dtype], _Placed] = {}


def _place(groups: Groups, like: Tensor) -> _Placed:
    of_channel = [group for group, size in enumerate(groups.sizes) for _ in range(size)]
    absent = [1 - groups.sizes[group] / groups.over[group] for group in of_channel]
    return _Placed(
        torch.tensor(of_channel, device=like.device),
        torch.tensor(groups.over, device=like.device, dtype=like.dtype),
        torch.tensor(absent, device=like.device, dtype=like.dtype) if any(absent) else None,
    )


def _flat(value: Tensor, *, like: Tensor | None = None) -> tuple[Tensor, tuple[int, ...]]:
    """The values with pixels second, and the shape of one number per channel there; a gradient in its input's order."""
    batch, channels, pixels = *value.shape[:2], value.shape[2:].numel()
    if is_channels_last(value if like is None else like):
        return value.movedim(1, -1).reshape(batch, pixels, channels), (batch, 1, channels)
    return value.reshape(batch * channels, pixels), (batch * channels, 1)


def is_channels_last(value: Tensor) -> bool:
    """Whether the channels of a pixel lie side by side in memory, and not its pixels: of one channel, both do."""
    return not value.is_contiguous() and value.movedim(1, -1).is_contiguous()


def _chunks(flat: Tensor, *others: Tensor) -> Iterator[tuple[Tensor, ...]]:
    """The same rows of each."""
    count = _chunk_rows(flat)
    return zip(*(value.split(count) for value in (flat, *others)), strict=True)


def _chunk_rows(flat: Tensor) -> int:
    # A GPU has memory at hand and wants much work at once, and a compiler fuses the steps.
    if flat.device.type != "cpu" or torch.compiler.is_compiling():
        return max(1, len(flat))
    return max(1, _CHUNK // max(1, flat[:1].numel()))


def _scratch(flat: Tensor) -> Tensor:
    """Room for one chunk."""
    return torch.empty_like(flat[: _chunk_rows(flat)])


def _moments(x: Tensor, *, scratch: Tensor) -> tuple[Tensor, Tensor]:
    # Centred before squaring: E[x^2] - E[x]^2 loses everything when the mean is far larger than the deviation.
    mean = x.mean(1, keepdim=True)
    centred = torch.sub(x, mean, out=scratch[: len(x)])
    return mean, centred.mul_(centred).mean(1, keepdim=True)


def _gradient_sums(x: Tensor, grad: Tensor, mean: Tensor, *, scratch: Tensor) -> tuple[Tensor, Tensor]:
    centred = torch.sub(x, mean, out=scratch[: len(x)])
    return grad.sum(1, keepdim=True), centred.mul_(grad).sum(1, keepdim=True)
