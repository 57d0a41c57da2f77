"""What a dry run says of a study beside what the study then takes: time, disk and memory.

Run from the repository, as idle or as busy for both::

    python -m tests.benchmarks.estimate spaces/combined_small.yaml spaces/progressive_small.yaml \\
        [--set budget.trials=4] [--workers 0]

Each space has an empty cache, so the search trains its teacher; the dry run comes first, and leaves the calibration of
the device and the extractor there. Actual time is from the command to its end. Memory is what all processes of the
search hold together at their fullest (proportional set size, seen twice a second), disk the study's folder and what
the search added to the cache.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

from rich.console import Console
from rich.table import Table

from tests.processes import below

_EVERY_SECONDS = 0.5


def main() -> None:
    asked = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    asked.add_argument("spaces", nargs="+", type=Path)
    asked.add_argument("--set", action="append", default=[], metavar="PATH=VALUE", help="as of search.run")
    asked.add_argument("--workers", type=int, default=0)
    given = asked.parse_args()
    table = Table("space", "", "predicted", "actual", "ratio", title=f"{given.workers} workers, {' '.join(given.set)}")
    for space in given.spaces:
        for row in _compared(space.resolve(), given.set, workers=given.workers):
            table.add_row(space.stem, *row)
        table.add_section()
    Console().print(table)


def _compared(space: Path, overrides: Sequence[str], *, workers: int) -> Iterator[tuple[str, str, str, str]]:
    with tempfile.TemporaryDirectory(prefix="slimfront-") as scratch:
        folder, cache = Path(scratch), Path(scratch) / "cache"
        cache.mkdir()
        environment = {**os.environ, "SLIMFRONT_CACHE": str(cache), "PYTHONPATH": str(Path.cwd())}
        options = [str(space), "--workers", str(workers)]
        options += [part for override in overrides for part in ("--set", override)]
        command = [sys.executable, "-m", "search.run", *options]
        said = subprocess.run(
            [*command, "--dry-run", "--json"], cwd=folder, env=environment, check=True, stdout=subprocess.PIPE
        )
        predicted = json.loads(said.stdout)
        before, begun = _bytes(folder), time.perf_counter()
        with subprocess.Popen(command, cwd=folder, env=environment, stdout=subprocess.DEVNULL) as search:
            peak = _peak_bytes(search)
        seconds = time.perf_counter() - begun
        if search.returncode:
            raise RuntimeError(f"{' '.join(command)} ended with {search.returncode}. Start it by hand to see why.")
        actual = {"seconds": seconds, "disk_mb": (_bytes(folder) - before) / 1e6, "memory_mb": peak / 1e6}
    for name, value in actual.items():
        said_of_it = predicted[f"estimate_{name}"]
        yield name, f"{said_of_it:.0f}", f"{value:.0f}", f"{said_of_it / value:.2f}"


def _bytes(folder: Path) -> int:
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file() and not path.is_symlink())


def _peak_bytes(process: subprocess.Popen[bytes]) -> int:
    """What the process and all below it hold at their fullest, until it ends."""
    peak = 0
    while process.poll() is None:
        peak = max(peak, sum(map(_held_bytes, [process.pid, *below(process.pid)])))
        time.sleep(_EVERY_SECONDS)
    return peak


def _held_bytes(process: int) -> int:
    try:
        lines = Path(f"/proc/{process}/smaps_rollup").read_text().splitlines()
    except OSError:
        return 0
    return sum(1024 * int(line.split()[1]) for line in lines if line.startswith("Pss:"))


if __name__ == "__main__":
    main()
