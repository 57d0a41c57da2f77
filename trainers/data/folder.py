"""The user's own images: a folder of Parquet or Arrow files, or of image files in sub-folders by class."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

from pydantic import Field

from trainers.bounds import Count, Side
from trainers.data.dataset import DATA, Dataset, Images
from trainers.foreign import place_of

if TYPE_CHECKING:
    from trainers.data._read import Reading


@DATA.register("folder")
@dataclass(frozen=True, kw_only=True)
class Folder(Dataset):
    """A folder of Parquet files (train-*, test-*), or of images in sub-folders by class (in train/ and test/, or not).

    A folder that ``save_to_disk`` of the ``datasets`` library wrote will do, too.

    Args:
        path: The folder; a relative one is looked for from the current directory.
        image_size: Every image is cropped to a square and resized to this; as they are when left out.
        crop: Side of that square, cut out of the middle; as large as fits when left out.
        channels: 1 for grey, 3 for colour; as they are when left out.
        limit: At most so many training images and so many test images, each chosen at random with a fixed seed.
        test_share: Share split off with a fixed seed as the test part, where the folder has none.
        image_column, label_column: Of Parquet and Arrow files, when they cannot be guessed.
    """

    path: str
    image_size: Side | None = None
    crop: Side | None = None
    channels: Literal[1, 3] | None = None
    limit: Count | None = None
    test_share: Annotated[float, Field(gt=0, lt=1)] = 0.2
    image_column: str | None = None
    label_column: str | None = None

    def shape(self) -> tuple[int, int]:
        from trainers.data._read import shape_in

        return shape_in(self._folder, self._reading())

    def bytes_here(self) -> int | None:
        from trainers.data._folder_size import bytes_in

        return bytes_in(self.path)

    def load(self) -> Images:
        from trainers.data._read import images_in

        return images_in(self._folder, self._reading(), name=self._folder.resolve().name)

    @property
    def _folder(self) -> Path:
        return place_of(self.path)

    def _reading(self) -> Reading:
        from trainers.data._decoding import Fit
        from trainers.data._read import Reading
        from trainers.data._tables import Columns

        return Reading(
            fit=Fit(image_size=self.image_size, channels=self.channels, crop=self.crop),
            columns=Columns(self.image_column, self.label_column),
            limit=self.limit,
            test_share=self.test_share,
        )
