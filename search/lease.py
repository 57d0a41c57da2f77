"""One driver for each study: a lock that goes with the process, however that ends."""

from __future__ import annotations

import fcntl
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from trainers.errors import UserError


class StudyHeldError(UserError):
    """Another driver holds the study; exit code 3."""


@contextmanager
def held(folder: Path) -> Iterator[None]:
    """Hold a study for this process, as only one driver may; the lock goes with the process, however it ends.

    Raises:
        StudyHeldError: when another process holds it.
    """
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / ".lock").open("a+") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            lock.seek(0)
            raise StudyHeldError(
                f"{folder} is held by another driver ({lock.read().strip() or 'unknown'}). "
                "Wait for it, stop it, or give this run another --name."
            ) from None
        lock.seek(0)
        lock.truncate()
        lock.write(f"process {os.getpid()} since {time.strftime('%Y-%m-%d %H:%M:%S')}")
        lock.flush()
        yield
