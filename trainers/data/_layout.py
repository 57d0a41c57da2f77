"""Which files of a folder belong to the training part and which to the test part."""

from __future__ import annotations

import re
import stat
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from trainers.data._tables import ENDINGS
from trainers.data._walk import walked
from trainers.errors import UserError
from trainers.foreign import file_inside, place_of

_PARTS = {
    "train": "train",
    "training": "train",
    "test": "test",
    "testing": "test",
    "validation": "validation",
    "valid": "validation",
    "val": "validation",
}
_IMAGE_ENDINGS = frozenset((".png", ".jpg", ".jpeg", ".webp", ".bmp", ".gif", ".tif", ".tiff", ".ppm", ".pgm"))


_NAMED = 10
"""Of several data sets, in a message."""


@dataclass(frozen=True)
class Layout:
    """Sorted files of both parts; an empty test part is to be split off the training part.

    Args:
        is_table: Parquet or Arrow files, or else image files.
        classes: Of image files: which class, by path; empty when they do not lie in sub-folders.
    """

    train: tuple[Path, ...]
    test: tuple[Path, ...]
    is_table: bool
    classes: Mapping[Path, str]


def layout_of(folder: Path) -> Layout:
    """What is in ``folder``: Parquet files if there are any, else Arrow files, else images.

    A validation part is the test part where there is no other, and is left alone otherwise. When there is only one
    part, whatever it is called, it is the training part.

    Raises:
        UserError: when the folder is missing, or holds neither, or holds several data sets.
    """
    if not place_of(folder).is_dir():
        found = "is a file, not a folder" if folder.is_file() else "does not exist"
        raise UserError(f"{folder} {found} (looked for {folder.absolute()}). Give a folder of images or Parquet files.")
    tables, images = _files(folder)
    if tables:
        return _table_layout(folder, tables)
    if images:
        return _image_layout(folder, images)
    raise UserError(
        f"{folder} holds neither Parquet files (train-*.parquet, test-*.parquet), nor Arrow files, nor images "
        f"({', '.join(sorted(_IMAGE_ENDINGS))}). Give a folder that does."
    )


def _files(folder: Path) -> tuple[list[Path], list[Path]]:
    tables: dict[str, list[Path]] = {ending: [] for ending in ENDINGS}
    images: list[Path] = []
    endings = (*ENDINGS, *_IMAGE_ENDINGS)
    for path in sorted(Path(entry) for entry in walked(folder) if entry.name.lower().endswith(endings)):
        # Beside a data set's own files, `datasets` keeps what was computed from them.
        is_table = path.suffix in tables and not path.name.startswith("cache-")
        if (is_table or path.suffix.lower() in _IMAGE_ENDINGS) and _is_file(folder, path):
            (tables[path.suffix] if is_table else images).append(path)
    return next((found for found in tables.values() if found), []), images


def _is_file(folder: Path, path: Path) -> bool:
    """Whether it can be read; a folder may be called like a file.

    Raises:
        UserError: when it is neither: a pipe would be waited for, and a link could lead to what is private.
    """
    mode = path.lstat().st_mode
    # Most are: of a million files, each is looked at once.
    if stat.S_ISREG(mode) or stat.S_ISDIR(mode):
        return stat.S_ISREG(mode)
    if not stat.S_ISLNK(mode) or file_inside(folder, path.relative_to(folder)) is None:
        raise UserError(f"{path} is no regular file. Take it away, or put an image or table in its place.")
    return True


def _table_layout(folder: Path, files: Sequence[Path]) -> Layout:
    parts: defaultdict[str, list[Path]] = defaultdict(list)
    homes = set()
    for file in files:
        home = file.parent.relative_to(folder)
        # The hub's own conversions are called <subset>/<part>/0000.parquet, or <subset>/partial-<part>/0000.parquet.
        folder_part = _PARTS.get(home.name.removeprefix("partial-"))
        parts[folder_part or _PARTS.get(re.split(r"[^a-z]", file.stem)[0], "other")].append(file)
        homes.add(home.parent if folder_part else home)
    if len(homes) > 1:
        named = sorted(str(home) for home in homes)[:_NAMED]
        more = len(homes) - len(named)
        raise UserError(
            f"{folder} holds several data sets: {', '.join(named)}{f' and {more} more' if more else ''}. "
            "Name one: as the path of a folder, or as the subset of a hub data set."
        )
    train, test = _two_parts(parts)
    return Layout(train=train, test=test, is_table=True, classes={})


def _image_layout(folder: Path, files: Sequence[Path]) -> Layout:
    tops = {file.relative_to(folder).parts[0] for file in files}
    # A folder of vehicles may well have a class called "train": parts are parts only when there is nothing else.
    has_parts = all(top in _PARTS and (folder / top).is_dir() for top in tops)
    parts: defaultdict[str, list[Path]] = defaultdict(list)
    classes = {}
    for file in files:
        within = file.relative_to(folder).parts
        parts[_PARTS[within[0]] if has_parts else "train"].append(file)
        inner = within[1:] if has_parts else within
        if len(inner) > 1:
            classes[file] = inner[0]
    train, test = _two_parts(parts)
    beside = [file for file in (*train, *test) if file not in classes]
    if classes and beside:
        raise UserError(
            f"{beside[0]} lies beside the class folders, as do {len(beside) - 1} more images. "
            "Move every image into the folder of its class, or all of them out of such folders."
        )
    return Layout(train=train, test=test, is_table=False, classes=classes)


def _two_parts(parts: Mapping[str, list[Path]]) -> tuple[tuple[Path, ...], tuple[Path, ...]]:
    # Files that no part claims are the training part, unless there is one: SVHN has "extra" beside "train".
    train = parts.get("train") or parts.get("other") or []
    test = parts.get("test") or parts.get("validation") or []
    return (tuple(train), tuple(test)) if train else (tuple(test), ())
