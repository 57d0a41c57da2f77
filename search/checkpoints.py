"""Trials' files at a place that every machine reaches, for clusters whose machines do not share the study's folder.

The place is a URI that pyarrow or fsspec reads: ``s3://bucket/studies``, ``gs://...``, ``file:///shared``. There lie
copies: a worker puts a trial's files there before it reports, whoever goes on with the trial fetches them first, and
the driver fetches what a finished trial left into the study's folder before it counts.
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

from search.name import is_file_name
from trainers.atomic import write_atomically
from trainers.errors import UserError

ALLOWED = "a URI such as s3://bucket/studies, gs://bucket/studies or file:///shared/studies, or left out"
# Others of fsspec would fetch from the web, unpack, or put one file system into another.
_SCHEMES = ("s3", "gs", "gcs", "abfs", "abfss", "az", "hdfs", "file")
_PROBE = ".slimfront-probe"


def mistake_of(uri: str) -> str | None:
    """What is wrong with ``uri`` as such a place, not showing what may be a password; None when nothing is."""
    scheme, separator, place = uri.partition("://")
    if not separator or not place or not uri.isprintable():
        return f"must be {ALLOWED}."
    if scheme not in _SCHEMES or "::" in place:
        found = f"{scheme[:20]}://" if scheme not in _SCHEMES else "::"
        return f"has {found!r}, and may begin with {', '.join(_SCHEMES)}. It must be {ALLOWED}."
    if "@" in re.split(r"[/?#]", place)[0]:
        return f"holds a key or a password. Leave it to the environment of each machine; it must be {ALLOWED}."
    return None


@dataclass(frozen=True)
class Checkpoints:
    """The files of one trial.

    Args:
        uri: Of the folder that holds them.
    """

    uri: str

    def put(self, folder: Path, names: Sequence[str] | None = None) -> None:
        """Copy files of ``folder`` there, all when no names are given; each is there whole or not at all.

        Raises:
            UserError: when the place cannot be reached or written.
        """
        try:
            system, place = _system(self.uri)
            system.create_dir(place, recursive=True)
            for file in sorted(folder.iterdir()) if names is None else [folder / name for name in names]:
                if file.is_file() and not file.name.startswith("."):
                    part = f"{place}/.{file.name}.part"
                    with system.open_output_stream(part) as out:
                        out.write(file.read_bytes())
                    system.move(part, f"{place}/{file.name}")
        except _faults() as error:
            raise UserError(_unreachable(self.uri, error)) from None

    def get(self, folder: Path) -> list[str]:
        """Copy all that is there into ``folder``, in place of what it has, and say what came.

        Raises:
            UserError: when the place cannot be reached.
        """
        from pyarrow.fs import FileSelector, FileType

        try:
            system, place = _system(self.uri)
            found = system.get_file_info(FileSelector(place, allow_not_found=True))
            names = sorted(each.base_name for each in found if each.type == FileType.File)
            for name in filter(is_file_name, names):
                with system.open_input_stream(f"{place}/{name}") as opened:
                    write_atomically(folder / name, opened.read())
        except _faults() as error:
            raise UserError(_unreachable(self.uri, error)) from None
        return list(filter(is_file_name, names))

    def drop(self, name: str) -> None:
        """Remove a file there, where it is; one that cannot be removed is left."""
        try:
            system, place = _system(self.uri)
            system.delete_file(f"{place}/{name}")
        except _faults():
            return


def of_trial(uri: str | None, study: str, path: str) -> Checkpoints | None:
    """Where a trial's files are under ``uri``; None when there is no such place."""
    return None if uri is None else Checkpoints(f"{uri.rstrip('/')}/{study}/{path}")


def check_reachable(uri: str | None, *, is_named: bool) -> None:
    """The place can be written and read, where one is given.

    Args:
        is_named: The user named it, and not only the space, which may be a stranger's, as may be the place.

    Raises:
        UserError: when it cannot, with the reason; when the user did not name it, before anything is written there.
    """
    if uri is None:
        return
    if not is_named:
        raise UserError(
            f"checkpoints: only the space names {uri}, and trained models would be written there with your rights. "
            f"If that is your place, add --set checkpoints={shlex.quote(uri)} to the command; if not, add "
            "--set checkpoints=null."
        )
    try:
        system, place = _system(uri)
        system.create_dir(place, recursive=True)
        with system.open_output_stream(f"{place}/{_PROBE}") as out:
            out.write(b"")
        system.delete_file(f"{place}/{_PROBE}")
    except _faults() as error:
        raise UserError(_unreachable(uri, error)) from None


@lru_cache(maxsize=64)
def _system(uri: str) -> tuple[Any, str]:
    """The file system, by pyarrow or else by fsspec, and the path in it."""
    import pyarrow
    from pyarrow import fs

    try:
        found: tuple[Any, str] = fs.FileSystem.from_uri(uri)
    except pyarrow.ArrowInvalid:
        import fsspec

        system, path = fsspec.core.url_to_fs(uri)
        found = fs.PyFileSystem(fs.FSSpecHandler(system)), path
    return found


def _faults() -> tuple[type[Exception], ...]:
    import pyarrow

    # ImportError: fsspec knows the scheme, and the package for it is not installed.
    return OSError, pyarrow.ArrowException, ImportError, ValueError


def _unreachable(uri: str, error: Exception) -> str:
    reason = " ".join(str(error).split())[:300] or type(error).__name__
    return (
        f"checkpoints: {uri} cannot be used ({reason}). It must be a place that the driver and all workers can write; "
        "see that it exists, and that each machine has the credentials for it in its environment."
    )
