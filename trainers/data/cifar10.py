"""CIFAR-10."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

from pydantic import Field, PositiveInt

from trainers.data.dataset import DATA, Dataset, Images

_SIZE, _CHANNELS = 32, 3


@DATA.register("cifar10")
@dataclass(frozen=True, kw_only=True)
class Cifar10(Dataset):
    """Small photographs of 10 kinds of things, 32x32 colour (Krizhevsky 2009; uoft-cs/cifar10 on the hub).

    50,000 to train and 10,000 to test.

    Args:
        path: A folder with its Parquet files, used in place of the download.
        limit: At most so many training images and so many test images, each chosen at random with a fixed seed.
        image_size: They are resized to this; 32 when left out.
        crop: Side of a square that is cut out of the middle first; all 32 pixels when left out.
    """

    path: str | None = None
    limit: PositiveInt | None = None
    image_size: PositiveInt | None = None
    crop: Annotated[int, Field(ge=1, le=_SIZE)] | None = None

    def shape(self) -> tuple[int, int]:
        return self.image_size or self.crop or _SIZE, _CHANNELS

    def load(self) -> Images:
        from trainers.data._decoding import Fit
        from trainers.data._hub_files import known_images
        from trainers.data._read import Reading

        reading = Reading(fit=Fit(image_size=self.image_size, crop=self.crop), limit=self.limit)
        return known_images("cifar10", "uoft-cs/cifar10", self.path, reading, stored=(_SIZE, _SIZE, _CHANNELS))
