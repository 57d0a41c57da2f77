"""Measured latency, and the device model that knows it before training."""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from objectives import _calibration
from objectives._timing import alone, median_stderr, repeated_seconds
from objectives.device_model import DeviceModel, calibrated
from objectives.latency import LatencyMs
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


def test_latency_grows_with_the_steps(tiny: DiffusionModel, run: Run) -> None:
    objective = LatencyMs(seconds=0.1)
    few, many = (objective.measure(stepped(tiny, steps), run) for steps in (2, 20))
    assert few.value > 0 and few.samples >= 5 and few.stderr >= 0
    # Ten times the steps; beside a constant part and busy neighbours at least three times the time.
    assert many.value > 3 * few.value


def test_latency_names_the_device(tiny: DiffusionModel, run: Run) -> None:
    measured = LatencyMs(seconds=0.01).measure(stepped(tiny, 1), run)
    assert measured.by == device_name(CPU, threads=torch.get_num_threads())
    assert measured.by.startswith("cpu: ") and "thread" in measured.by


def test_prediction_is_near_the_measurement(tiny: DiffusionModel, run: Run, device: DeviceModel) -> None:
    # Generous, because tests run beside others; tests/benchmarks/latency.py holds it to 15 %.
    measured = LatencyMs(seconds=0.2).measure(tiny, run).value
    assert 0.4 < LatencyMs().predict(tiny.spec, device) / measured < 2.5


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


def test_prediction_for_a_large_network_takes_about_a_millisecond(device: DeviceModel) -> None:
    network = Unet(image_size=32, image_channels=3, channels=(128, 256, 256, 256), layers=2)
    spec = spec_of(network, sampling_steps=10)
    taken = []
    for _ in range(20):
        begun = time.perf_counter()
        device.predict(spec)
        taken.append(time.perf_counter() - begun)
    assert min(taken) < 0.001


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
