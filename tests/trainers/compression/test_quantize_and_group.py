"""Grouped convolutions and quantised storage: exact to the byte, equal to the libraries they stand for."""

from __future__ import annotations

import pytest
import torch
from torch.testing import assert_close

from trainers.errors import UserError
from trainers.models.quantized import BLOCK, QuantizedWeight, stored_bytes, value_table
from trainers.recipe import Recipe
from trainers.run import Run


@pytest.mark.parametrize(("bits", "format"), [(8, "int8"), (4, "nf4"), (4, "fp4")])
@pytest.mark.parametrize("shape", [(16, 8, 3, 3), (33, 17, 3, 3), (5, 3)])
def test_restored_weights_are_those_of_bitsandbytes(bits: int, format: str, shape: tuple[int, ...]) -> None:
    from bitsandbytes import functional

    weight = torch.randn(shape, generator=torch.Generator().manual_seed(1))
    if bits == 8:
        code, state = functional.quantize_blockwise(weight, blocksize=BLOCK[8])
        expected = functional.dequantize_blockwise(code, state)
    else:
        code, state = functional.quantize_4bit(weight, blocksize=BLOCK[4], quant_type=format)
        expected = functional.dequantize_4bit(code, state)
    stored = QuantizedWeight(shape, bits=bits, format=format)
    stored.load_state_dict({"code": code.flatten(), "scale": state.absmax.flatten()})
    assert torch.equal(stored.restore(), expected.view(shape))
    assert sum(tensor.nbytes for tensor in stored.state_dict().values()) == stored_bytes(weight.numel(), bits)


def test_value_tables_are_those_of_bitsandbytes() -> None:
    from bitsandbytes import functional

    cpu = torch.device("cpu")
    assert torch.equal(value_table("int8", cpu), functional.create_dynamic_map().float())
    for format in ("nf4", "fp4"):
        assert torch.equal(value_table(format, cpu), functional.get_4bit_type(format, device="cpu", blocksize=64))


@pytest.mark.parametrize(("bits", "largest_error"), [(8, 0.08), (4, 0.6)])
def test_quantised_models_stay_close_and_shrink(run: Run, bits: int, largest_error: float) -> None:
    model = Recipe.parse([{"quantize": {"bits": bits}}]).run(run)
    image_BCHW, timestep_B = torch.randn(4, 1, 8, 8, generator=torch.Generator().manual_seed(0)), torch.full((4,), 300)
    with torch.no_grad():
        exact = run.teacher.predict(image_BCHW, timestep_B)
        error = (model.predict(image_BCHW, timestep_B) - exact).norm() / exact.norm()
    assert 0 < error < largest_error
    held = sum(tensor.nbytes for tensor in model.net.state_dict().values())
    dense = sum(tensor.nbytes for tensor in run.teacher.net.state_dict().values())
    assert held < dense * (bits + 3) / 32


def test_skipped_layers_keep_full_precision(run: Run) -> None:
    model = Recipe.parse([{"quantize": {"bits": 4, "skip": ["conv_out", "mid*"]}}]).run(run)
    bits = {name: layer.bits for name, layer in model.spec.layers.items() if layer.kind in ("conv", "linear")}
    assert bits["conv_out"] == bits["mid_block.resnets.0.conv1"] == 32 and bits["conv_in"] == 4


@pytest.mark.parametrize("groups", [2, 4, "max"])
def test_grouped_weights_are_the_block_diagonal(run: Run, groups: int | str) -> None:
    model = Recipe.parse([{"group": {"groups": groups}}]).run(run)
    name = "mid_block.resnets.0.conv1"
    count = model.spec.layers[name].groups
    assert count == (16 if groups == "max" else groups)
    dense = run.teacher.net.get_submodule(name).weight.detach().clone()
    width = 16 // count
    for row in range(16):
        for column in range(16):
            if row // width != column // width:
                dense[row, column] = 0
    input_BCHW = torch.randn(2, 16, 4, 4)
    grouped = model.net.get_submodule(name)
    expected = torch.nn.functional.conv2d(input_BCHW, dense, grouped.bias, padding=1)
    assert_close(grouped(input_BCHW), expected, rtol=1e-5, atol=1e-5)


def test_convolutions_of_the_image_stay_dense(run: Run) -> None:
    model = Recipe.parse([{"group": {"groups": 2}}]).run(run)
    assert model.spec.layers["conv_in"].groups == model.spec.layers["conv_out"].groups == 1
    note = model.notes[-1]
    assert note["what"] == "group convolutions" and 0 < note["achieved"] < note["asked"]


def test_groups_that_divide_nothing_are_refused(run: Run) -> None:
    with pytest.raises(UserError, match="groups: 3 divides both channel counts of no convolution"):
        Recipe.parse([{"group": {"groups": 3}}]).plan(run.teacher.spec)


def test_bytes_of_odd_counts_are_rounded_up() -> None:
    assert stored_bytes(65, 4) == 33 + 2 * 4
    assert stored_bytes(257, 8) == 257 + 2 * 4
    assert stored_bytes(3, 32) == 12
