"""Costs of an architecture equal what the built model has, and the numbers of the papers."""

from __future__ import annotations

import time
from dataclasses import replace

import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode

from objectives import costs
from trainers.models.arch_spec import ArchSpec, Layer
from trainers.models.building import empty
from trainers.models.networks.unet import Unet
from trainers.models.tracing import example_inputs, spec_of


def cifar(channels: tuple[int, ...], attention: tuple[bool, ...]) -> ArchSpec:
    network = Unet(image_size=32, image_channels=3, channels=channels, attention=attention, layers=2)
    return spec_of(network, sampling_steps=10)


def compressed(name: str, layer: Layer) -> Layer:
    """Every kind of compression somewhere, some with weights that do not fill their last block of scales."""
    if layer.kind == "norm" and "norm1" in name:
        quarter = layer.outputs // 4
        return replace(layer, norm_groups=(quarter + 1, quarter - 1, quarter, quarter))
    if layer.kind == "conv" and layer.inputs % 2 == 0 and layer.outputs % 2 == 0:
        return replace(layer, groups=2, bits=4, format="nf4")
    if layer.kind == "linear":
        return replace(layer, bits=8, format="int8")
    return layer


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


@pytest.mark.parametrize("change", [None, compressed])
def test_costs_equal_the_built_model(small: ArchSpec, change) -> None:  # type: ignore[no-untyped-def]
    spec = small if change is None else small.map_layers(change)
    state = empty(spec).state_dict()
    assert costs.stored_bytes(spec) == sum(tensor.numel() * tensor.element_size() for tensor in state.values())
    if change is None:
        assert costs.parameters(spec) == sum(tensor.numel() for tensor in state.values())
    else:
        assert costs.stored_bytes(spec) < 0.5 * costs.stored_bytes(small)


def test_quantised_weights_are_still_parameters(small: ArchSpec) -> None:
    quantised = small.map_layers(lambda name, layer: replace(layer, bits=8) if layer.kind == "conv" else layer)
    assert costs.parameters(quantised) == costs.parameters(small)


def test_macs_equal_what_torch_counts(small: ArchSpec) -> None:
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        small.network.call(empty(small), *example_inputs(small.network))
    assert 2 * (costs.macs(small) + costs.attention_macs(small)) == counter.get_total_flops()
    assert costs.attention_macs(small) > 0


def test_all_costs_of_a_large_network_take_under_a_millisecond() -> None:
    spec = cifar((128, 256, 256, 256), (False, True, False, False))
    taken = []
    for _ in range(20):
        begun = time.perf_counter()
        costs.parameters(spec), costs.stored_bytes(spec), costs.macs(spec), costs.attention_macs(spec)
        taken.append(time.perf_counter() - begun)
    assert min(taken) < 0.001
