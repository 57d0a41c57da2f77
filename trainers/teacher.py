"""The teacher: the model that every trial starts from, trained once or loaded, and cached by what it depends on."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from pydantic import ConfigDict, Field, PositiveInt

from trainers.errors import UserError
from trainers.models.network import NETWORKS, Network

if TYPE_CHECKING:
    import torch

    from trainers.cache import Cache
    from trainers.data.dataset import Images
    from trainers.models.arch_spec import ArchSpec
    from trainers.models.diffusion_model import DiffusionModel
    from trainers.run import Progress


@dataclass(frozen=True, kw_only=True)
class Teacher:
    """What the teacher is: a network to train here, or a published model to load.

    Args:
        network: Architecture to train from scratch on the data; leave it out with ``from``.
        source: Written ``from`` in YAML: a diffusers hub id, a diffusers folder, or a Slimfront model folder.
        images: Images seen in training.
        batch: Images per training step.
        learning_rate: Of AdamW, after a linear warm-up, decaying to zero as a cosine.
        sampling_steps: Denoising steps when the teacher draws; its latency and its FID refer to them.
        seed: Of its first weights, batches and noise.
    """

    __pydantic_config__ = ConfigDict(extra="forbid")

    network: Annotated[Network, NETWORKS] | None = None
    source: Annotated[str | None, Field(alias="from")] = None
    images: PositiveInt = 400_000
    batch: PositiveInt = 128
    learning_rate: Annotated[float, Field(gt=0)] = 1e-3
    sampling_steps: Annotated[int, Field(ge=1, le=1000)] = 32
    seed: int = 0

    def planned_spec(self, *, image_size: int, image_channels: int) -> ArchSpec:
        """The architecture, before anything is trained or its weights are loaded.

        Raises:
            UserError: when the options contradict each other or the data.
        """
        from trainers.models.tracing import spec_of

        if self.network is None:
            from trainers.models.published import published_spec

            assert self.source is not None
            return published_spec(self.source, sampling_steps=self.sampling_steps)
        network = self.network.for_data(image_size=image_size, image_channels=image_channels)
        mistakes = network.mistakes()
        if mistakes:
            raise UserError("\n".join(f"teacher.network: {mistake}" for mistake in mistakes))
        return spec_of(network, sampling_steps=self.sampling_steps)

    def obtain(
        self, images: Images, *, cache: Cache, device: torch.device, on_progress: Callable[[Progress], None]
    ) -> DiffusionModel:
        """The trained teacher on ``device``: loaded, taken from the cache, or trained now and put there.

        Args:
            images: At the network's size.
            on_progress: Called about once a second while it trains.
        """
        from trainers.models import files

        if self.source is not None:
            from trainers.models.published import load_published

            return load_published(self.source, sampling_steps=self.sampling_steps).to(device)
        path = self.cache_path(images, cache)
        if path.is_file():
            try:
                model = files.load(path, device=device)
                return replace(model, spec=model.spec.with_sampling_steps(self.sampling_steps))
            except UserError:
                # A damaged file; the teacher is trained again and takes its place.
                path.unlink(missing_ok=True)
        model = self._trained(images, cache=cache, device=device, on_progress=on_progress)
        files.save(model, path)
        return model

    def is_cached(self, images: Images, cache: Cache) -> bool:
        """Whether ``obtain`` has nothing to train."""
        return self.source is not None or self.cache_path(images, cache).is_file()

    def cache_path(self, images: Images, cache: Cache) -> Path:
        """Where the trained teacher is kept: named by everything its weights depend on."""
        assert self.network is not None
        network = self.network.for_data(image_size=images.image_size, image_channels=images.channels)
        key = {
            "network": repr(network),
            "images": self.images,
            "batch": self.batch,
            "learning_rate": self.learning_rate,
            "seed": self.seed,
            "data": images.hash,
        }
        return cache.path("teacher", key)

    def _trained(
        self, images: Images, *, cache: Cache, device: torch.device, on_progress: Callable[[Progress], None]
    ) -> DiffusionModel:
        import torch

        from trainers.distillation.train import Train
        from trainers.models.diffusion_model import DiffusionModel
        from trainers.recipe import Recipe
        from trainers.run import Run

        spec = self.planned_spec(image_size=images.image_size, image_channels=images.channels)
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(self.seed)
            net = spec.network.build().to(device)
        untrained = DiffusionModel(net=net, spec=spec)
        run = Run(
            seed=self.seed,
            device=device,
            images=images,
            teacher=untrained,
            cache=cache,
            budget_images=self.images,
            until_images=self.images,
            on_progress=on_progress,
        )
        # The average over the last hundreds of steps draws better than the last weights (Ho et al. 2020, appendix B).
        stage = Train(batch=self.batch, learning_rate=self.learning_rate, ema=0.995)
        return replace(Recipe((stage,)).run(run), log=(), notes=())
