"""Flexible Group Normalization: GroupNorm for equal groups, a sparse network's when zeroed, right at large means."""

from __future__ import annotations

import copy
import shutil
import warnings
from collections.abc import Sequence

import pytest
import torch
from torch import Tensor, nn
from torch.testing import assert_close

from trainers.models._group_norm_function import Groups, Normalise, formula
from trainers.models.group_norm import FlexibleGroupNorm, group_norm

SIZES = (3, 1, 4)
OVER = (4, 4, 5)


def reference(input: Tensor, weight_C: Tensor, bias_C: Tensor, *, sizes: Sequence[int], over: Sequence[int]) -> Tensor:
    """The slow way in float64: removed channels are put in as zeros, each group is normalised, and they are cut out."""
    parts, axes = [], tuple(range(1, input.dim()))
    for part, size, count in zip(input.double().split(tuple(sizes), dim=1), sizes, over, strict=True):
        zeros = part.new_zeros(len(part), count - size, *part.shape[2:])
        full = torch.cat([part, zeros], dim=1)
        centred = full - full.mean(axes, keepdim=True)
        parts.append((centred / (centred.square().mean(axes, keepdim=True) + 1e-6).sqrt())[:, :size])
    per_channel = (-1, *(1,) * (input.dim() - 2))
    return torch.cat(parts, dim=1) * weight_C.double().view(per_channel) + bias_C.double().view(per_channel)


def random_norm(sizes: Sequence[int], over: Sequence[int] = ()) -> FlexibleGroupNorm:
    norm = FlexibleGroupNorm(sizes, eps=1e-6, over=over)
    nn.init.normal_(norm.weight)
    nn.init.normal_(norm.bias)
    return norm


@pytest.fixture(autouse=True)
def seed() -> None:
    torch.manual_seed(0)


@pytest.fixture(params=[(), OVER], ids=["proper", "zeroed"])
def norm(request: pytest.FixtureRequest) -> FlexibleGroupNorm:
    return random_norm(SIZES, request.param)


@pytest.mark.parametrize("shape", [(2, 8, 5, 4), (2, 8, 7), (3, 8), (1, 8, 2, 3, 2)], ids=str)
@pytest.mark.parametrize("chunk", [1, 24, 2**18])
def test_values_and_gradients_are_those_of_the_slow_way(
    norm: FlexibleGroupNorm, shape: tuple[int, ...], chunk: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("trainers.models._group_norm_function._CHUNK", chunk)
    input = (torch.randn(shape) * 3 + 1).requires_grad_()
    target = torch.randn(shape)
    slow = reference(input, norm.weight, norm.bias, sizes=SIZES, over=norm.over or SIZES)
    fast = norm(input)
    # A group of one value has no deviation: like nn.GroupNorm, rounding is magnified by 1 / sqrt(eps).
    assert_close(fast, slow.float(), rtol=1e-4, atol=1e-5 if len(shape) > 2 else 1e-3)
    with torch.no_grad():
        assert_close(norm(input), fast, rtol=1e-5, atol=1e-5 if len(shape) > 2 else 1e-3)
    given = (input, norm.weight, norm.bias)
    slow_gradients = torch.autograd.grad((slow * target).sum(), given)
    assert_close(torch.autograd.grad((fast * target).sum(), given), slow_gradients, rtol=1e-4, atol=1e-4)


def test_formula_and_chunks_agree(norm: FlexibleGroupNorm) -> None:
    input = torch.randn(2, 8, 5, 4)
    given = (norm.weight, norm.bias, Groups(SIZES, norm.over or SIZES), norm.eps)
    assert_close(Normalise.apply(input, *given), formula(input, *given))


def test_a_single_channel_that_is_left_has_the_gradient_of_the_slow_way() -> None:
    norm = random_norm((1,), (4,))
    input_BCHW = (torch.randn(3, 1, 4, 5) + 1).requires_grad_()
    target = torch.randn_like(input_BCHW)
    slow = reference(input_BCHW, norm.weight, norm.bias, sizes=(1,), over=(4,))
    given = (input_BCHW, norm.weight, norm.bias)
    fast_gradients, slow_gradients = (
        torch.autograd.grad((output * target).sum(), given) for output in (norm(input_BCHW), slow.float())
    )
    assert_close(fast_gradients, slow_gradients, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("sizes", [(1, 1, 1), (5,), (2, 6, 1, 7)])
def test_groups_of_any_size_are_normalised_over_their_own_channels(sizes: tuple[int, ...]) -> None:
    norm = random_norm(sizes)
    input_BCHW = torch.randn(2, sum(sizes), 5, 4) * 3 + 1
    slow = reference(input_BCHW, norm.weight, norm.bias, sizes=sizes, over=sizes)
    assert_close(norm(input_BCHW), slow.float(), rtol=1e-4, atol=1e-5)


def test_equal_groups_give_what_group_norm_gives() -> None:
    norm, flexible = nn.GroupNorm(4, 16, eps=1e-6), random_norm((4,) * 4)
    norm.load_state_dict(flexible.state_dict())
    input_BCHW = torch.randn(2, 16, 8, 8, requires_grad=True)
    assert_close(flexible(input_BCHW), norm(input_BCHW), rtol=1e-5, atol=1e-5)
    gradients = [
        torch.autograd.grad(module(input_BCHW).square().sum(), (input_BCHW, *module.parameters()))
        for module in (flexible, norm)
    ]
    assert_close(*gradients, rtol=1e-4, atol=1e-4)


def test_zeroed_groups_give_what_a_sparse_group_norm_gives() -> None:
    survivors = torch.tensor([0, 2, 3, 5, 8, 9, 10, 11])  # of three groups of four
    sparse = nn.GroupNorm(3, 12, eps=1e-6)
    nn.init.normal_(sparse.weight)
    nn.init.normal_(sparse.bias)
    compact = FlexibleGroupNorm((3, 1, 4), eps=1e-6, over=(4, 4, 4))
    compact.load_state_dict({name: value[survivors] for name, value in sparse.state_dict().items()})
    kept_BCHW = (torch.randn(2, 8, 5, 4) + 2).requires_grad_()
    full_BCHW = torch.zeros(2, 12, 5, 4).index_copy(1, survivors, kept_BCHW)
    expected_BCHW = sparse(full_BCHW)[:, survivors]
    assert_close(compact(kept_BCHW), expected_BCHW, rtol=1e-5, atol=1e-5)
    (expected_grad,) = torch.autograd.grad(expected_BCHW.pow(3).sum(), kept_BCHW)
    (grad,) = torch.autograd.grad(compact(kept_BCHW).pow(3).sum(), kept_BCHW)
    assert_close(grad, expected_grad, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("deviation", [0.01, 1.2])
def test_a_large_mean_with_a_small_deviation_comes_out_right(deviation: float) -> None:
    norm = random_norm((3, 5))
    input_BCHW = (100 + deviation * torch.randn(1, 8, 32, 32)).requires_grad_()
    target = torch.randn(1, 8, 32, 32)
    slow = reference(input_BCHW, norm.weight, norm.bias, sizes=(3, 5), over=(3, 5))
    fast = norm(input_BCHW)
    assert_close(fast, slow.float(), rtol=0.0, atol=5e-3)
    (slow_grad,) = torch.autograd.grad((slow * target).sum(), input_BCHW)
    (fast_grad,) = torch.autograd.grad((fast * target).sum(), input_BCHW)
    assert_close(fast_grad / slow_grad.std(), slow_grad / slow_grad.std(), rtol=0.0, atol=1e-3)


@pytest.mark.parametrize("shape", [(2, 8, 3, 2), (2, 8)], ids=str)
def test_first_and_second_derivatives_are_those_of_finite_differences(
    norm: FlexibleGroupNorm, shape: tuple[int, ...]
) -> None:
    input = torch.randn(shape, dtype=torch.float64, requires_grad=True)
    given = (input, norm.weight.detach().double().requires_grad_(), norm.bias.detach().double().requires_grad_())
    groups = Groups(SIZES, norm.over or SIZES)

    def normalised(*values: Tensor) -> Tensor:
        return Normalise.apply(*values, groups, 0.1)[0]

    assert torch.autograd.gradcheck(normalised, given)
    assert torch.autograd.gradgradcheck(normalised, given)


def test_gradients_per_sample_are_those_of_each_sample_alone(norm: FlexibleGroupNorm) -> None:
    input_BCHW = torch.randn(3, 8, 4, 4)

    def loss(parameters: dict[str, Tensor], input_CHW: Tensor) -> Tensor:
        return torch.func.functional_call(norm, parameters, (input_CHW[None],)).pow(3).sum()

    parameters = {name: value.detach() for name, value in norm.named_parameters()}
    together = torch.func.vmap(torch.func.grad(loss), in_dims=(None, 0))(parameters, input_BCHW)
    for index, input_CHW in enumerate(input_BCHW):
        alone = torch.autograd.grad(loss(dict(norm.named_parameters()), input_CHW), tuple(norm.parameters()))
        assert_close((together["weight"][index], together["bias"][index]), alone, rtol=1e-4, atol=1e-4)


def test_channels_last_and_other_orders_give_the_same_and_channels_last_stays(norm: FlexibleGroupNorm) -> None:
    input_BCHW = torch.randn(2, 8, 5, 4)
    expected = norm(input_BCHW)
    last = input_BCHW.contiguous(memory_format=torch.channels_last).requires_grad_()
    output = norm(last)
    assert output.is_contiguous(memory_format=torch.channels_last)
    assert_close(output, expected)
    assert_close(norm(input_BCHW.transpose(2, 3)), expected.transpose(2, 3))
    assert_close(norm(torch.cat([input_BCHW, input_BCHW], dim=1)[:, 8:]), expected)
    target = torch.randn(2, 8, 5, 4)  # in the usual order: gradients need not come in that of the input
    leaf = input_BCHW.clone().requires_grad_()
    (expected_grad,) = torch.autograd.grad((norm(leaf) * target).sum(), leaf)
    (grad,) = torch.autograd.grad(output, last, target)
    assert_close(grad, expected_grad)
    (grad,) = torch.autograd.grad(norm(leaf), leaf, target.contiguous(memory_format=torch.channels_last))
    assert_close(grad, expected_grad)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_half_precision_is_rounded_once_at_the_end(norm: FlexibleGroupNorm, dtype: torch.dtype) -> None:
    input_BCHW = (torch.randn(2, 8, 16, 16) + 5).to(dtype)
    assert_close(norm(input_BCHW), norm(input_BCHW.float()).to(dtype), rtol=0.0, atol=0.0)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert_close(norm(input_BCHW), norm(input_BCHW.float()).to(dtype), rtol=0.0, atol=0.0)
    assert copy.deepcopy(norm).to(dtype)(input_BCHW).dtype == dtype


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16])
def test_autocast_gives_the_type_group_norm_gives_and_exact_statistics(dtype: torch.dtype) -> None:
    norm, equal = random_norm(SIZES), nn.GroupNorm(2, 8)
    input_BCHW = (100 + torch.randn(2, 8, 5, 4)).to(dtype).requires_grad_()
    expected = torch.autograd.grad(norm(input_BCHW).float().pow(3).sum(), (input_BCHW, *norm.parameters()))
    with torch.autocast("cpu", dtype=torch.bfloat16):
        output = norm(input_BCHW)
        assert output.dtype == equal(input_BCHW).dtype
        # Backward is called inside on purpose: autocast must not reach its sums either.
        gradients = torch.autograd.grad(output.float().pow(3).sum(), (input_BCHW, *norm.parameters()))
    assert_close(output, norm(input_BCHW), rtol=0.0, atol=0.0)
    assert_close(gradients, expected, rtol=0.0, atol=0.0)


def test_float64_stays_float64(norm: FlexibleGroupNorm) -> None:
    input_BCHW = torch.randn(2, 8, 5, 4, dtype=torch.float64)
    slow = reference(input_BCHW, norm.weight, norm.bias, sizes=SIZES, over=norm.over or SIZES)
    assert_close(norm(input_BCHW), slow, rtol=1e-12, atol=1e-12)


def test_an_empty_batch_gives_an_empty_batch_and_no_gradient(norm: FlexibleGroupNorm) -> None:
    output = norm(torch.randn(0, 8, 3, 3, requires_grad=True))
    assert output.shape == (0, 8, 3, 3)
    output.sum().backward()
    assert norm.weight.grad is not None
    assert norm.weight.grad.tolist() == [0.0] * 8


def test_a_constant_image_gives_the_bias() -> None:
    norm = random_norm(SIZES)
    output = norm(torch.full((1, 8, 4, 4), 7.0))
    assert_close(output, norm.bias.view(1, 8, 1, 1).expand(1, 8, 4, 4), rtol=0.0, atol=2e-3)


def test_a_frozen_part_gets_no_gradient_and_the_rest_keeps_its_own(norm: FlexibleGroupNorm) -> None:
    input_BCHW = torch.randn(2, 8, 3, 3, requires_grad=True)
    (expected,) = torch.autograd.grad(norm(input_BCHW).pow(3).sum(), norm.weight)
    (grad,) = torch.autograd.grad(norm(input_BCHW.detach()).pow(3).sum(), norm.weight)
    assert_close(grad, expected)
    (expected,) = torch.autograd.grad(norm(input_BCHW).pow(3).sum(), input_BCHW)
    norm.requires_grad_(False)
    (grad,) = torch.autograd.grad(norm(input_BCHW).pow(3).sum(), input_BCHW)
    assert_close(grad, expected)
    assert norm.weight.grad is None


def test_the_meta_device_knows_the_shape(norm: FlexibleGroupNorm) -> None:
    input_BCHW = torch.randn(2, 8, 5, 4, device="meta", requires_grad=True)
    output = copy.deepcopy(norm).to("meta")(input_BCHW)
    assert (output.shape, output.device.type) == ((2, 8, 5, 4), "meta")
    output.sum().backward()
    assert input_BCHW.grad is not None


def test_state_and_copies_hold_weight_and_bias_only(norm: FlexibleGroupNorm) -> None:
    norm(torch.randn(1, 8, 2, 2))
    assert list(norm.state_dict()) == ["weight", "bias"]
    assert not list(norm.buffers())
    input_BCHW = torch.randn(2, 8, 5, 4)
    assert_close(copy.deepcopy(norm)(input_BCHW), norm(input_BCHW), rtol=0.0, atol=0.0)


@pytest.mark.skipif(shutil.which("g++") is None and shutil.which("clang++") is None, reason="no C++ compiler")
def test_compiled_without_a_break_it_gives_the_same() -> None:
    norm = random_norm(SIZES, OVER)
    input_BCHW = (torch.randn(2, 8, 4, 4) + 1).requires_grad_()
    target = torch.randn(2, 8, 4, 4)
    given = (input_BCHW, *norm.parameters())
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the compiler's own
        output = torch.compile(norm, fullgraph=True)(input_BCHW)
        gradients = torch.autograd.grad((output * target).sum(), given)
    assert_close(output, norm(input_BCHW))
    assert_close(gradients, torch.autograd.grad((norm(input_BCHW) * target).sum(), given), rtol=1e-4, atol=1e-5)


def test_group_norm_is_flexible_only_where_it_must_be() -> None:
    plain = group_norm((4, 4, 4, 4), 16, eps=1e-3)
    assert isinstance(plain, nn.GroupNorm)
    assert (plain.num_groups, plain.num_channels, plain.eps) == (4, 16, 1e-3)
    assert isinstance(group_norm(4, 16, eps=1e-6), nn.GroupNorm)
    assert isinstance(group_norm(4, 16, eps=1e-6, over=(4, 4, 4, 4)), nn.GroupNorm)
    zeroed = group_norm(2, 6, eps=1e-3, over=(4, 4))
    assert isinstance(zeroed, FlexibleGroupNorm)
    assert (zeroed.sizes, zeroed.over, zeroed.eps) == ((3, 3), (4, 4), 1e-3)
    assert isinstance(group_norm((2, 4), 6, eps=1e-6), FlexibleGroupNorm)


def test_groups_that_do_not_add_up_to_the_channels_are_refused() -> None:
    with pytest.raises(ValueError, match=r"add up to 6, not to 7 channels"):
        group_norm((2, 4), 7, eps=1e-6)


@pytest.mark.parametrize("over", [(2, 4, 4), (4, 4)])
def test_counting_fewer_channels_than_there_are_is_refused(over: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match="over must hold one number per group"):
        FlexibleGroupNorm(SIZES, eps=1e-6, over=over)


def test_an_empty_group_is_refused() -> None:
    with pytest.raises(ValueError, match="sizes must hold 1 or more"):
        FlexibleGroupNorm((2, 0), eps=1e-6)


@torch.no_grad()
def test_one_channel_in_each_group_is_normalised_also_at_a_single_pixel() -> None:
    """As pruning leaves them where an image is one pixel; torch's own norm refuses a single value of a single image."""
    norm = group_norm(4, 4, eps=1e-5)
    norm.bias.copy_(torch.arange(4.0))
    assert_close(norm(torch.randn(1, 4, 1, 1)), norm.bias.reshape(1, 4, 1, 1), atol=1e-3, rtol=0.0)
    input_BCHW = torch.randn(3, 4, 5, 5)
    expected = torch.nn.functional.group_norm(input_BCHW, 4, norm.weight, norm.bias, 1e-5)
    assert torch.equal(norm(input_BCHW), expected)
