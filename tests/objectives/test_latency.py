"""Measured latency, and the device model that knows it before training."""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from objectives import _calibration
from objectives._layer_terms import terms_of
from objectives._timing import alone, median_stderr, repeated_seconds
from objectives.device_model import DeviceModel, calibrated
from objectives.latency import LatencyMs
from tests.conftest import build
from tests.objectives.conftest import Clock
from trainers.cache import Cache
from trainers.models.arch_spec import Layer
from trainers.models.diffusion_model import DiffusionModel
from trainers.models.networks.unet import Unet
from trainers.models.tracing import spec_of
from trainers.provenance import device_name
from trainers.run import Run

CPU = torch.device("cpu")


@pytest.fixture(scope="module")
def device(cache: Cache) -> DeviceModel:
    return calibrated(CPU, cache)


def stepped(model: DiffusionModel, steps: int) -> DiffusionModel:
    return replace(model, spec=model.spec.with_sampling_steps(steps))


@pytest.mark.parametrize("steps", [2, 20])
def test_latency_is_what_the_steps_take(clock: Clock, run: Run, steps: int) -> None:
    network = Unet(image_size=8, image_channels=1, channels=(8,), norm_groups=4)
    model = clock.charged(build(network, sampling_steps=steps), seconds=0.003)
    found = LatencyMs().measure(model, run)
    assert found.value == pytest.approx(3 * steps) and found.stderr < 1e-9 and 5 <= found.samples <= 50


def test_latency_names_the_device(tiny: DiffusionModel, run: Run) -> None:
    measured = LatencyMs(seconds=0.01).measure(stepped(tiny, 1), run)
    assert measured.by == device_name(CPU, threads=torch.get_num_threads())
    assert measured.by.startswith("cpu: ") and "thread" in measured.by


def test_prediction_is_the_sum_of_the_terms(tiny: DiffusionModel, device: DeviceModel) -> None:
    # tests/benchmarks/latency.py compares it with measured times.
    ones = {kind: (1e-6,) * len(weights) for kind, weights in device.weights.items()}
    known = replace(device, weights=ones, generation_seconds=0.5)
    step = 1e-6 * sum(sum(values) for values in terms_of(tiny.spec, batch=1).values())
    assert LatencyMs().predict(tiny.spec, known) == pytest.approx(1000 * (0.5 + tiny.spec.sampling_steps * step))


def test_prediction_grows_with_steps_layers_and_storage(tiny: DiffusionModel, device: DeviceModel) -> None:
    def stored(name: str, layer: Layer) -> Layer:
        return replace(layer, bits=8, format="int8") if layer.kind == "conv" else layer

    deep = spec_of(replace(tiny.spec.network, layers=2), sampling_steps=4)
    plain = device.predict(tiny.spec)
    assert device.predict(tiny.spec.with_sampling_steps(8)) > 1.5 * plain
    assert device.predict(deep) > 1.1 * plain
    assert device.predict(tiny.spec.map_layers(stored)) > 1.1 * plain


def test_every_kind_of_layer_can_be_predicted(device: DeviceModel) -> None:
    network = Unet(image_size=64, image_channels=3, channels=(32, 64), classes=10, attention=(False, True))
    assert device.predict(spec_of(network, sampling_steps=10)) > 0


def test_throughput_is_plausible(tiny: DiffusionModel, device: DeviceModel) -> None:
    assert 1e8 < device.train_macs_per_second < device.forward_macs_per_second < 1e15
    once, twice = (device.training_seconds(tiny.spec, images=images, batch=64) for images in (1000, 2000))
    assert twice == pytest.approx(2 * once) and once > device.forward_seconds(tiny.spec, images=1000, batch=64) > 0


@pytest.fixture
def calibrations(monkeypatch: pytest.MonkeyPatch, device: DeviceModel, cache: Cache) -> Iterator[list[int]]:
    """One entry for each calibration, which costs nothing here."""
    calls: list[int] = []
    kinds = {kind: torch.tensor(weights, dtype=torch.float64) for kind, weights in device.weights.items()}

    def measured(device: torch.device, cache: Cache, *, threads: int) -> dict[str, torch.Tensor]:
        calls.append(threads)
        return {**kinds, _calibration.RATES: torch.tensor([1e-3, 4e9, 1e-4, 1e9, 3e-4], dtype=torch.float64)}

    monkeypatch.setattr(_calibration, "measured", measured)
    yield calls


def test_calibrates_once_per_number_of_threads(tmp_path: Path, calibrations: list[int]) -> None:
    first, second = (calibrated(CPU, Cache(tmp_path), threads=1) for _ in range(2))
    assert first == second and calibrations == [1]
    assert calibrated(CPU, Cache(tmp_path), threads=2).name != first.name
    assert calibrations == [1, 2]


def test_damaged_calibration_is_made_again(tmp_path: Path, calibrations: list[int]) -> None:
    first = calibrated(CPU, Cache(tmp_path), threads=1)
    (file,) = tmp_path.glob("device-*.safetensors")
    file.write_bytes(b"not a calibration")
    assert calibrated(CPU, Cache(tmp_path), threads=1) == first
    assert calibrations == [1, 1]


def test_calibrating_leaves_the_random_stream_and_the_threads_alone(tmp_path: Path) -> None:
    torch.manual_seed(3)
    expected = torch.rand(1)
    torch.manual_seed(3)
    before = torch.get_num_threads()
    calibrated(CPU, Cache(tmp_path), threads=before)
    assert torch.equal(torch.rand(1), expected) and torch.get_num_threads() == before


def test_only_one_measurement_at_a_time(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    with alone(tmp_path), alone(tmp_path, patience=0.1):
        pass
    assert "beside another measurement" in caplog.text
    caplog.clear()
    with alone(tmp_path, patience=0.1):
        pass
    assert caplog.text == ""


def test_repetitions_stop_at_their_limits() -> None:
    assert len(repeated_seconds(lambda: None, device=CPU, least=5, most=7, within=10.0)) == 7
    assert len(repeated_seconds(lambda: time.sleep(0.01), device=CPU, least=3, most=50, within=0.001)) == 3


def test_stderr_of_the_median_is_that_of_repeated_medians() -> None:
    generator = torch.Generator().manual_seed(0)
    value_RN = 10 + torch.randn(400, 51, generator=generator)
    spread = value_RN.median(dim=1).values.std().item()
    stderr = sum(median_stderr(row_N.tolist()) for row_N in value_RN) / 400
    assert stderr == pytest.approx(spread, rel=0.15)
