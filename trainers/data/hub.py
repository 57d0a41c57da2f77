"""Data sets of the Hugging Face hub, the two best known ones by short names."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field, PositiveInt

from trainers.data.dataset import DATA, Dataset, Images
from trainers.data.folder import Folder
from trainers.errors import UserError

#: The hub converts data sets of other formats to Parquet and keeps the result on this branch.
_CONVERTED = "refs/convert/parquet"


@DATA.register("hub")
@dataclass(frozen=True, kw_only=True)
class Hub(Dataset):
    """Any image data set of the Hugging Face hub, downloaded once.

    Args:
        id: Its name on the hub: ``owner/name``.
        path: A folder with its files, used in place of the download.
        subset: Folder within the data set, when it holds several.
        image_size: Every image is cropped to its middle square and resized to this; as they are when left out.
        channels: 1 for grey, 3 for colour; as they are when left out.
        limit: At most so many training images, chosen at random with a fixed seed.
        test_share: Share split off with a fixed seed as the test part, where the data set has none.
        image_column, label_column: When they cannot be guessed.
    """

    id: str
    path: str | None = None
    subset: str | None = None
    image_size: PositiveInt | None = None
    channels: Literal[1, 3] | None = None
    limit: PositiveInt | None = None
    test_share: Annotated[float, Field(gt=0, lt=1)] = 0.2
    image_column: str | None = None
    label_column: str | None = None

    def shape(self) -> tuple[int, int]:
        if self.image_size is not None and self.channels is not None:
            return self.image_size, self.channels
        return self._files().shape()

    def load(self) -> Images:
        from dataclasses import replace

        return replace(self._files().load(), name=self.id)

    def _files(self) -> Folder:
        folder = Path(self.path).expanduser() if self.path is not None else _fetched(self.id, self.subset)
        return Folder(
            path=str(folder / self.subset if self.subset is not None else folder),
            image_size=self.image_size,
            channels=self.channels,
            limit=self.limit,
            test_share=self.test_share,
            image_column=self.image_column,
            label_column=self.label_column,
        )


@DATA.register("mnist")
@dataclass(frozen=True, kw_only=True)
class Mnist(Dataset):
    """Handwritten digits, 28x28 grey, 60,000 to train and 10,000 to test (LeCun et al. 1998; ylecun/mnist on the hub).

    Args:
        path: A folder with its Parquet files, used in place of the download.
        limit: At most so many training images, chosen at random with a fixed seed.
    """

    path: str | None = None
    limit: PositiveInt | None = None

    def shape(self) -> tuple[int, int]:
        return 28, 1

    def load(self) -> Images:
        return _known("mnist", "ylecun/mnist", self.path, self.limit, shape=self.shape())


@DATA.register("cifar10")
@dataclass(frozen=True, kw_only=True)
class Cifar10(Dataset):
    """Small photographs of 10 kinds of things, 32x32 colour (Krizhevsky 2009; uoft-cs/cifar10 on the hub).

    50,000 to train and 10,000 to test.

    Args:
        path: A folder with its Parquet files, used in place of the download.
        limit: At most so many training images, chosen at random with a fixed seed.
    """

    path: str | None = None
    limit: PositiveInt | None = None

    def shape(self) -> tuple[int, int]:
        return 32, 3

    def load(self) -> Images:
        return _known("cifar10", "uoft-cs/cifar10", self.path, self.limit, shape=self.shape())


def _known(name: str, id: str, path: str | None, limit: int | None, *, shape: tuple[int, int]) -> Images:
    """A data set whose shape is known; named after the folder where one is used, because that may hold other files."""
    from dataclasses import replace

    folder = Folder(path=path if path is not None else str(_fetched(id, None)), limit=limit)
    images = folder.load()
    if (images.image_size, images.channels) != shape:
        raise UserError(
            f"{folder.path} holds images of {images.image_size}x{images.image_size}x{images.channels}, "
            f"but those of {name} are {shape[0]}x{shape[0]}x{shape[1]}. "
            f"Give a folder with {name}, or write data: {{name: folder, path: {folder.path}}}."
        )
    return images if path is not None else replace(images, name=name)


def _fetched(id: str, subset: str | None) -> Path:
    """The local folder with the Parquet files of a data set."""
    from trainers.download import downloaded

    # With its README.md, even a repository without Parquet files leaves a folder in the cache, to be found offline.
    patterns = ["README.md", "*.parquet" if subset is None else f"{subset}/*.parquet"]
    advice = (
        f"On a machine with network run `hf download {id} --repo-type dataset --local-dir FOLDER`, bring the folder "
        "here and write its place as `path: FOLDER` in the data; or use other data, such as `data: {name: digits}`."
    )

    for revision in (None, _CONVERTED):
        folder = downloaded(id, kind="dataset", patterns=patterns, advice=advice, revision=revision)
        if any(folder.glob(patterns[-1].replace("*.parquet", "**/*.parquet"))):
            return folder
    raise UserError(f"the hub's data set {id!r} has no Parquet files called {patterns[-1]}. {advice}")
