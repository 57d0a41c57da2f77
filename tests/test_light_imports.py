"""A space is checked, and help is shown, without torch, Ray or Optuna: those imports take seconds."""

from __future__ import annotations

import subprocess
import sys

import pytest

HEAVY = """
import sys
def heavy():
    names = ("torch", "ray", "optuna", "diffusers", "plotly", "datasets", "sklearn")
    return [name for name in names if name in sys.modules]
"""
CHECK = """
from search.listing import listing
assert "unet" in listing() and "diff_pruning" in listing()
print(heavy())
"""
HELP = """
import atexit, runpy
atexit.register(lambda: print(heavy(), file=sys.stderr))
sys.argv[1:] = ["--help"]
runpy.run_module({command!r}, run_name="__main__", alter_sys=True)
"""


def test_all_pieces_are_found_without_a_heavy_import() -> None:
    done = subprocess.run([sys.executable, "-c", HEAVY + CHECK], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


@pytest.mark.parametrize(
    "command",
    [
        "search.run",
        "search.analyse",
        "search.best",
        "search.explore",
        "search.export",
        "search.simulate",
        "search.validate",
        "trainers.full",
    ],
)
def test_help_says_what_the_command_does(command: str) -> None:
    script = HEAVY + HELP.format(command=command)
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
    assert (done.returncode, done.stderr.strip()) == (0, "[]")
    assert "Usage" in done.stdout and len(done.stdout) > 200
