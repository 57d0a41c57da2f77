"""Files that are there whole or not at all, also after a power cut."""

from __future__ import annotations

import errno
import os
import time
from contextlib import suppress
from pathlib import Path

_ABANDONED_SECONDS = 60.0
"""Nobody writes for so long without a byte: whoever made such a temporary file was killed over it."""


def write_atomically(path: Path, content: bytes) -> None:
    """Write through a temporary file in the same folder, so that a reader sees the old content or the new one.

    When it returns, the new content outlives a power cut: a rename does so only once its folder is synced too.
    """
    _make_folder(path.parent)
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    # A stranger's folder may have a link of that name, which leads elsewhere, or a pipe.
    temporary.unlink(missing_ok=True)
    try:
        with temporary.open("xb") as out:
            out.write(content)
            out.flush()
            os.fsync(out.fileno())
        temporary.replace(path)
    except OSError:
        # On a full disk, what it holds is needed for what comes after.
        temporary.unlink(missing_ok=True)
        raise
    _sync_folder(path.parent)


def remove_abandoned(folder: Path) -> None:
    """Remove the temporary files that killed processes left in a folder, and in those inside it."""
    for path in folder.rglob(".*.tmp"):
        # Gone already, where another process has just renamed it.
        with suppress(FileNotFoundError):
            if path.name.rsplit(".", 2)[1].isdigit() and time.time() - path.lstat().st_mtime > _ABANDONED_SECONDS:
                path.unlink()


def _make_folder(folder: Path) -> None:
    """Make it and those above it, each known to the one above before anything is written into it."""
    if folder.is_dir():
        return
    _make_folder(folder.parent)
    folder.mkdir(exist_ok=True)
    _sync_folder(folder.parent)


def _sync_folder(folder: Path) -> None:
    if os.name != "posix":
        # Windows opens no folder, and needs no such call.
        return
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    except OSError as error:
        # Some network file systems sync no folders; there is nothing more that could be done.
        if error.errno not in (errno.EINVAL, errno.ENOTSUP):
            raise
    finally:
        os.close(descriptor)
