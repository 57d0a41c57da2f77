"""How a command line ends: here, by a signal that a shell had it ignore."""

from __future__ import annotations

import signal
import subprocess
import sys
from pathlib import Path

PROGRAM = """
import _thread, signal, time
from trainers.command import command

def main() -> None:
    # As a search stops itself from another thread.
    _thread.interrupt_main(signal.SIGINT)
    time.sleep(100)

command(main, name="main")
"""


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
