"""Two kinds of places of LSUN (Yu et al. 2015), both without labels.

Decoded they take 25 and 60 GB, so most machines need a ``limit``, and say so.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from trainers.bounds import Count, Side
from trainers.data.dataset import DATA, Dataset, Images


@dataclass(frozen=True, kw_only=True)
class _Lsun(Dataset):
    """The hub's data set ``hub_id``, 256x256 colour.

    Args:
        path: A folder with its Parquet files, used in place of the download.
        limit: At most so many training images and so many test images, each chosen at random with a fixed seed; 10,000
            take 2 GB of memory.
        image_size: The middle square is resized to this.
    """

    hub_id: ClassVar[str]

    path: str | None = None
    limit: Count | None = None
    image_size: Side = 256

    def shape(self) -> tuple[int, int]:
        return self.image_size, 3

    def bytes_here(self) -> int | None:
        from trainers.data._folder_size import bytes_in

        return bytes_in(self.path)

    def load(self) -> Images:
        from trainers.data._decoding import Fit
        from trainers.data._hub_files import known_images
        from trainers.data._read import Reading

        reading = Reading(fit=Fit(image_size=self.image_size, channels=3), limit=self.limit)
        return known_images(DATA.name_of(self), self.hub_id, self.path, reading)


@DATA.register("lsun_church")
@dataclass(frozen=True, kw_only=True)
class LsunChurch(_Lsun):
    """Churches from outside, 256x256 colour, no labels, about 126,000 (tglcourse/lsun_church_train on the hub)."""

    hub_id = "tglcourse/lsun_church_train"


@DATA.register("lsun_bedroom")
@dataclass(frozen=True, kw_only=True)
class LsunBedroom(_Lsun):
    """Bedrooms, 256x256 colour, no labels, the 303,125 of the usual 20 % sample (pcuenq/lsun-bedrooms on the hub)."""

    hub_id = "pcuenq/lsun-bedrooms"
