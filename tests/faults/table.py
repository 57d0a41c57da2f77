"""``make faults``: every fault, for real; prints the table and writes it to a file.

    python -m tests.faults.table [--out FILE] [--only NAME ...] [--reduced] [--at-once 2]

Two rows run at a time, each in folders and with drivers, servers and Ray of its own: the longest mostly compute, those
on Ray mostly wait.

FAULTS_KILLS=200 kills the driver that often instead of 30 times; FAULTS_CUTS=20 goes on from so many of the pictures
between two writes instead of from all.
"""

from __future__ import annotations

import argparse
import multiprocessing
import os
import shutil
import subprocess
import sys
import tempfile
import time
import traceback
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

from tests.faults import rows
from tests.faults.result import CannotTryError, Result

HEADER = ("fault", "times", "acknowledged", "lost", "paid twice", "what the study does", "goes on after")


def main() -> int:
    """Run the rows that were asked for; 1 when one does not hold."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--out", type=Path)
    parser.add_argument("--only", nargs="*")
    parser.add_argument("--reduced", action="store_true")
    parser.add_argument("--without-plain-tune", action="store_true")
    parser.add_argument("--at-once", type=int, default=2)
    asked = parser.parse_args()
    place = Path(tempfile.mkdtemp(prefix="slimfront-faults-"))
    os.environ.setdefault("SLIMFRONT_CACHE", str(place / "cache"))
    begun = time.monotonic()
    table: list[tuple[str, ...]] = []
    bad: list[str] = []
    # Meanwhile: it mostly waits for Ray and for trials that sleep.
    plain = None if asked.without_plain_tune else _plain_tune(place / "plain")
    try:
        # Spawned: Ray cannot be forked, and each has to start drivers from a process of its own.
        with ProcessPoolExecutor(asked.at_once, mp_context=multiprocessing.get_context("spawn")) as pool:
            names = [name for name in rows.ROWS if not asked.only or name in asked.only]
            done = [pool.submit(_run, name, place / name, reduced=asked.reduced) for name in names]
            for name, row in zip(names, done, strict=True):
                cells, fault, seconds = row.result()
                table.append(cells)
                bad += [f"{rows.ROWS[name][0]}: {fault}"] if fault else []
                print(f"{seconds:5.0f} s  {' | '.join(cells)}", flush=True)
        beside = _said(plain) if plain is not None else {}
    finally:
        if plain is not None:
            plain.kill()
        shutil.rmtree(place, ignore_errors=True)
    text = _markdown(table, beside, bad, seconds=time.monotonic() - begun)
    print(f"\n{text}")
    if asked.out is not None:
        asked.out.write_text(text)
    return 1 if bad else 0


def _run(name: str, place: Path, *, reduced: bool) -> tuple[tuple[str, ...], str, float]:
    """The cells of a row, what does not hold, and the seconds that it took."""
    since = time.monotonic()
    title, row = rows.ROWS[name]
    place.mkdir(parents=True)
    try:
        cells, fault = _told(title, row(place, reduced))
    except CannotTryError as error:
        cells, fault = (title, "", "", "", "", f"not tried: {error}", ""), ""
    except Exception as error:
        # One row that breaks off must not take what the others found with it.
        traceback.print_exc()
        words = str(error).strip().splitlines() or [f"it does not hold ({type(error).__name__})"]
        cells, fault = (title, "1", "?", "?", "?", f"DOES NOT HOLD: {words[0][:100]}", ""), "\n".join(words)
    shutil.rmtree(place, ignore_errors=True)
    return cells, fault, time.monotonic() - since


def _told(title: str, result: Result) -> tuple[tuple[str, ...], str]:
    cells = (
        title,
        str(result.times),
        str(result.acknowledged),
        str(len(result.lost)),
        f"{result.paid_twice} of {result.in_flight} in flight" if result.in_flight else str(result.paid_twice),
        result.outcome,
        "" if result.seconds is None else f"{result.seconds:.0f} s",
    )
    fault = f"of {result.acknowledged} lost {list(result.lost)}, paid twice {result.paid_twice}"
    return cells, "" if result.holds else fault


def _plain_tune(place: Path) -> subprocess.Popen[str]:
    place.mkdir(parents=True)
    command = [sys.executable, "-m", "tests.faults.plain_tune", str(place), "--all"]
    return subprocess.Popen(command, stdout=subprocess.PIPE, text=True)


def _said(plain: subprocess.Popen[str]) -> dict[str, str]:
    said, _ = plain.communicate()
    lines = [line.partition("\t") for line in said.splitlines() if "\t" in line]
    return {name: what for name, _, what in lines}


def _markdown(table: list[tuple[str, ...]], beside: dict[str, str], bad: list[str], *, seconds: float) -> str:
    head = [f"| {' | '.join(HEADER)} |", f"|{' --- |' * len(HEADER)}"]
    body = [f"| {' | '.join(cells)} |" for cells in table]
    plain = [f"| {rows.ROWS[name][0]} | {said} |" for name, said in beside.items()]
    tune = ["", "| fault | plain `ray.tune.Tuner` with `OptunaSearch` |", "| --- | --- |", *plain] if plain else []
    wrong = ["", *(f"DOES NOT HOLD: {each}" for each in bad)] if bad else []
    when = time.strftime("%Y-%m-%d")
    count = os.cpu_count()
    return "\n".join([*head, *body, *tune, *wrong, "", f"{when}, {count} cores, {seconds / 60:.0f} minutes."]) + "\n"


if __name__ == "__main__":
    sys.exit(main())
