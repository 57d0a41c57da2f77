"""Files of a folder that may come from a stranger: regular ones inside that folder, and no larger than is sensible.

A link that leads elsewhere would have a private file copied into what is shipped, or a file overwritten; a pipe or a
device would be waited for without end.
"""

from __future__ import annotations

import json
import os
import stat
import sys
from pathlib import Path
from typing import Any

from trainers.errors import UserError
from trainers.visible import all_visible, visible

MOST_JSON_BYTES = 64 * 2**20
LONGEST_REASON = 400
"""Characters of what a library says of such a file: some quote half of it."""
_LONGEST_SHOWN = 100
_REPOSITORIES = ("models--", "datasets--")


def place_of(written: str | Path) -> Path:
    """The path that somebody wrote, ``~`` being a home; what is there can be asked of it without a fault.

    Raises:
        UserError: when nothing can be there, or be seen there: a name too long, no such user, a folder that is closed.
    """
    try:
        place = Path(written).expanduser()
        # Of a path that cannot be one, this raises what every other question would.
        place.exists()
    except (OSError, RuntimeError) as error:
        shown = str(written) if len(str(written)) <= _LONGEST_SHOWN else f"{str(written)[:_LONGEST_SHOWN]}..."
        reason = (error.strerror if isinstance(error, OSError) else str(error).rstrip(".")) or type(error).__name__
        raise UserError(f"{shown} cannot be looked for: {reason}. Give a path that can be read.") from None
    return place


def file_inside(folder: Path, name: str | Path) -> Path | None:
    """The regular file ``name`` of ``folder``, which may be a path within it; None when it is not there.

    Raises:
        UserError: when it is outside the folder, by its path or by a link.
    """
    place = folder / name
    try:
        home, found = folder.resolve(), place.resolve()
        is_file = found.is_file()
    except (OSError, ValueError, RuntimeError):  # a name too long or with a NUL; links in a circle
        return None
    if not found.is_relative_to(home) and not found.is_relative_to(_shared(home)):
        raise UserError(
            f"{place} leads out of {folder}, to {found}; only files inside a folder are read. "
            "Copy the file there in place of the link."
        )
    return place if is_file else None


def bytes_inside(folder: Path, name: str | Path, *, most: int = MOST_JSON_BYTES) -> bytes | None:
    """The content of a file as ``file_inside`` finds it; None when it is not there.

    Raises:
        UserError: when it leads out of the folder, cannot be read, or is larger than ``most`` bytes.
    """
    place = file_inside(folder, name)
    if place is None:
        return None
    try:
        with place.open("rb") as file:
            content = file.read(most + 1)
    except OSError as error:
        raise UserError(f"{place} cannot be read: {error.strerror}. Make it readable, or take it away.") from None
    if len(content) > most:
        raise UserError(f"{place} is larger than {most:,} bytes, which no such file is. Put the right one there.")
    return content


def json_inside(folder: Path, name: str | Path) -> dict[str, Any] | None:
    """The object in a JSON file, all its text visible; None where there is no such file, or a damaged one.

    Raises:
        UserError: as ``bytes_inside``.
    """
    content = bytes_inside(folder, name)
    try:
        found = all_visible(json.loads(content)) if content is not None else None
    except (ValueError, RecursionError):
        return None
    return found if isinstance(found, dict) else None


def in_one_line(error: BaseException) -> str:
    """What a library says of such a file, without its advice to programmers."""
    from pydantic import ValidationError

    said = str(error)
    if isinstance(error, ValidationError):
        first = error.errors()[0]
        said = ": ".join(filter(None, (".".join(map(str, first["loc"])), first["msg"])))
    return visible(" ".join(said.split()))[:LONGEST_REASON].rstrip(".") or type(error).__name__


def is_number(found: Any) -> bool:
    """Whether what JSON held is a finite number, and as a float too."""
    return type(found) in (int, float) and abs(found) <= sys.float_info.max


def refuse_links_out(folder: Path) -> None:
    """Before anything is written into a folder: nothing in it leads elsewhere, where a file would be overwritten.

    Nor is anything in it a pipe or a device, whose other end would be waited for.

    Raises:
        UserError: naming the first that is.
    """
    home = folder.resolve()
    for place, folders, files in os.walk(folder):
        for name in (*folders, *files):
            found = Path(place, name)
            try:
                mode = found.lstat().st_mode
            except FileNotFoundError:  # by now, as another process writes there
                continue
            if stat.S_ISLNK(mode) and not _target(found).is_relative_to(home):
                raise UserError(
                    f"{found} is a link that leads out of {folder}. Nothing is written there: put the file or folder "
                    "itself in its place, or take the link away."
                )
            if stat.S_ISFIFO(mode) or stat.S_ISCHR(mode) or stat.S_ISBLK(mode):
                raise UserError(f"{found} is no file or folder but a pipe or a device. Take it away.")


def _target(link: Path) -> Path:
    try:
        return link.resolve()
    except (OSError, RuntimeError):  # links in a circle
        return Path("/")


def _shared(home: Path) -> Path:
    """Where the Hugging Face hub's cache keeps the files of all snapshots of a repository; else the folder itself."""
    for place in (home, *home.parents):
        if place.parent.name == "snapshots" and place.parents[1].name.startswith(_REPOSITORIES):
            return place.parents[1] / "blobs"
    return home
