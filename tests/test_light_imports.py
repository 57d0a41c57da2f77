"""A space is checked, and help is shown, without torch, Ray or Optuna: those imports take seconds."""

from __future__ import annotations

import subprocess
import sys
import time

import pytest

CHECK = """
import sys
from search.listing import listing
assert "unet" in listing() and "diff_pruning" in listing()
heavy = ("torch", "ray", "optuna", "diffusers", "plotly", "datasets", "sklearn")
print([name for name in heavy if name in sys.modules])
"""


def test_all_pieces_are_found_without_a_heavy_import() -> None:
    done = subprocess.run([sys.executable, "-c", CHECK], capture_output=True, text=True, check=True)
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
    begun = time.monotonic()
    done = subprocess.run([sys.executable, "-m", command, "--help"], capture_output=True, text=True)
    assert done.returncode == 0 and done.stderr == ""
    assert "Usage" in done.stdout and len(done.stdout) > 200
    # Generous: it takes a third of a second; a heavy import would take several.
    assert time.monotonic() - begun < 3
