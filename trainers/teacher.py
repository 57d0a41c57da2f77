"""The teacher: the model that every trial starts from, trained once or loaded, and cached by what it depends on."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, fields, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

from pydantic import ConfigDict, Field

from trainers.bounds import BatchSize, Count, Seed
from trainers.errors import UserError
from trainers.models.diffusion import Diffusion, Weighting
from trainers.models.network import NETWORKS, Network
from trainers.models.samplers.ddim import Ddim
from trainers.models.samplers.sampler import SAMPLERS, Sampler

if TYPE_CHECKING:
    import torch

    from trainers.cache import Cache
    from trainers.data.dataset import Dataset, Images
    from trainers.models.arch_spec import ArchSpec
    from trainers.models.diffusion_model import DiffusionModel
    from trainers.run import Progress

#: Options that only a network trained here has.
_OF_TRAINING = ("images", "batch", "learning_rate", "ema", "diffusion", "error_weight", "label_dropout", "precision")


@dataclass(frozen=True, kw_only=True)
class Teacher:
    """What the teacher is: a network to train here, or a published model to load.

    Args:
        network: Architecture to train from scratch on the data; leave it out with ``from``.
        source: Written ``from`` in YAML: a diffusers hub id, a diffusers folder, or a Slimfront model folder.
        images: Images seen in training.
        batch: Images per training step.
        learning_rate: Of AdamW, after a linear warm-up, decaying to zero as a cosine.
        ema: Decay of the average of the weights, which draws better than the last ones (Ho et al. 2020, appendix B).
        diffusion: Schedule and prediction of a network that is trained here.
        error_weight, label_dropout, precision: Of its training, as of the stage ``train``.
        sampling_steps: Steps when the teacher draws; its latency and its FID refer to them.
        sampler: How it draws, and its students where their recipe does not say. Left out: DDIM, or with ``from`` as the
            model was saved.
        guidance: Of a class-conditional network trained with label dropout; 1 is none. Left out: as it was saved, or 1.
        seed: Of its first weights, batches and noise.
    """

    __pydantic_config__ = ConfigDict(extra="forbid")

    network: Annotated[Network, NETWORKS] | None = None
    source: Annotated[str | None, Field(alias="from")] = None
    images: Count = 400_000
    batch: BatchSize = 128
    learning_rate: Annotated[float, Field(gt=0)] = 1e-3
    ema: Annotated[float, Field(ge=0, lt=1)] = 0.995
    diffusion: Diffusion = field(default_factory=Diffusion)
    error_weight: Weighting = "plain"
    label_dropout: Annotated[float, Field(ge=0, lt=1)] = 0.0
    precision: Literal["fp32", "bf16", "fp16"] = "fp32"
    sampling_steps: Annotated[int, Field(ge=1, le=1000)] = 32
    sampler: Annotated[Sampler, SAMPLERS] | None = None
    guidance: Annotated[float, Field(ge=0)] | None = None
    seed: Seed = 0

    def planned_spec(self, *, image_size: int, image_channels: int) -> ArchSpec:
        """The architecture, before anything is trained or its weights are loaded.

        Raises:
            UserError: when the options contradict each other or the data.
        """
        from trainers.models.tracing import spec_of

        if self.network is None:
            from trainers.models.published import published_spec

            assert self.source is not None
            return self._drawn(published_spec(self.source, sampling_steps=self.sampling_steps))
        network = self.network.for_data(image_size=image_size, image_channels=image_channels)
        mistakes = network.mistakes()
        if mistakes:
            raise UserError("\n".join(f"teacher.network: {mistake}" for mistake in mistakes))
        spec = spec_of(network, sampling_steps=self.sampling_steps, diffusion=self.diffusion)
        if self.label_dropout and network.unlabelled is None:
            raise UserError(
                f"teacher.label_dropout: {self.label_dropout} needs a network that also answers without labels. "
                "Use guided_unet with classes, or leave label_dropout out."
            )
        drawn = self._drawn(spec)
        if drawn.guidance != 1 and not self.label_dropout:
            raise UserError(
                f"teacher.guidance: {drawn.guidance:g} leads away from answers without labels, which nothing teaches "
                "with label_dropout 0. Write `label_dropout: 0.1`, or leave guidance out."
            )
        return drawn

    def planned_for(self, data: Dataset) -> ArchSpec:
        """The architecture for this data, before anything is trained or loaded.

        Raises:
            UserError: when the options contradict each other or the data.
        """
        network = self.network
        if network is not None and network.image_size and network.image_channels:
            size, channels = network.image_size, network.image_channels
        else:
            size, channels = data.shape()
        if self.source is not None and (idle := [name for name in _OF_TRAINING if self._is_set(name)]):
            raise UserError(
                f"teacher.{idle[0]}: has no effect with 'from', where nothing is trained. Leave out {', '.join(idle)}."
            )
        spec = self.planned_spec(image_size=size, image_channels=channels)
        if data.has_latents and spec.diffusion.is_clipped:
            raise UserError(
                "teacher.diffusion: is_clipped is true, which holds drawn values between -1 and 1, but latents go "
                "beyond. Write `diffusion: {is_clipped: false}`."
            )
        if not data.has_latents and not spec.diffusion.is_clipped and self.source is not None:
            raise UserError(
                f"teacher.from: {self.source} works on latents, but this data is of pixels. Write "
                f"`data: {{latent: {{of: <the data>, autoencoder: {self.source}}}}}`."
            )
        return spec

    def obtain(
        self, images: Images, *, cache: Cache, device: torch.device, on_progress: Callable[[Progress], None]
    ) -> DiffusionModel:
        """The trained teacher on ``device``: loaded, taken from the cache, or trained now and put there.

        Args:
            images: At the network's size.
            on_progress: Called about once a second while it trains; an interrupted training goes on where it was.
        """
        from trainers.models import files
        from trainers.teacher_training import forget_training

        if self.source is not None:
            from trainers.models.published import load_published

            model = load_published(self.source, sampling_steps=self.sampling_steps).to(device)
            return replace(model, spec=self._drawn(model.spec))
        path = self.cache_path(images, cache)
        kept = self._kept(path, device)
        if kept is not None:
            return kept
        model = self._trained(images, cache=cache, device=device, on_progress=on_progress)
        # Another process may have trained it too by now, and on a GPU not to the same bits: the first one counts.
        kept = self._kept(path, device)
        if kept is None:
            files.save(model, path)
        forget_training(path)
        return kept or model

    def _kept(self, path: Path, device: torch.device) -> DiffusionModel | None:
        from trainers.models import files

        if not path.is_file():
            return None
        try:
            model = files.load(path, device=device)
        except UserError:
            # A damaged file; the teacher is trained again and takes its place.
            path.unlink(missing_ok=True)
            return None
        return replace(model, spec=self._drawn(model.spec))

    def is_cached(self, images: Images, cache: Cache) -> bool:
        """Whether ``obtain`` has nothing to train."""
        return self.source is not None or self.cache_path(images, cache).is_file()

    def cache_path(self, images: Images, cache: Cache) -> Path:
        """Where the trained teacher is kept: named by everything its weights depend on."""
        assert self.network is not None
        network = self.network.for_data(image_size=images.input_size, image_channels=images.input_channels)
        key = {"network": repr(network), "data": images.hash}
        drawing = ("network", "source", "sampling_steps", "sampler", "guidance")
        key |= {option.name: getattr(self, option.name) for option in fields(self) if option.name not in drawing}
        return cache.path("teacher", key)

    def _is_set(self, option: str) -> bool:
        standard = Teacher()
        return bool(getattr(self, option) != getattr(standard, option))

    def _drawn(self, spec: ArchSpec) -> ArchSpec:
        """The spec with this sampler, steps and guidance.

        Raises:
            UserError: when images cannot be drawn in this way.
        """
        if self.source is None:
            # A cached teacher was saved by whoever trained it, perhaps with another sampler.
            spec = replace(spec, sampler=Ddim(), guidance=1.0)
        drawn = replace(
            spec,
            sampling_steps=self.sampling_steps,
            sampler=spec.sampler if self.sampler is None else self.sampler,
            guidance=spec.guidance if self.guidance is None else self.guidance,
        )
        if mistakes := drawn.drawing_mistakes():
            raise UserError("\n".join(f"teacher.{mistake}" for mistake in mistakes))
        return drawn

    def _trained(
        self, images: Images, *, cache: Cache, device: torch.device, on_progress: Callable[[Progress], None]
    ) -> DiffusionModel:
        from trainers.distillation.train import Train
        from trainers.models.fresh import fresh
        from trainers.run import Run
        from trainers.teacher_training import trained_teacher

        spec = self.planned_spec(image_size=images.input_size, image_channels=images.input_channels)
        run = Run(
            seed=self.seed,
            device=device,
            images=images,
            teacher=fresh(spec, seed=self.seed, device=device),
            cache=cache,
            budget_images=self.images,
            until_images=self.images,
            on_progress=on_progress,
        )
        stage = Train(
            batch=self.batch,
            learning_rate=self.learning_rate,
            ema=self.ema,
            error_weight=self.error_weight,
            label_dropout=self.label_dropout,
            precision=self.precision,
        )
        model = trained_teacher(stage, run, beside=self.cache_path(images, cache))
        return replace(model, log=(), notes=())
