"""The disk: full, read-only. On a small file system of its own, which takes the right to mount one."""

from __future__ import annotations

import errno
import re
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.faults.driver import Driver, database
from tests.faults.home import make_home, study_of
from tests.faults.ledger import acknowledged
from tests.faults.result import CannotTryError, Result, continued, has_traceback, judged
from tests.faults.templates import stopped

_MEGABYTES = 260
"""What a study wants to find free before it begins, and a little."""


@contextmanager
def small_disk(place: Path) -> Iterator[Path]:
    """A file system of its own in memory."""
    place.mkdir(parents=True, exist_ok=True)
    made = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", f"size={_MEGABYTES}m", "tmpfs", str(place)], capture_output=True, text=True
    )
    if made.returncode:
        raise CannotTryError(f"no file system of its own can be mounted here ({made.stderr.strip()})")
    try:
        yield place
    finally:
        subprocess.run(["umount", "--lazy", str(place)], check=True)


def fill(disk: Path) -> Path:
    """Write a file that takes all that is left."""
    filler = disk / "filler"
    with filler.open("ab", buffering=0) as out:
        size = 1 << 20
        while size:
            try:
                out.write(b"\0" * size)
            except OSError as error:
                assert error.errno == errno.ENOSPC
                size //= 2
    return filler


def full_while_training(place: Path, reduced: bool) -> Result:
    """Full from the first result on: neither training states nor database can grow."""
    with small_disk(place / "disk") as disk:
        home = make_home(disk / "home")
        driver = Driver.start(home, faults={"slow": {"seconds": 0.5}, "log": {"path": str(place / "log.txt")}})
        driver.wait_until(lambda: bool(acknowledged(database(home))))
        return _full(place, home, driver, fill(disk))


def full_in_the_views(place: Path, reduced: bool) -> Result:
    """Full at the moment when the views are written, with room for nothing else."""
    return _full_before("front.json", place)


def full_in_the_database(place: Path, reduced: bool) -> Result:
    """Full in the middle of a commit."""
    return _full_before("commit", place)


def read_only(place: Path, reduced: bool) -> Result:
    """The driver is killed, and the disk is read-only when the command is given again."""
    with small_disk(place / "disk") as disk:
        home = stopped(disk / "home")
        before = acknowledged(database(home))
        _remount(disk, "ro")
        try:
            refused = Driver.start(
                home, faults={"paid": {"path": "/dev/null"}, "log": {"path": str(place / "log.txt")}}
            )
            assert refused.wait() == 2, (place / "log.txt").read_text()
            said = (place / "log.txt").read_text()
            assert "Traceback" not in said and "cannot write into" in said, said
        finally:
            _remount(disk, "rw")
        again, seconds = continued(home)
        assert again.process.exitcode == 0, again.said
        return judged(home, before, in_flight=1, outcome="exit 2: what to do", seconds=[seconds])


def _full_before(what: str, place: Path) -> Result:
    with small_disk(place / "disk") as disk:
        home = make_home(disk / "home")
        faults = {"fill": {"disk": str(disk), "before": what}, "log": {"path": str(place / "log.txt")}}
        driver = Driver.start(home, faults=faults)
        driver.wait_until(lambda: (disk / "filler").exists())
        return _full(place, home, driver, disk / "filler")


def _full(place: Path, home: Path, driver: Driver, filler: Path) -> Result:
    before = acknowledged(database(home))
    code = driver.wait()
    said = (place / "log.txt").read_text()
    assert code == 4 and "Traceback" not in said, f"exit {code}: {said[-4000:]}"
    assert re.search("No space left|disk is full|disk I/O", said) and "go on with:\n  python -m search.run" in said, (
        said
    )
    filler.unlink()
    again, seconds = continued(home)
    assert again.process.exitcode == 0 and not has_traceback(again), again.said
    assert (study_of(home) / "front.json").is_file()
    return judged(home, before, in_flight=1, outcome="exit 4: why, and how to go on", seconds=[seconds])


def _remount(disk: Path, how: str) -> None:
    # Files that are open for writing keep it busy until they are closed.
    for _ in range(100):
        if subprocess.run(["mount", "-o", f"remount,{how}", str(disk)], capture_output=True).returncode == 0:
            return
        time.sleep(0.05)
    raise CannotTryError(f"{disk} does not turn {how}: {sorted(disk.iterdir())}")
