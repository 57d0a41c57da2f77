"""Costs of an architecture equal what the built model has, and the numbers of the papers."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode

from objectives import costs
from trainers.models import linear4bit
from trainers.models.arch_spec import ArchSpec, Layer
from trainers.models.building import empty
from trainers.models.file_size import file_bytes
from trainers.models.float16 import names_in_float16
from trainers.models.networks.unet import Unet
from trainers.models.quantized import QuantizedWeight
from trainers.models.stored_bits import weight_shape
from trainers.models.tracing import example_inputs, spec_of
from trainers.recipe import Recipe


def cifar(channels: tuple[int, ...], attention: tuple[bool, ...]) -> ArchSpec:
    network = Unet(image_size=32, image_channels=3, channels=channels, attention=attention, layers=2)
    return spec_of(network, sampling_steps=10)


def grouped(name: str, layer: Layer) -> Layer:
    """Uneven norm groups and grouped convolutions, some with weights that do not fill their last block of scales."""
    if layer.kind == "norm" and "norm1" in name:
        quarter = layer.outputs // 4
        return replace(layer, norm_groups=(quarter + 1, quarter - 1, quarter, quarter))
    if layer.kind == "conv" and layer.inputs % 2 == 0 and layer.outputs % 2 == 0:
        return replace(layer, groups=2)
    return layer


RECIPES = {
    "none": [],
    "half": [{"bits": 16}],
    "int8 and the rest half": [{"bits": 8, "rest": 16}],
    "linear alone": [{"bits": 4, "layers": "linear", "format": "fp4"}],
    "int8 activations": [{"bits": 8, "activations": 8, "skip": "conv_out"}],
    "mixed": [{"bits": 4, "where": ["mid", "down_0"]}, {"bits": 8, "layers": "linear", "activations": 8, "rest": 16}],
}


def stored(spec: ArchSpec, recipe: str) -> ArchSpec:
    return Recipe.parse([{"quantize": options} for options in RECIPES[recipe]]).plan(spec)


@pytest.fixture
def small() -> ArchSpec:
    network = Unet(image_size=8, image_channels=1, channels=(8, 20), attention=(True, False), norm_groups=4, classes=3)
    return spec_of(network, sampling_steps=4)


@pytest.mark.parametrize(
    ("channels", "attention", "parameters", "macs"),
    [
        ((128, 256, 256, 256), (False, True, False, False), 35_746_307, 6_053_953_536),
        ((128, 256), (False, True), 15_930_883, 5_800_984_576),
    ],
)
def test_published_networks_have_their_known_costs(
    channels: tuple[int, ...], attention: tuple[bool, ...], parameters: int, macs: int
) -> None:
    spec = cifar(channels, attention)
    assert costs.parameters(spec) == parameters
    assert costs.macs(spec) == macs
    assert costs.stored_bytes(spec) == 4 * parameters


@pytest.mark.parametrize("change", [None, grouped])
@pytest.mark.parametrize("recipe", RECIPES)
def test_costs_equal_the_built_model(small: ArchSpec, change, recipe: str) -> None:  # type: ignore[no-untyped-def]
    spec = stored(small if change is None else small.map_layers(change), recipe)
    net = empty(spec)
    in_half = set(names_in_float16(spec))
    held = {name: torch.zeros(tensor.shape, dtype=tensor.dtype) for name, tensor in net.state_dict().items()}
    sizes = {
        name: tensor.numel() * (2 if name in in_half else tensor.element_size())
        for name, tensor in linear4bit.written(spec, held).items()
    }
    assert costs.stored_bytes(spec) == sum(sizes.values())
    state = (".scale", ".absmax", ".quant_map", ".bitsandbytes__nf4", ".bitsandbytes__fp4")
    without = sum(size for name, size in sizes.items() if not name.endswith(state))
    assert costs.stored_bytes_without_state(spec) == without
    coded = sum(torch.Size(module.shape).numel() for module in net.modules() if isinstance(module, QuantizedWeight))
    assert costs.parameters(spec) == coded + sum(parameter.numel() for parameter in net.parameters())
    assert (costs.stored_bytes(spec) < costs.stored_bytes(small)) == (change is not None or recipe != "none")


def test_constants_are_stored_but_no_parameters(small: ArchSpec) -> None:
    frequencies = Layer(kind="constant", inputs=0, outputs=128, bias=False)
    spec = small.with_layers({"frequencies": frequencies})
    assert costs.parameters(spec) == costs.parameters(small)
    assert costs.stored_bytes(stored(spec, "half")) == costs.stored_bytes(stored(small, "half")) + 4 * 128


def test_linear_layers_alone_give_the_published_file_sizes() -> None:
    """27.39 and 25.89 MiB count codes only; 27.45 and 26.11 are files with the state as bitsandbytes names it."""
    from bitsandbytes import functional
    from safetensors.torch import save

    spec = cifar((128, 256), (False, True))
    linear = [layer for layer in spec.layers.values() if layer.kind == "linear"]
    assert (len(linear), sum(layer.weights for layer in linear)) == (38, 3_145_728)
    recipes = [
        {"bits": 8, "layers": "linear", "rest": 16, "activations": 8},
        {"bits": 4, "layers": "linear", "rest": 16},
    ]
    planned = [Recipe.parse([{"quantize": options}]).plan(spec) for options in recipes]
    assert [round(costs.stored_bytes_without_state(one) / 2**20, 2) for one in planned] == [27.39, 25.89]
    assert [round(file_bytes(one) / 2**20, 2) for one in planned] == [27.45, 26.11]

    def theirs(name: str, layer: Layer, bits: int) -> dict[str, torch.Tensor]:
        weight = torch.zeros(weight_shape(layer), dtype=torch.float16)
        if layer.kind != "linear":
            return {f"{name}.weight": weight}
        if bits == 8:
            state = {"SCB": torch.zeros(layer.outputs), "weight_format": torch.tensor(0, dtype=torch.uint8)}
            return {f"{name}.weight": weight.to(torch.int8)} | {f"{name}.{part}": state[part] for part in state}
        code, quantised = functional.quantize_4bit(weight, blocksize=64, quant_type="nf4")
        state = quantised.as_dict(packed=True)
        return {f"{name}.weight": code} | {f"{name}.weight.{part}": state[part].clone() for part in state}

    for bits, ours in zip((8, 4), planned, strict=True):
        held: dict[str, torch.Tensor] = {}
        for name, layer in spec.layers.items():
            held |= theirs(name, layer, bits)
            if layer.bias:
                held[f"{name}.bias"] = torch.zeros(layer.outputs, dtype=torch.float16)
        assert round(len(save(held)) / 2**20, 2) == round(file_bytes(ours) / 2**20, 2)
        if bits == 4:
            assert len(save(held)) == file_bytes(ours)


def test_quantised_weights_are_still_parameters(small: ArchSpec) -> None:
    quantised = small.map_layers(lambda name, layer: replace(layer, bits=8) if layer.kind == "conv" else layer)
    assert costs.parameters(quantised) == costs.parameters(small)


def test_macs_equal_what_torch_counts(small: ArchSpec) -> None:
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        small.network.call(empty(small), *example_inputs(small.network))
    assert 2 * (costs.macs(small) + costs.attention_macs(small)) == counter.get_total_flops()
    assert costs.attention_macs(small) > 0
