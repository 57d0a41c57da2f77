"""A driver as its own process, to be killed: ``python -m search.run`` forked from a process that has imported it.

Forked, because imports cost ten times what these searches do. Nothing else differs: it has its own process id, its own
files and locks, and ends with the exit code of the command.
"""

from __future__ import annotations

import contextlib
import multiprocessing
import os
import signal
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.faults.home import NAME, study_of

_ROOT = Path(__file__).parents[2]
_CONTEXT = multiprocessing.get_context("forkserver")
_CONTEXT.set_forkserver_preload(["tests.faults._warm"])
_PATIENCE_SECONDS = 300


@dataclass(frozen=True)
class Driver:
    """A running command; ``log`` holds what it says, ``paid`` what it trains."""

    process: Any
    home: Path
    log: Path
    begun: float

    @classmethod
    def start(
        cls,
        home: Path,
        *options: str,
        faults: Mapping[str, Any] | None = None,
        module: str = "search.run",
        arguments: tuple[str, ...] | None = None,
    ) -> Driver:
        """Run the space in ``home`` without Ray, with ``faults`` planted; or the other command ``module``."""
        os.environ["PYTHONPATH"] = str(_ROOT)
        os.environ["OMP_NUM_THREADS"] = "1"
        log = Path((faults or {}).get("log", {}).get("path", home / f"log-{time.monotonic_ns()}.txt"))
        given = arguments if arguments is not None else ("fault.yaml", "--name", NAME, "--workers", "0", *options)
        planted = {"paid": {"path": str(paid_file(home))}, **(faults or {})}
        process = _CONTEXT.Process(target=_command, args=(module, given, str(home), str(log), planted))
        process.start()
        return cls(process, home, log, time.monotonic())

    @property
    def pid(self) -> int:
        """Of the driver."""
        pid: int = self.process.pid
        return pid

    @property
    def said(self) -> str:
        """Everything it printed, errors too."""
        return self.log.read_text(errors="replace") if self.log.exists() else ""

    @property
    def is_running(self) -> bool:
        """Whether it has not ended."""
        return bool(self.process.is_alive())

    def send(self, number: signal.Signals) -> None:
        """Send a signal."""
        os.kill(self.pid, number)

    def kill(self) -> bool:
        """SIGKILL, and wait until it is gone; False where it had just ended by itself."""
        with contextlib.suppress(ProcessLookupError):
            self.send(signal.SIGKILL)
        return self.wait() == -signal.SIGKILL

    def wait(self, seconds: float = _PATIENCE_SECONDS) -> int:
        """Its exit code; a driver that does not end is killed, and the test with it."""
        self.process.join(seconds)
        if self.process.exitcode is None:
            self.send(signal.SIGKILL)
            raise AssertionError(f"the driver did not end in {seconds} s:\n{self.said[-2000:]}")
        code: int = self.process.exitcode
        return code

    def wait_until(self, is_so: Callable[[], bool], seconds: float = _PATIENCE_SECONDS) -> bool:
        """Wait until something is so, or the driver has ended; whether it is so."""
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            if is_so():
                return True
            if not self.is_running:
                return is_so()
            time.sleep(0.005)
        raise AssertionError(f"nothing came of it in {seconds} s:\n{self.said[-2000:]}")


def finish(home: Path, *options: str, faults: Mapping[str, Any] | None = None) -> Driver:
    """Run the space to its end."""
    driver = Driver.start(home, *options, faults=faults)
    driver.wait()
    return driver


def paid_file(home: Path) -> Path:
    """Where drivers and workers of a study write what they begin to train."""
    return home / "paid.jsonl"


def database(home: Path) -> Path:
    """The study's database."""
    return study_of(home) / "study.db"


def _command(module: str, arguments: tuple[str, ...], home: str, log: str, faults: Mapping[str, Any]) -> None:
    """In the child: what ``python -m module arguments`` does in ``home``."""
    import importlib

    from tests.faults.planted.faults import plant
    from trainers.command import command

    os.setsid()
    os.chdir(home)
    file = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
    os.dup2(file, 1)
    os.dup2(file, 2)
    sys.stdout = open(1, "w", buffering=1, closefd=False)  # noqa: SIM115 (a descriptor, open to the end)
    sys.stderr = open(2, "w", buffering=1, closefd=False)  # noqa: SIM115
    sys.argv = [module, *arguments]
    plant(faults)
    command(importlib.import_module(module).main, name=f"python -m {module}")
