"""What a long study costs its user: time and memory of the report, of ``search.best`` and of going on, and the page.

Run ``python -m tests.benchmarks.growth [--trials 10000] [--repeats 1]`` from the repository, nothing else running. At
each size two studies are made up. The report and the budget are asked of one with four objectives, nine knobs and a
picture for each trial; three in four of its trials are complete. The other is a database as ``scale.py`` fills it, of
which a new process opens all, decides what is next and writes the views, as a driver does that goes on. Every figure is
of a process of its own: the CPU seconds that it took, its libraries' start included, and the memory that it held at its
fullest. The page is open when the figures on its first screen are drawn (``data-opened``) in a Chromium that has done
with its own start, in seconds on the clock, the quickest of five; the first line says how long plotly's own script
takes alone on a page.
"""

from __future__ import annotations

import argparse
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from plotly.offline import get_plotlyjs

from search.report.page import REPORT_FILE
from tests.benchmarks.explore import OPENED, SPACE
from tests.benchmarks.scale import fill, opened
from tests.search.devtools import Browser
from tests.search.study_folder import study_folder

SIZES = (100, 1_000, 10_000)
COLUMNS = ("trials", "report s", "MB", "best s", "MB", "go on s", "MB", "page MB", "opens s")
_OPENINGS = 5
"""Of a page, which is read off the clock: what else the machine does only adds to it, so the quickest counts."""

_SETTLING_SECONDS = 3.0
"""What a new browser does for itself at first takes half of a small machine."""


class Took(NamedTuple):
    """CPU seconds of a process, and the most memory that it held, in MB."""

    seconds: float
    memory_mb: float


def main() -> None:
    asked = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    asked.add_argument("--trials", type=int, default=SIZES[-1], help="of the largest study")
    asked.add_argument("--repeats", type=int, default=1, help="medians of so many")
    asked.add_argument("--go-on", type=Path, help=argparse.SUPPRESS)
    given = asked.parse_args()
    if given.go_on:
        _go_on(given.go_on, trials=given.trials)
        return
    print(f"plotly's script alone: {_seconds_of_plotly_alone():.3g} s")
    print("".join(f"{column:>10}" for column in COLUMNS), flush=True)
    for size in (size for size in SIZES if size <= given.trials):
        with tempfile.TemporaryDirectory(prefix="slimfront-growth-") as scratch:
            row = _row(Path(scratch), size, repeats=given.repeats)
        print("".join(f"{value:>10,.0f}" if value >= 100 else f"{value:>10.3g}" for value in row), flush=True)


def _row(scratch: Path, size: int, *, repeats: int) -> list[float]:
    shown = study_folder(scratch / "shown", trials=size)
    (shown / "space.yaml").write_text(SPACE)
    fill(opened(scratch / "kept", trials=10 * size, storage=None), size)
    explore = _median("search.explore", str(shown), repeats=repeats)
    best = _median("search.best", str(shown), "--max", "size_mb=0.5", "--max", "latency_ms=20", repeats=repeats)
    go_on = _median("tests.benchmarks.growth", "--go-on", str(scratch / "kept"), "--trials", str(size), repeats=repeats)
    report = shown / REPORT_FILE
    return [size, *explore, *best, *go_on, report.stat().st_size / 1e6, _seconds_until(OPENED, report)]


def _median(module: str, *words: str, repeats: int) -> Took:
    return Took(*map(statistics.median, zip(*(_took([module, *words]) for _ in range(repeats)), strict=True)))


def _took(words: Sequence[str]) -> Took:
    process = subprocess.Popen([sys.executable, "-m", *words], stdout=subprocess.DEVNULL)
    # Not wait(), which does not say what the process used.
    _, status, used = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise RuntimeError(f"{' '.join(words)} ended with {process.returncode}. Start it by hand to see why.")
    return Took(used.ru_utime + used.ru_stime, used.ru_maxrss / 1024)


def _seconds_until(condition: str, page: Path) -> float:
    return min(_seconds_once_until(condition, page) for _ in range(_OPENINGS))


def _seconds_once_until(condition: str, page: Path) -> float:
    with Browser() as browser:
        time.sleep(_SETTLING_SECONDS)
        return browser.seconds_until(condition, at=page.as_uri())


def _seconds_of_plotly_alone() -> float:
    with tempfile.TemporaryDirectory(prefix="slimfront-growth-") as scratch:
        page = Path(scratch) / "plotly.html"
        page.write_text(f"<!doctype html><meta charset=utf-8><script>{get_plotlyjs()}</script>")
        return _seconds_until("typeof Plotly === 'object'", page)


def _go_on(folder: Path, *, trials: int) -> None:
    """As a driver does: everything that was kept, the next decision, and the views."""
    study = opened(folder, trials=10 * trials, storage=None)
    study.records()
    if study.next() is None:
        raise RuntimeError(f"{folder} has nothing to do. Give it a larger budget.")
    study.write_views()


if __name__ == "__main__":
    main()
