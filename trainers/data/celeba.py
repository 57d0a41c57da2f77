"""CelebA."""

from __future__ import annotations

from dataclasses import dataclass

from trainers.bounds import Count, Side
from trainers.data.dataset import DATA, Dataset, Images

_ID = "flwrlabs/celeba"
#: As the authors of DDIM cut the aligned photographs (Song et al. 2021, their code), and Diff-Pruning after them:
#: 128x128 pixels around the face. Others take 140x140 or 178x178; figures then differ.
_STORED = (178, 218, 3)
_CROP, _CENTRE = 128, (89, 121)


@DATA.register("celeba")
@dataclass(frozen=True, kw_only=True)
class Celeba(Dataset):
    """Faces of celebrities, 64x64 colour, no labels, 162,770 to train and 19,962 to test (Liu et al. 2015).

    flwrlabs/celeba on the hub. Of each aligned photograph the 128x128 pixels around the face are resized, as for DDIM.

    Args:
        path: A folder with its Parquet files, or with the aligned photographs, used in place of the download.
        limit: At most so many training images and so many test images, each chosen at random with a fixed seed.
        image_size: What the square around the face is resized to.
    """

    path: str | None = None
    limit: Count | None = None
    image_size: Side = 64

    def shape(self) -> tuple[int, int]:
        return self.image_size, 3

    def bytes_here(self) -> int | None:
        from trainers.data._folder_size import bytes_in

        return bytes_in(self.path)

    def load(self) -> Images:
        from trainers.data._decoding import Fit
        from trainers.data._hub_files import known_images
        from trainers.data._read import Reading

        fit = Fit(image_size=self.image_size, channels=3, crop=_CROP, centre=_CENTRE)
        return known_images("celeba", _ID, self.path, Reading(fit=fit, limit=self.limit), stored=_STORED)
