"""The time of a batch, measured and predicted."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from objectives.device_model import DeviceModel, calibrated
from objectives.generation import GenerationMs, generation_curve
from objectives.latency import LatencyMs
from tests.conftest import build
from trainers.cache import Cache
from trainers.models.diffusion_model import DiffusionModel
from trainers.models.networks.unet import Unet
from trainers.models.tracing import spec_of
from trainers.provenance import device_name
from trainers.run import Run


@pytest.fixture(scope="module")
def device(cache: Cache) -> DeviceModel:
    return calibrated(torch.device("cpu"), cache)


def test_the_curve_rises_with_the_batch_and_falls_for_each_image(tiny: DiffusionModel, run: Run) -> None:
    curve = generation_curve(tiny, run, batches=(1, 8, 64), seconds=0.1)
    assert list(curve) == [1, 8, 64]
    assert curve[64].value > 1.5 * curve[1].value and curve[64].value / 64 < curve[8].value / 8 < curve[1].value
    for found in curve.values():
        assert found.samples >= 5 and found.stderr >= 0 and found.by == device_name(run.device, threads=1)


def test_one_image_is_the_latency(tiny: DiffusionModel, run: Run, device: DeviceModel) -> None:
    assert GenerationMs(batch=1).predict(tiny.spec, device) == LatencyMs().predict(tiny.spec, device)
    one, latency = GenerationMs(batch=1).measure(tiny, run), LatencyMs().measure(tiny, run)
    assert 0.4 < one.value / latency.value < 2.5


def test_labels_reach_a_class_conditional_model(run: Run) -> None:
    model = build(Unet(image_size=8, image_channels=1, channels=(8,), norm_groups=4, classes=3), sampling_steps=1)
    assert GenerationMs(batch=5, seconds=0.01).measure(model, run).value > 0


@pytest.mark.parametrize("batch", [4, 64])
def test_prediction_is_near_the_measurement(tiny: DiffusionModel, run: Run, device: DeviceModel, batch: int) -> None:
    # Generous, because tests run beside others: alone it is within a tenth.
    objective = GenerationMs(batch=batch, seconds=0.2)
    assert 0.4 < objective.predict(tiny.spec, device) / objective.measure(tiny, run).value < 2.5


def test_prediction_grows_with_batch_width_and_steps(tiny: DiffusionModel, device: DeviceModel) -> None:
    def predicted(spec=tiny.spec, batch: int = 16) -> float:  # type: ignore[no-untyped-def]
        return GenerationMs(batch=batch).predict(spec, device)

    wide = spec_of(replace(tiny.spec.network, channels=(16, 32)), sampling_steps=4)  # type: ignore[call-arg]
    assert predicted(batch=64) > 1.2 * predicted(batch=16) > 1.2 * predicted(batch=1)
    assert predicted(wide) > 1.1 * predicted() and predicted(tiny.spec.with_sampling_steps(8)) > 1.5 * predicted()
