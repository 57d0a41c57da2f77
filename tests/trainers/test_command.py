"""How a command line ends: here, by a signal that a shell had it ignore."""

from __future__ import annotations

import errno
import logging
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from trainers.command import command

PROGRAM = """
import _thread, signal, time
from trainers.command import command

def main() -> None:
    # As a search stops itself from another thread.
    _thread.interrupt_main(signal.SIGINT)
    time.sleep(100)

command(main, name="main")
"""


def test_libraries_are_silent_in_every_command(monkeypatch: pytest.MonkeyPatch) -> None:
    notes = logging.getLogger("bitsandbytes")
    monkeypatch.setattr(notes, "level", logging.NOTSET)
    monkeypatch.setattr(sys, "argv", ["main"])

    def main() -> int:
        assert notes.level == logging.ERROR
        return 7

    with pytest.raises(SystemExit) as ended:
        command(main, name="main")
    assert ended.value.code == 7


def test_what_a_script_started_in_the_background_can_be_interrupted(repository: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM],
        cwd=repository,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_IGN),
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert (done.returncode, done.stderr) == (130, "interrupted\n")


DESTROYED = """
import os, signal, time
from trainers.command import command

class Closing:
    def __del__(self) -> None:
        os.kill(os.getpid(), signal.SIGTERM)
        time.sleep(5)

def main() -> None:
    Closing()
    time.sleep(100)

command(main, name="main")
"""


def test_interrupt_while_an_object_is_destroyed_is_not_lost(repository: Path) -> None:
    done = subprocess.run([sys.executable, "-c", DESTROYED], cwd=repository, capture_output=True, text=True, timeout=90)
    assert (done.returncode, done.stderr) == (130, "interrupted\n")


@pytest.mark.parametrize(
    ("error", "code", "said"),
    [
        (PermissionError(errno.EACCES, "Permission denied", "a/b"), 2, "a/b: Permission denied. Give another path"),
        (OSError(errno.ENAMETOOLONG, "File name too long", "x"), 2, "x: File name too long. Give another path"),
        (FileNotFoundError(errno.ENOENT, "No such file", "own.yaml"), 1, "Traceback"),
        (OSError(errno.EIO, "Input/output error", "x"), 1, "Traceback"),
        (PermissionError(errno.EPERM, "Operation not permitted"), 1, "Traceback"),
    ],
)
def test_path_that_the_system_refuses_is_no_fault_of_the_program(
    error: OSError, code: int, said: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def main() -> None:
        raise error

    monkeypatch.setattr(sys, "argv", ["main"])
    monkeypatch.setattr(signal, "signal", lambda number, handler: None)
    monkeypatch.setattr(sys, "unraisablehook", sys.unraisablehook)
    with pytest.raises(SystemExit) as end:
        command(main, name="main")
    assert end.value.code == code and capsys.readouterr().err.startswith(said)


def test_a_path_that_no_encoding_has_is_printed_all_the_same(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "argv", ["main"])
    with pytest.raises(SystemExit) as ended:
        command(lambda: print("wrote \udcff"), name="main")
    assert not ended.value.code and capsys.readouterr().out == "wrote \\udcff\n"
