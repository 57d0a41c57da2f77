"""MNIST."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

from pydantic import Field, PositiveInt

from trainers.data.dataset import DATA, Dataset, Images

_SIZE, _CHANNELS = 28, 1


@DATA.register("mnist")
@dataclass(frozen=True, kw_only=True)
class Mnist(Dataset):
    """Handwritten digits, 28x28 grey, 60,000 to train and 10,000 to test (LeCun et al. 1998; ylecun/mnist on the hub).

    Args:
        path: A folder with its Parquet files, used in place of the download.
        limit: At most so many training images and so many test images, each chosen at random with a fixed seed.
        image_size: They are resized to this; 28 when left out.
        crop: Side of a square that is cut out of the middle first; all 28 pixels when left out.
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
        return known_images("mnist", "ylecun/mnist", self.path, reading, stored=(_SIZE, _SIZE, _CHANNELS))
