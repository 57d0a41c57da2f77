"""The time of a batch, measured and predicted."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from objectives.device_model import DeviceModel, calibrated
from objectives.generation import GenerationMs, generation_curve
from objectives.latency import LatencyMs
from tests.conftest import build
from tests.objectives.conftest import Clock
from trainers.cache import Cache
from trainers.models.diffusion_model import DiffusionModel
from trainers.models.networks.unet import Unet
from trainers.models.tracing import spec_of
from trainers.provenance import device_name
from trainers.run import Run


def unet(steps: int, classes: int | None = None) -> DiffusionModel:
    network = Unet(image_size=8, image_channels=1, channels=(8,), norm_groups=4, classes=classes)
    return build(network, sampling_steps=steps)


@pytest.fixture(scope="module")
def device(cache: Cache) -> DeviceModel:
    return calibrated(torch.device("cpu"), cache)


@pytest.mark.parametrize("steps", [1, 10])
def test_a_batch_takes_what_its_passes_take(run: Run, clock: Clock, steps: int) -> None:
    # A pass takes 2 ms and 1 ms for each image.
    model = clock.charged(unet(steps), seconds=0.002, seconds_per_image=0.001)
    curve = dict(generation_curve(model, (1, 8, 64), device=run.device, cache=run.cache))
    assert {batch: found.value for batch, found in curve.items()} == pytest.approx(
        {batch: steps * (2 + batch) for batch in (1, 8, 64)}
    )
    for found in curve.values():
        assert found.samples >= 5 and found.stderr < 1e-9 and found.by == device_name(run.device, threads=1)


def test_one_image_is_the_latency(tiny: DiffusionModel, device: DeviceModel) -> None:
    assert GenerationMs(batch=1).predict(tiny.spec, device) == LatencyMs().predict(tiny.spec, device)


def test_labels_reach_a_class_conditional_model(run: Run) -> None:
    model = unet(steps=1, classes=3)
    assert GenerationMs(batch=5, seconds=0.01).measure(model, run).value > 0


def test_prediction_grows_with_batch_width_and_steps(tiny: DiffusionModel, device: DeviceModel) -> None:
    def predicted(spec=tiny.spec, batch: int = 16) -> float:  # type: ignore[no-untyped-def]
        return GenerationMs(batch=batch).predict(spec, device)

    wide = spec_of(replace(tiny.spec.network, channels=(16, 32)), sampling_steps=4)  # type: ignore[call-arg]
    assert predicted(batch=64) > 1.2 * predicted(batch=16) > 1.2 * predicted(batch=1)
    assert predicted(wide) > 1.1 * predicted() and predicted(tiny.spec.with_sampling_steps(8)) > 1.5 * predicted()
