"""Published data sets of small square images that all have one size."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from trainers.bounds import Count, Side
from trainers.data.dataset import DATA, Dataset, Images


@dataclass(frozen=True, kw_only=True)
class SquareImages(Dataset):
    """The hub's data set ``hub_id``, whose images have ``side`` x ``side`` pixels.

    Args:
        path: A folder with its Parquet files, used in place of the download.
        limit: At most so many training images and so many test images, each chosen at random with a fixed seed.
        image_size: They are resized to this; as they are when left out.
        crop: Side of a square that is cut out of the middle first; all pixels when left out.
    """

    hub_id: ClassVar[str]
    side: ClassVar[int]
    channels: ClassVar[int]

    path: str | None = None
    limit: Count | None = None
    image_size: Side | None = None
    crop: Side | None = None

    def shape(self) -> tuple[int, int]:
        return self.image_size or self.crop or self.side, self.channels

    def bytes_here(self) -> int | None:
        from trainers.data._folder_size import bytes_in

        return bytes_in(self.path)

    def load(self) -> Images:
        from trainers.data._decoding import Fit
        from trainers.data._hub_files import known_images
        from trainers.data._read import Reading

        reading = Reading(fit=Fit(image_size=self.image_size, crop=self.crop), limit=self.limit)
        stored = (self.side, self.side, self.channels)
        return known_images(DATA.name_of(self), self.hub_id, self.path, reading, stored=stored)
