"""The latents of another data set, for latent diffusion (Rombach et al. 2022)."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Annotated, Literal

from pydantic import ConfigDict, Field

from trainers.bounds import Count
from trainers.data.dataset import DATA, Dataset, Images, Latents
from trainers.errors import UserError
from trainers.foreign import place_of

if TYPE_CHECKING:
    from trainers.cache import Cache
    from trainers.models.autoencoder import Autoencoder


DECODER = "decoder"
"""In the folder of an exported or a finished model: where its autoencoder lies."""


@dataclass(frozen=True, kw_only=True)
class SmallAutoencoder:
    """An autoencoder that is trained on the data.

    Args:
        channels: Of the latents.
        downsample: How many times smaller than an image its latent is, in height and width.
        width: Channels of the first level; each further one has twice as many.
        images: Images seen in training.
    """

    __pydantic_config__ = ConfigDict(extra="forbid")

    channels: Annotated[int, Field(ge=1, le=1024)] = 4
    downsample: Literal[2, 4, 8, 16] = 2
    width: Annotated[int, Field(ge=1, le=1024)] = 16
    images: Count = 100_000


@DATA.register("latent")
@dataclass(frozen=True, kw_only=True)
class Latent(Dataset):
    """Another data set as an autoencoder's latents: a diffusion model sees these, and its pictures are decoded.

    Args:
        of: The data set.
        autoencoder: A diffusers folder or hub id with an AutoencoderKL or VQModel, such as CompVis/ldm-celebahq-256;
            the folder of an exported or a finished model of latents; or the options of a small one that is trained on
            the data.
    """

    has_latents = True

    of: Annotated[Dataset, DATA]
    autoencoder: str | SmallAutoencoder = field(default_factory=SmallAutoencoder)

    def __post_init__(self) -> None:
        if isinstance(self.of, Latent):
            raise ValueError("latents of latents are not supported. Write a data set of images under 'of'")

    def shape(self) -> tuple[int, int]:
        size, image_channels = self.of.shape()
        if isinstance(self.autoencoder, SmallAutoencoder):
            self._check_size(size, self.autoencoder.downsample)
            return size // self.autoencoder.downsample, self.autoencoder.channels
        from trainers.models.autoencoder import published_plan

        plan = published_plan(self.autoencoder)
        self._check_channels(image_channels, plan)
        self._check_size(size, plan.factor)
        return size // plan.factor, plan.channels

    def bytes_here(self) -> int | None:
        # A small autoencoder would have to be trained first, and a published one is perhaps to be fetched.
        is_made = not isinstance(self.autoencoder, SmallAutoencoder) and place_of(self.autoencoder).is_dir()
        return self.of.bytes_here() if is_made else None

    def load(self) -> Images:
        """The images with their latents; these, and the weights of a small autoencoder, are made once and cached."""
        import torch

        from trainers.cache import Cache
        from trainers.models.autoencoder import latents_of

        cache, images = Cache.default(), self.of.load()
        autoencoder = self._autoencoder(images, cache)
        device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
        key = {"data": images.hash, "autoencoder": autoencoder.fingerprint}
        latent = cache.tensors(
            "latents",
            key,
            lambda: {
                "train": latents_of(images.train_NCHW, autoencoder, device=device),
                "test": latents_of(images.test_NCHW, autoencoder, device=device),
            },
        )
        # The name stays: what is measured are pixels, compared with those of the same images.
        return replace(
            images,
            hash=hashlib.sha256(f"{images.hash} {autoencoder.fingerprint}".encode()).hexdigest()[:16],
            latents=Latents(latent["train"], latent["test"], autoencoder),
        )

    def _autoencoder(self, images: Images, cache: Cache) -> Autoencoder:
        if isinstance(self.autoencoder, SmallAutoencoder):
            from trainers.models.autoencoder_training import trained_autoencoder

            self._check_size(images.image_size, self.autoencoder.downsample)
            return trained_autoencoder(
                images,
                cache,
                channels=self.autoencoder.channels,
                factor=self.autoencoder.downsample,
                width=self.autoencoder.width,
                images_seen=self.autoencoder.images,
            )
        from trainers.models.autoencoder import published

        autoencoder = published(self.autoencoder)
        self._check_channels(images.channels, autoencoder)
        self._check_size(images.image_size, autoencoder.factor)
        return autoencoder

    def _check_channels(self, image_channels: int, autoencoder: Autoencoder) -> None:
        if image_channels != autoencoder.image_channels:
            raise UserError(
                f"data.latent: {self.autoencoder} takes images of {autoencoder.image_channels} channels, but those of "
                f"{DATA.name_of(self.of)} have {image_channels}. Choose another autoencoder, or read the images with "
                f"{{name: folder, channels: {autoencoder.image_channels}}}."
            )

    def _check_size(self, image_size: int, factor: int) -> None:
        if image_size % factor:
            raise UserError(
                f"data.latent: images of {image_size}x{image_size} cannot be made {factor} times smaller. "
                f"Write image_size: {max(1, image_size // factor) * factor} in the data, or choose another autoencoder."
            )
