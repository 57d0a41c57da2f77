"""The test denoising loss of models whose error is known."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Any

import pytest
import torch
from torch import Tensor

from objectives.denoising_loss import DenoisingLoss
from trainers.data.dataset import Images
from trainers.errors import UserError
from trainers.models.arch_spec import ArchSpec
from trainers.models.diffusion import Diffusion
from trainers.models.diffusion_model import DiffusionModel
from trainers.run import Run


@dataclass
class Known:
    """A model that meets the first ``count`` test images in turns; it is off by ``error`` and remembers what it saw."""

    spec: ArchSpec
    images: Images
    error: float
    count: int
    timestep_N: list[Tensor] = field(default_factory=list)
    noise_NCHW: list[Tensor] = field(default_factory=list)

    def to(self, device: torch.device) -> Known:
        return self

    def predict(self, noisy_BCHW: Tensor, timestep_B: Tensor, label_B: Tensor | None) -> Tensor:
        seen = sum(map(len, self.timestep_N)) % self.count
        image_BCHW = self.images.test_inputs(slice(seen, seen + len(noisy_BCHW)))
        alpha_B111, sigma_B111 = self.spec.diffusion.alpha_sigma(timestep_B)
        self.timestep_N.append(timestep_B)
        self.noise_NCHW.append((noisy_BCHW - alpha_B111 * image_BCHW) / sigma_B111)
        return self.spec.diffusion.target(image_BCHW, self.noise_NCHW[-1], timestep_B) + self.error


def known(tiny: DiffusionModel, run: Run, error: float, *, count: int | None = None, **process: Any) -> Any:
    spec = replace(tiny.spec, diffusion=Diffusion(**process))
    return Known(spec, run.images, error, count or len(run.images.test_NCHW))


@pytest.mark.parametrize("schedule", ["linear", "cosine"])
@pytest.mark.parametrize("prediction", ["epsilon", "v", "x"])
def test_every_prediction_counts_by_its_noise(tiny: DiffusionModel, run: Run, prediction: str, schedule: str) -> None:
    model = known(tiny, run, 0.3, prediction=prediction, schedule=schedule, steps=400)
    found = DenoisingLoss(samples=10_000).measure(model, run)
    alpha_N111, sigma_N111 = model.spec.diffusion.alpha_sigma(torch.cat(model.timestep_N))
    scale_N111 = {"epsilon": torch.ones_like(alpha_N111), "v": alpha_N111, "x": alpha_N111 / sigma_N111}[prediction]
    assert found.value == pytest.approx((0.3 * scale_N111).square().mean().item(), rel=1e-3)
    assert found.samples == len(run.images.test_NCHW)


def test_without_error_it_is_nothing(tiny: DiffusionModel, run: Run) -> None:
    found = DenoisingLoss().measure(known(tiny, run, 0.0), run)
    assert found.value < 1e-9 and found.stderr < 1e-9


def test_all_parts_of_the_process_count_alike(tiny: DiffusionModel, run: Run) -> None:
    model = known(tiny, run, 0.1, count=50, steps=100)
    DenoisingLoss(samples=50, timesteps=4).measure(model, run)
    timestep_PN = torch.cat(model.timestep_N).reshape(4, 50)
    for part, timestep_N in enumerate(timestep_PN):
        assert timestep_N.min() >= 25 * part and timestep_N.max() < 25 * (part + 1) and len(timestep_N.unique()) > 10
    noise_NCHW = torch.cat(model.noise_NCHW)
    assert noise_NCHW.std().item() == pytest.approx(1, abs=0.05)
    assert len({round(noise.item(), 4) for noise in noise_NCHW[:, 0, 4, 4]}) > 190


def test_steps_and_noise_depend_on_the_seed_option_alone(tiny: DiffusionModel, run: Run) -> None:
    objective = DenoisingLoss(samples=40)
    first = objective.measure(tiny, run)
    torch.rand(1)
    assert objective.measure(tiny, replace(run, seed=7)) == first
    again = objective.with_noise(1).measure(tiny, run)
    assert again.value != first.value and again.value == pytest.approx(first.value, rel=0.3)


def test_stderr_is_the_spread_over_test_images(tiny: DiffusionModel, run: Run) -> None:
    def part(first: int) -> Images:
        chosen = slice(first, first + 30)
        images = run.images
        return replace(images, test_NCHW=images.test_NCHW[chosen], test_label_N=images.test_label_N[chosen])

    draws = [DenoisingLoss(seed=k).measure(tiny, replace(run, images=part(30 * k))) for k in range(11)]
    spread = torch.tensor([found.value for found in draws]).std().item()
    assert 0.5 < sum(found.stderr for found in draws) / 11 / spread < 2


def test_names_the_test_images(tiny: DiffusionModel, run: Run) -> None:
    assert DenoisingLoss(samples=5).measure(tiny, run).by == f"digits-test-{run.images.hash[:8]}"


def test_diverged_model_fails_with_the_reason(tiny: DiffusionModel, run: Run) -> None:
    with pytest.raises(FloatingPointError, match="diverged"):
        DenoisingLoss(samples=5).measure(known(tiny, run, float("nan")), run)


def test_data_without_test_images_are_refused(run: Run) -> None:
    empty = replace(run.images, test_NCHW=run.images.test_NCHW[:0])
    with pytest.raises(UserError, match="needs test images"):
        DenoisingLoss().prepare(empty, run.cache)
