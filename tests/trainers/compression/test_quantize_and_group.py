"""Grouped convolutions and quantised storage: exact to the byte, equal to the libraries they stand for."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.testing import assert_close

from objectives import costs
from trainers.errors import UserError
from trainers.models import files
from trainers.models.arch_spec import Layer
from trainers.models.building import assembled
from trainers.models.diffusion_model import DiffusionModel
from trainers.models.quantized import QuantizedWeight, quantized_layer
from trainers.models.stored_bits import BLOCK, scale_bytes, weight_bytes
from trainers.models.value_tables import value_table
from trainers.recipe import Recipe
from trainers.run import Run

FORMATS = [(8, "int8"), (4, "nf4"), (4, "fp4")]


def random(*shape: int, seed: int = 1) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


def by_bitsandbytes(weight: Tensor, bits: int, format: str) -> tuple[dict[str, Tensor], Tensor]:
    """Codes and scales as bitsandbytes makes them, and what it restores."""
    from bitsandbytes import functional as library

    if bits == 8:
        code, state = library.quantize_blockwise(weight, blocksize=BLOCK[8])
        restored = library.dequantize_blockwise(code, state)
    else:
        code, state = library.quantize_4bit(weight, blocksize=BLOCK[4], quant_type=format)
        restored = library.dequantize_4bit(code, state)
    return {"weight.code": code.flatten(), "weight.scale": state.absmax.flatten()}, restored.view(weight.shape)


def answer(model: DiffusionModel) -> Tensor:
    with torch.no_grad():
        return model.predict(random(4, 1, 8, 8, seed=0), torch.full((4,), 300))


def quantized(run: Run, *stages: dict[str, Any]) -> DiffusionModel:
    """The tiny model after these quantize stages."""
    recipe = Recipe.parse([{"quantize": options} for options in stages])
    model = recipe.run(run)
    assert model.spec == recipe.plan(run.teacher.spec)
    return model


def bits_of(model: DiffusionModel) -> dict[str, int]:
    return {name: layer.bits for name, layer in model.spec.layers.items()}


@pytest.mark.parametrize(("bits", "format"), FORMATS)
@pytest.mark.parametrize("shape", [(16, 8, 3, 3), (33, 17, 3, 3), (5, 3)])
def test_restored_weights_are_those_of_bitsandbytes(bits: int, format: str, shape: tuple[int, ...]) -> None:
    state, expected = by_bitsandbytes(random(*shape), bits, format)
    stored = QuantizedWeight(shape, bits=bits, format=format)
    stored.load_state_dict({name.removeprefix("weight."): tensor for name, tensor in state.items()})
    assert torch.equal(stored.restore(), expected)
    layer = Layer(kind="linear", inputs=expected.numel(), outputs=1, bits=bits, format=format)
    held = sum(tensor.nbytes for tensor in stored.state_dict().values())
    assert held == weight_bytes(layer) + scale_bytes(layer)


def test_value_tables_are_those_of_bitsandbytes() -> None:
    from bitsandbytes import functional as library

    cpu = torch.device("cpu")
    assert torch.equal(value_table("int8", cpu), library.create_dynamic_map().float())
    for format in ("nf4", "fp4"):
        assert torch.equal(value_table(format, cpu), library.get_4bit_type(format, device="cpu", blocksize=64))


@pytest.mark.parametrize(("bits", "format"), FORMATS)
def test_transposed_convolutions_use_the_weight_of_bitsandbytes(bits: int, format: str) -> None:
    dense = nn.ConvTranspose2d(12, 10, 3, stride=2, padding=1, output_padding=1, groups=2, device="meta")
    layer = Layer(kind="conv_transpose", inputs=12, outputs=10, kernel=9, groups=2, bits=bits, format=format)
    state, weight = by_bitsandbytes(random(12, 5, 3, 3), bits, format)
    module = quantized_layer(dense, layer)
    module.load_state_dict({**state, "bias": random(10)}, assign=True)
    input_BCHW = random(2, 12, 7, 7, seed=2)
    expected = functional.conv_transpose2d(input_BCHW, weight, random(10), 2, 1, 1, 2)
    assert torch.equal(module(input_BCHW), expected) and expected.shape == (2, 10, 14, 14)


@pytest.mark.parametrize("rows", [(1,), (5,), (2, 3)])
def test_int8_products_are_those_of_linear8bitlt(run: Run, rows: tuple[int, ...]) -> None:
    from bitsandbytes.nn import Linear8bitLt

    name = "mid_block.resnets.0.time_emb_proj"
    ours = quantized(run, {"bits": 8, "layers": "linear", "activations": 8}).net.get_submodule(name)
    dense = run.teacher.net.get_submodule(name)
    theirs = Linear8bitLt(dense.in_features, dense.out_features, has_fp16_weights=False)
    theirs.load_state_dict(dense.state_dict())
    theirs = theirs.to("cpu").eval()
    input = random(*rows, dense.in_features)
    with torch.no_grad():
        expected, exact = theirs(input), dense(input)
        assert torch.equal(ours(input), expected)
        # The activations are quantised too: another answer than that of the restored weight, and still a close one.
        restored = functional.linear(input, ours.weight.restore(), dense.bias)
    assert not torch.equal(expected, restored)
    assert 0 < (expected - exact).norm() < 0.03 * exact.norm()
    assert ours.weight.code.dtype == torch.int8 and ours.weight.scale.shape == (dense.out_features,)


@pytest.mark.parametrize("is_training", [False, True])
def test_gradients_pass_through_int8_products(is_training: bool) -> None:
    dense = nn.Linear(16, 6)
    module = quantized_layer(dense, Layer(kind="linear", inputs=16, outputs=6, bits=8, format="llm_int8"))
    codes = torch.randint(-127, 128, (6, 16), dtype=torch.int8, generator=torch.Generator().manual_seed(0))
    module.load_state_dict({"weight.code": codes, "weight.scale": random(6).abs() + 0.1, "bias": random(6)})
    input_BTC = random(2, 5, 16).requires_grad_()
    upstream_BTC = random(2, 5, 6, seed=3)
    (module.train(is_training)(input_BTC) * upstream_BTC).sum().backward()
    assert_close(input_BTC.grad, upstream_BTC @ module.weight.restore())
    assert_close(module.bias.grad, upstream_BTC.sum(dim=(0, 1)))


@pytest.mark.parametrize(("bits", "largest_error"), [(16, 0.002), (8, 0.08), (4, 0.6)])
def test_quantised_models_stay_close_and_shrink(run: Run, bits: int, largest_error: float) -> None:
    model = quantized(run, {"bits": bits})
    exact = answer(run.teacher)
    assert 0 < (answer(model) - exact).norm() / exact.norm() < largest_error
    held = sum(tensor.nbytes for tensor in files.packed(model)[0].values())
    dense = sum(tensor.nbytes for tensor in run.teacher.net.state_dict().values())
    assert held < dense * (bits + 3) / 32


@pytest.mark.parametrize(
    "options", [{"bits": 8}, {"bits": 8, "activations": 8}, {"bits": 4}, {"bits": 4, "format": "fp4"}, {"bits": 16}]
)
def test_weights_that_are_zero_stay_zero(run: Run, options: dict[str, Any]) -> None:
    """Single ones, whole rows, whole blocks and whole layers: what was masked stays masked."""
    state = {name: tensor.detach().clone() for name, tensor in run.teacher.net.state_dict().items()}
    is_zero = {}
    for place, name in enumerate(name for name, layer in run.teacher.spec.layers.items() if layer.is_product):
        weight = state[f"{name}.weight"]
        weight[torch.rand(weight.shape, generator=torch.Generator().manual_seed(place)) < 0.4] = 0
        weight[:2] = 0
        if place % 5 == 0:
            weight[:] = 0
        is_zero[name] = weight == 0
    run.teacher = replace(run.teacher, net=assembled(run.teacher.spec, state))
    model = quantized(run, options)
    for name, expected in is_zero.items():
        stored = model.net.get_submodule(name).weight
        restored = stored.restore() if isinstance(stored, QuantizedWeight) else stored
        assert bool((restored[expected] == 0).all()), name
        assert bool(restored.isfinite().all())
        assert expected.all() or bool((restored[~expected] != 0).any())
    assert answer(model).isfinite().all()


@pytest.mark.parametrize(
    "options", [{}, {"rest": 16, "activations": 8, "layers": "linear"}, {"dequantise_once": True, "where": "mid"}]
)
def test_32_bits_leave_the_model_as_it_is(run: Run, options: dict[str, Any]) -> None:
    model = quantized(run, {"bits": 32, **options})
    assert model.fingerprint() == run.teacher.fingerprint() and torch.equal(answer(model), answer(run.teacher))


def test_16_bits_round_every_weight_and_bias(run: Run) -> None:
    model = quantized(run, {"bits": 16})
    before = run.teacher.net.state_dict()
    for name, tensor in model.net.state_dict().items():
        assert tensor.dtype == torch.float32 and torch.equal(tensor, before[name].half().float())
    assert costs.stored_bytes(model.spec) * 2 == costs.stored_bytes(run.teacher.spec)


@pytest.mark.parametrize("greedy", [False, True])
def test_pruned_weights_in_16_bits_are_rounded_again(run: Run, greedy: bool) -> None:
    """The queries of a narrower head are scaled."""
    prune = {"ratio": 0.3, "criterion": "random", "greedy": greedy}
    model = Recipe.parse([{"quantize": {"bits": 16}}, {"prune": prune}]).run(run)
    query = model.spec.attentions[0].query
    assert len(model.survivors[query]) < run.teacher.spec.layers[query].outputs
    state, metadata = files.packed(model)
    assert torch.equal(answer(files.unpacked(state, metadata)), answer(model))
    full = Recipe.parse([{"prune": prune}]).run(run)
    assert_close(answer(model), answer(full), rtol=0.01, atol=0.01)


def test_linear_layers_alone_with_the_rest_in_float16(run: Run) -> None:
    """What two published works call 8-bit and 4-bit models."""
    model = quantized(run, {"bits": 4, "layers": "linear", "rest": 16})
    for name, layer in model.spec.layers.items():
        assert (layer.bits, layer.format) == ((4, "nf4") if layer.kind == "linear" else (16, "fp16")), name
        assert layer.bias_bits == 16
    linear = {name: layer for name, layer in run.teacher.spec.layers.items() if layer.kind == "linear"}
    expected = sum(layer.weights // 2 + 2 * layer.outputs for layer in linear.values())
    expected += sum(2 * layer.parameters for name, layer in run.teacher.spec.layers.items() if name not in linear)
    assert costs.stored_bytes_without_state(model.spec) == expected


def test_8_bit_activations_are_of_linear_layers(run: Run) -> None:
    model = quantized(run, {"bits": 8, "activations": 8, "dequantise_once": True})
    of_kind = {(layer.kind, layer.format, layer.is_cached) for layer in model.spec.layers.values() if layer.is_product}
    assert of_kind == {("conv", "int8", True), ("linear", "llm_int8", False)}


def test_8_bit_activations_are_never_of_a_single_input(run: Run) -> None:
    """Of which torch's int8 product on a CPU is whatever lay in memory."""
    narrow = {"prune": {"ratio": {"time": 0.99}, "rule": "flexible", "criterion": "magnitude"}}
    layers = Recipe.parse([narrow, {"quantize": {"bits": 8, "activations": 8}}]).plan(run.teacher.spec).layers
    assert {each.format for each in layers.values() if each.kind == "linear" and each.inputs == 1} == {"int8"}


@pytest.mark.parametrize(
    ("where", "expected"),
    [
        ("mid", "mid_block."),
        ("mid_b*", "mid_block."),
        ("down_1", "down_blocks.1."),
        (["down_1"], "down_blocks.1."),
        ("*.conv_shortcut", ".conv_shortcut"),
        ("conv_out", "conv_out"),
    ],
)
def test_patterns_name_layers_or_blocks(run: Run, where: str | list[str], expected: str) -> None:
    found = {name for name, bits in bits_of(quantized(run, {"bits": 8, "where": where})).items() if bits == 8}
    products = {name for name, layer in run.teacher.spec.layers.items() if layer.is_product}
    assert found and found == {name for name in products if expected in name}
    others = {name for name, bits in bits_of(quantized(run, {"bits": 8, "skip": where})).items() if bits == 8}
    assert others == products - found


def test_a_stage_leaves_what_is_quantised_already(run: Run) -> None:
    model = quantized(run, {"bits": 4, "where": "mid*"}, {"bits": 8, "skip": "conv_out", "rest": 16})
    bits = bits_of(model)
    assert bits["mid_block.resnets.0.conv1"] == 4 and bits["down_blocks.0.resnets.0.conv1"] == 8
    # Of a layer that is skipped, the bias stays too; of one that an earlier stage quantised, it is rest.
    assert (bits["conv_out"], model.spec.layers["conv_out"].bias_bits) == (32, 32)
    assert bits["mid_block.resnets.0.norm1"] == 16 == model.spec.layers["mid_block.resnets.0.conv1"].bias_bits
    alone = quantized(run, {"bits": 4, "where": "mid*"}).net.state_dict()
    name = "mid_block.resnets.0.conv1.weight.code"
    assert torch.equal(model.net.state_dict()[name], alone[name])


@pytest.mark.parametrize(
    ("stages", "message"),
    [
        ([{"bits": 8, "where": "mdi"}], r"quantize\.where: 'mdi' names no layer\. Did you mean 'mid'\? Blocks: time, "),
        ([{"bits": 8, "skip": ["mid", "zzz*"]}], r"quantize\.skip: 'zzz\*' names no layer\. Blocks: time, down_0, "),
        ([{"bits": 8}, {"bits": 4}], r"quantize_2\.bits: no weight is left to store in 4 bits"),
        ([{"bits": 4, "where": "*norm*"}], r"quantize\.bits: no weight is left to store in 4 bits"),
        ([{"bits": 4, "activations": 8}], r"quantize\.activations: .* found bits: 4\. Set bits: 8"),
    ],
)
def test_mistakes_are_named_with_their_option(run: Run, stages: list[dict[str, Any]], message: str) -> None:
    with pytest.raises(UserError, match=message):
        Recipe.parse([{"quantize": options} for options in stages]).plan(run.teacher.spec)


@pytest.mark.parametrize("options", [{"bits": 16}, {"bits": 8, "activations": 8}, {"bits": 8, "rest": 16}])
def test_values_that_float16_cannot_hold_are_refused(run: Run, options: dict[str, Any]) -> None:
    state = {name: tensor.detach().clone() for name, tensor in run.teacher.net.state_dict().items()}
    name = "time_embedding.linear_1.weight" if "activations" in options else "conv_norm_out.weight"
    state[name][0] = 7e4
    run.teacher = replace(run.teacher, net=assembled(run.teacher.spec, state))
    with pytest.raises(UserError, match=rf"{name} holds 70000; float16 reaches 65504\. Name this layer in `skip`"):
        quantized(run, options)
    quantized(run, {**options, "skip": name.removesuffix(".weight")})


@pytest.mark.parametrize(("bits", "format"), FORMATS)
def test_weights_restored_once_give_the_same_answer(
    run: Run, monkeypatch: pytest.MonkeyPatch, bits: int, format: str
) -> None:
    options = {"bits": bits, "format": format} if bits == 4 else {"bits": bits}
    each_time, once = quantized(run, options), quantized(run, {**options, "dequantise_once": True})
    assert torch.equal(answer(once), answer(each_time))
    assert {name: tensor.shape for name, tensor in once.net.state_dict().items()} == {
        name: tensor.shape for name, tensor in each_time.net.state_dict().items()
    }
    restored: list[QuantizedWeight] = []
    restore = QuantizedWeight._restored
    monkeypatch.setattr(QuantizedWeight, "_restored", lambda weight: restored.append(weight) or restore(weight))
    assert torch.equal(answer(once), answer(once)) and restored == []
    answer(each_time)
    assert len(restored) == sum(layer.is_product for layer in run.teacher.spec.layers.values())


@pytest.mark.parametrize("assign", [False, True])
def test_weights_restored_once_follow_their_codes(assign: bool) -> None:
    stored = QuantizedWeight((7, 9), bits=8, format="int8", is_cached=True)
    states = [by_bitsandbytes(random(7, 9, seed=seed), 8, "int8") for seed in (1, 2)]
    for state, expected in states:
        stored.load_state_dict({name.removeprefix("weight."): part for name, part in state.items()}, assign=assign)
        assert torch.equal(stored.restore(), expected)
        assert stored.restore() is stored.restore()
    assert stored.to("meta").restore().is_meta


def test_layers_restored_once_can_be_trained_after_inference_mode() -> None:
    layer = Layer(kind="conv", inputs=3, outputs=4, kernel=9, bits=8, format="int8", is_cached=True)
    module = quantized_layer(nn.Conv2d(3, 4, 3, padding=1), layer)
    module.load_state_dict(by_bitsandbytes(random(4, 3, 3, 3), 8, "int8")[0] | {"bias": random(4)})
    input_BCHW = random(1, 3, 5, 5).requires_grad_()
    with torch.inference_mode():
        module(input_BCHW)
    module(input_BCHW).square().sum().backward()
    assert input_BCHW.grad is not None and bool((input_BCHW.grad != 0).any())


def test_options_may_be_one_pattern_or_several() -> None:
    for where in ("mid*", ["mid*", "down_1"]):
        recipe = Recipe.parse([{"quantize": {"bits": 8, "where": where}}])
        assert Recipe.parse(recipe.written()) == recipe and recipe.written()[0]["quantize"]["where"] == where


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
    def bytes_of(weights: int, bits: int, format: str = "") -> tuple[int, int]:
        layer = Layer(kind="linear", inputs=weights, outputs=1, bits=bits, format=format)
        return weight_bytes(layer), scale_bytes(layer)

    assert bytes_of(65, 4) == (33, 2 * 4)
    assert bytes_of(257, 8) == (257, 2 * 4)
    assert bytes_of(257, 8, "llm_int8") == (257, 4)
    assert bytes_of(3, 16) == (6, 0)
    assert bytes_of(3, 32) == (12, 0)
