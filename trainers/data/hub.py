"""Any image data set of the Hugging Face hub."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Literal

from pydantic import Field

from trainers.bounds import Count, Side
from trainers.data.dataset import DATA, Dataset, Images
from trainers.data.folder import Folder
from trainers.foreign import place_of


@DATA.register("hub")
@dataclass(frozen=True, kw_only=True)
class Hub(Dataset):
    """Any image data set of the Hugging Face hub, downloaded once.

    Args:
        id: Its name on the hub: ``owner/name``.
        path: A folder with its files, used in place of the download.
        subset: Folder within the data set, when it holds several.
        image_size: Every image is cropped to a square and resized to this; as they are when left out.
        crop: Side of that square, cut out of the middle; as large as fits when left out.
        channels: 1 for grey, 3 for colour; as they are when left out.
        limit: At most so many training images and so many test images, each chosen at random with a fixed seed.
        test_share: Share split off with a fixed seed as the test part, where the data set has none.
        image_column, label_column: When they cannot be guessed.
    """

    id: str
    path: str | None = None
    subset: str | None = None
    image_size: Side | None = None
    crop: Side | None = None
    channels: Literal[1, 3] | None = None
    limit: Count | None = None
    test_share: Annotated[float, Field(gt=0, lt=1)] = 0.2
    image_column: str | None = None
    label_column: str | None = None

    def shape(self) -> tuple[int, int]:
        if self.image_size is not None and self.channels is not None:
            return self.image_size, self.channels
        return self._files().shape()

    def bytes_here(self) -> int | None:
        from trainers.data._folder_size import bytes_in

        return bytes_in(self.path)

    def load(self) -> Images:
        from dataclasses import replace

        return replace(self._files().load(), name=self.id)

    def _files(self) -> Folder:
        from trainers.data._hub_files import fetched

        folder = place_of(self.path) if self.path is not None else fetched(self.id, self.subset)
        return Folder(
            path=str(folder / self.subset if self.subset is not None else folder),
            image_size=self.image_size,
            crop=self.crop,
            channels=self.channels,
            limit=self.limit,
            test_share=self.test_share,
            image_column=self.image_column,
            label_column=self.label_column,
        )
