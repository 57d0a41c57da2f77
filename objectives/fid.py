"""Frechet distance between features of generated and of real images."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Annotated, Literal

from pydantic import Field

from objectives.objective import OBJECTIVES, Measurement, Objective

if TYPE_CHECKING:
    from trainers.cache import Cache
    from trainers.data.dataset import Images
    from trainers.models.diffusion_model import DiffusionModel
    from trainers.run import Run


@OBJECTIVES.register("fid")
@dataclass(frozen=True, kw_only=True)
class Fid(Objective):
    """Frechet distance to the training images (Heusel et al. 2017), on Inception's features or the data's own.

    Fewer samples give a larger value, and each extractor has its own scale: compare values with the same ``samples``
    and the same ``Measurement.by`` only. The standard error is over draws of the noise.

    Args:
        samples: Generated images.
        extractor: ``inception`` (2048 features), ``labels`` (64 features of a small classifier trained once on the
            labels of the data), or ``auto``: Inception when its weights are on this machine.
        seed: Of the noise that images are drawn from, the same for every trial.
    """

    title = "FID"
    is_learned = True

    samples: Annotated[int, Field(ge=2)] = 1000
    extractor: Literal["auto", "inception", "labels"] = "auto"
    seed: Annotated[int, Field(ge=0)] = 0

    def prepare(self, images: Images, cache: Cache) -> None:
        import torch

        from objectives import _features

        extractor = _features.extractor_for(self.extractor, images, cache)
        device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
        _features.reference_statistics(extractor, images, cache, device=device)

    def with_noise(self, seed: int) -> Fid:
        return replace(self, seed=seed)

    def measure(self, model: DiffusionModel, run: Run) -> Measurement:
        from objectives import _features, _frechet
        from trainers.models.sampling import draw_uint8

        _check_weights(model)
        extractor = _features.extractor_for(self.extractor, run.images, run.cache)
        reference = _features.reference_statistics(extractor, run.images, run.cache, device=run.device)
        drawn_NCHW = draw_uint8(model.to(run.device), count=self.samples, seed=self.seed)
        feature_NF = _features.features(extractor, drawn_NCHW, device=run.device)
        return Measurement(
            value=_frechet.frechet_distance(feature_NF, reference),
            stderr=_frechet.frechet_stderr(feature_NF, reference),
            samples=self.samples,
            by=extractor.get_name(),
        )


def _check_weights(model: DiffusionModel) -> None:
    """NaN becomes some grey value in a uint8 image and FID an ordinary number, so it must be caught before."""
    broken = [name for name, tensor in model.net.state_dict().items() if not tensor.isfinite().all()]
    if broken:
        raise FloatingPointError(f"training diverged: the weights of {broken[0]} are not finite")
