"""How alike the images of model and teacher are that begin with the same noise."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from objectives.objective import OBJECTIVES, Measurement, Objective
from trainers.bounds import Samples, Seed

if TYPE_CHECKING:
    import torch

    from trainers.models.diffusion_model import DiffusionModel
    from trainers.run import Run


@OBJECTIVES.register("ssim")
@dataclass(frozen=True, kw_only=True)
class Ssim(Objective):
    """Mean structural similarity (Wang et al. 2004) to the teacher's images of the same noise and labels, up to 1.

    Both draw in their own number of steps. What was trained without its teacher may be as good and quite unlike it. The
    standard error is over images. ``Measurement.by`` names the teacher.

    Args:
        samples: Pairs of images.
        seed: Of the noise, the same for every trial.
    """

    goal = "max"
    title = "SSIM to the teacher"
    is_learned = True

    samples: Samples = 1000
    seed: Seed = 0

    def with_noise(self, seed: int) -> Ssim:
        return replace(self, seed=seed)

    def measure(self, model: DiffusionModel, run: Run) -> Measurement:
        from objectives._drawn import drawn_images
        from objectives._similarity import similarity

        teacher = run.teacher.fingerprint()
        expected_NCHW = self._of_teacher(run, teacher)
        drawn_NCHW = drawn_images(model, run, count=self.samples, seed=self.seed)
        found_N = similarity(drawn_NCHW, expected_NCHW)
        return Measurement(
            value=float(found_N.mean()),
            stderr=float(found_N.std()) / self.samples**0.5,
            samples=self.samples,
            by=f"teacher-{teacher}",
        )

    def _of_teacher(self, run: Run, teacher: str) -> torch.Tensor:
        """Its images, drawn once; the fingerprint changes with its steps, and that of the data with a decoder."""
        from objectives._drawn import drawn_images

        def make() -> dict[str, torch.Tensor]:
            return {"images": drawn_images(run.teacher, run, count=self.samples, seed=self.seed)}

        key = {"model": teacher, "data": run.images.hash, "seed": self.seed, "samples": self.samples}
        return run.cache.tensors("drawn", key, make)["images"]
