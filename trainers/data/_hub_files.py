"""The files of a data set of the Hugging Face hub, and the images of those that have a short name."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from trainers.data._read import Reading, images_in, stored_shape_in
from trainers.data.dataset import Images
from trainers.download import downloaded
from trainers.errors import UserError
from trainers.foreign import place_of

#: The hub converts data sets of other formats to Parquet and keeps the result on this branch.
_CONVERTED = "refs/convert/parquet"


def fetched(id: str, subset: str | None) -> Path:
    """The local folder with the Parquet files of a data set.

    Raises:
        UserError: when they cannot be had; the message says what to fetch and where to put it.
    """
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


def known_images(
    name: str, id: str, path: str | None, reading: Reading, *, stored: tuple[int, int, int] | None = None
) -> Images:
    """A data set with a short name; named after the folder where one is used, because that may hold other files.

    Args:
        stored: (width, height, channels) that its images have; None where they differ.
    """
    folder = place_of(path) if path is not None else fetched(id, None)
    if stored is not None:
        _check_stored(folder, name, stored)
    images = images_in(folder, reading, name=folder.resolve().name)
    return images if path is not None else replace(images, name=name)


def _check_stored(folder: Path, name: str, expected: tuple[int, int, int]) -> None:
    found = stored_shape_in(folder)
    if found != expected:
        raise UserError(
            f"{folder} holds images of {_text(found)}, but those of {name} are {_text(expected)}. "
            f"Give a folder with {name}, or write data: {{name: folder, path: {folder}}}."
        )


def _text(shape: tuple[int, int, int]) -> str:
    return "x".join(str(part) for part in shape)
