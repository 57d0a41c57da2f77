"""Memory of tensors alive at once: of calls whose answer is known, and of models."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest
import torch

from objectives._memory import peak_bytes
from objectives.peak_memory import PeakMemoryMb
from objectives.size import SizeMb
from tests.conftest import build
from trainers.compression.quantize import Quantize
from trainers.models.arch_spec import ArchSpec
from trainers.models.diffusion_model import DiffusionModel
from trainers.models.networks.unet import Unet
from trainers.run import Run

CPU = torch.device("cpu")
KB = 1024


def kilobytes(count: int) -> torch.Tensor:
    return torch.zeros(count * KB // 4)


def chained() -> None:
    """Each result is let go when the next is there."""
    value = kilobytes(10)
    for _ in range(5):
        value = value + 1


def kept() -> None:
    """All results stay."""
    values = [kilobytes(10)]
    for _ in range(5):
        values.append(values[-1] + 1)


def in_place_and_viewed() -> None:
    value = kilobytes(10)
    value.add_(1).view(2, -1).t().mul_(2)


def let_go_before_more_is_made() -> None:
    first = kilobytes(30)
    del first
    second = kilobytes(20)
    del second


@pytest.mark.parametrize(
    ("call", "expected"), [(chained, 20), (kept, 60), (in_place_and_viewed, 10), (let_go_before_more_is_made, 30)]
)
def test_what_is_alive_at_once_counts(call: Callable[[], None], expected: int) -> None:
    assert peak_bytes(call, held=[], device=CPU) == expected * KB


def test_what_is_held_counts_once_however_it_is_used() -> None:
    weight = kilobytes(8)
    found = peak_bytes(lambda: weight.view(2, -1)[0].add(1), held=[weight, weight[5:]], device=CPU)
    assert found == 12 * KB


def test_same_every_time_and_does_not_depend_on_earlier_calls(tiny: DiffusionModel, run: Run) -> None:
    cached = Quantize(bits=8, dequantise_once=True).apply(tiny, run)
    first = PeakMemoryMb(batch=3).measure(cached, run)
    cached.predict(torch.zeros(1, 1, 8, 8), torch.zeros(1, dtype=torch.long))
    assert PeakMemoryMb(batch=3).measure(cached, run) == first
    # Its weights were restored, and stay so.
    assert first.value > PeakMemoryMb(batch=3).measure(Quantize(bits=8).apply(tiny, run), run).value + 0.05


def test_is_at_least_the_weights_and_grows_by_the_same_for_each_image(tiny: DiffusionModel, run: Run) -> None:
    some, more, most = (PeakMemoryMb(batch=batch).measure(tiny, run).value for batch in (8, 16, 24))
    assert some > SizeMb().measure(tiny, run).value
    assert more - some == pytest.approx(most - more, rel=0.02)
    # At its widest there are 16 + 8 channels of 8x8 pixels in and as many out, and skips.
    assert 8 * 64 * 48 * 4 < 1e6 * (more - some) < 3 * 8 * 64 * 48 * 4


def test_steps_do_not_matter(tiny: DiffusionModel, run: Run) -> None:
    slow = replace(tiny, spec=tiny.spec.with_sampling_steps(50))
    assert PeakMemoryMb().measure(slow, run) == PeakMemoryMb().measure(tiny, run)


@pytest.mark.parametrize("batch", [1, 16, 64])
@pytest.mark.parametrize("bits", [32, 8, 4])
@pytest.mark.parametrize(
    "network",
    [
        Unet(image_size=8, image_channels=1, channels=(8, 16), norm_groups=4),
        Unet(image_size=16, image_channels=3, channels=(16, 24, 32), norm_groups=4, layers=2),
        Unet(image_size=16, image_channels=1, channels=(16, 32), norm_groups=4, attention=(True, True), classes=4),
    ],
)
def test_prediction_is_near_the_measurement(network: Unet, bits: int, batch: int, run: Run) -> None:
    model = build(network, sampling_steps=3)
    if bits < 32:
        model = Quantize(bits=bits).apply(model, run)  # type: ignore[arg-type]
    objective = PeakMemoryMb(batch=batch)
    measured = objective.measure(model, run).value
    assert objective.predict(model.spec, None) == pytest.approx(measured, rel=0.12)  # type: ignore[arg-type]


def test_guidance_takes_twice_the_images(tiny: DiffusionModel) -> None:
    def predicted(spec: ArchSpec, batch: int) -> float:
        return PeakMemoryMb(batch=batch).predict(spec, None)  # type: ignore[arg-type]

    labelled = build(Unet(image_size=8, image_channels=1, channels=(8,), norm_groups=4, classes=3)).spec
    assert predicted(replace(labelled, guidance=2.0), 8) == pytest.approx(predicted(labelled, 16))


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_a_gpu_counts_what_its_allocator_gave_out(tiny: DiffusionModel, run: Run) -> None:
    run = replace(run, device=torch.device("cuda"))
    small, large = (PeakMemoryMb(batch=batch).measure(tiny, run) for batch in (16, 256))
    assert large.value > small.value > SizeMb().measure(tiny, run).value
    assert small.by == "allocator"
