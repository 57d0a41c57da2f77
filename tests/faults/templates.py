"""Studies that several rows begin with, made once: a finished one, and one whose driver was killed on the way."""

from __future__ import annotations

import atexit
import functools
import shutil
import tempfile
from pathlib import Path

from tests.faults.driver import Driver, finish
from tests.faults.home import make_home


def finished(place: Path) -> Path:
    """A working directory with a finished study."""
    return shutil.copytree(_finished(), place, dirs_exist_ok=True)


def stopped(place: Path) -> Path:
    """One with a study whose driver was killed when a trial went on from its first rung, while another waits there."""
    return shutil.copytree(_stopped(), place, dirs_exist_ok=True)


@functools.cache
def _finished() -> Path:
    home = make_home(_folder())
    driver = finish(home)
    assert driver.process.exitcode == 0, driver.said
    return home


@functools.cache
def _stopped() -> Path:
    home = make_home(_folder())
    driver = Driver.start(home)
    assert driver.wait_until(lambda: " goes on to " in driver.said), driver.said
    driver.kill()
    return home


def _folder() -> Path:
    folder = Path(tempfile.mkdtemp(prefix="slimfront-fault-template-"))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    return folder
