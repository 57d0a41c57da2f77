"""How well a model tells the noise in images that it has never seen."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from objectives.objective import OBJECTIVES, Measurement, Objective
from trainers.bounds import Samples, Seed, Steps
from trainers.errors import UserError

if TYPE_CHECKING:
    import torch

    from trainers.cache import Cache
    from trainers.data.dataset import Images
    from trainers.models.diffusion_model import DiffusionModel
    from trainers.run import Run

_BATCH = 250


@OBJECTIVES.register("denoising_loss")
@dataclass(frozen=True, kw_only=True)
class DenoisingLoss(Objective):
    """Mean squared error of the predicted noise on test images (Ho et al. 2020, Eq. 14), 1 for a guess of zero.

    Every image is noised once in each of ``timesteps`` equal parts of the process, at a step drawn within the part, so
    all noise levels count alike and the same images, steps and noise meet every trial. A prediction of the image or the
    velocity counts by the noise that follows from it. Values are comparable for one noise process only. The standard
    error is over images. ``Measurement.by`` names the test images.

    Args:
        samples: Test images, or all where there are fewer.
        timesteps: Parts of the process, and noisy versions of each image.
        seed: Of steps and noise, the same for every trial.
    """

    title = "Test denoising loss"
    is_learned = True

    samples: Samples = 1000
    timesteps: Steps = 8
    seed: Seed = 0

    def prepare(self, images: Images, cache: Cache) -> None:
        _check_test_images(images)

    def measured_by(self, images: Images, cache: Cache) -> str:
        return f"{images.name}-test-{images.hash[:8]}"

    def with_noise(self, seed: int) -> DenoisingLoss:
        return replace(self, seed=seed)

    def measure(self, model: DiffusionModel, run: Run) -> Measurement:
        import math

        import torch

        _check_test_images(run.images)
        error_N = torch.zeros(min(self.samples, len(run.images.test_NCHW)))
        model = model.to(run.device)
        generator = torch.Generator().manual_seed(self.seed)
        for part in range(self.timesteps):
            share_N = (part + torch.rand(len(error_N), generator=generator)) / self.timesteps
            error_N += self._errors(model, run, share_N, generator) / self.timesteps
        value = float(error_N.mean())
        if not math.isfinite(value):
            raise FloatingPointError(f"the denoising loss is {value}: training diverged")
        return Measurement(
            value=value,
            stderr=float(error_N.std()) / len(error_N) ** 0.5,
            samples=len(error_N),
            by=self.measured_by(run.images, run.cache),
        )

    def _errors(
        self, model: DiffusionModel, run: Run, share_N: torch.Tensor, generator: torch.Generator
    ) -> torch.Tensor:
        """Mean squared error of each image (N), noised after this share of the process."""
        import torch

        diffusion, classes = model.spec.diffusion, model.spec.network.classes
        timestep_N = (share_N * diffusion.steps).long().clamp(max=diffusion.steps - 1)
        found = []
        for first in range(0, len(share_N), _BATCH):
            chosen = slice(first, min(first + _BATCH, len(share_N)))
            image_BCHW = run.images.test_inputs(chosen)
            noise_BCHW = torch.randn(image_BCHW.shape, generator=generator)
            image_BCHW, noise_BCHW = image_BCHW.to(run.device), noise_BCHW.to(run.device)
            timestep_B = timestep_N[chosen].to(run.device)
            label_B = run.images.test_label_N[chosen].to(run.device) if classes else None
            noisy_BCHW = diffusion.noised(image_BCHW, noise_BCHW, timestep_B)
            with torch.no_grad():
                prediction_BCHW = model.predict(noisy_BCHW, timestep_B, label_B)
            predicted_BCHW = diffusion.epsilon_of(prediction_BCHW, noisy_BCHW, timestep_B)
            found.append((predicted_BCHW - noise_BCHW).square().mean(dim=(1, 2, 3)).cpu())
        return torch.cat(found)


def _check_test_images(images: Images) -> None:
    if len(images.test_NCHW) < 2:
        raise UserError(
            f"denoising_loss needs test images, and the data set {images.name!r} has {len(images.test_NCHW)}. "
            "Add a test split to the data, or leave the objective out."
        )
