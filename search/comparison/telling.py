"""Recipes compared by hand, from file to verdicts."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from search.comparison.verdict import Result


def compare_recipes(file: Path, *, workers: int | None, out: Path | None, as_json: bool) -> int:
    """Train each recipe of ``file`` with each seed, say which claims hold, and give back the exit code."""
    import json
    import os
    import time
    from dataclasses import asdict

    from rich.console import Console

    from search.comparison import table, work
    from search.comparison.file import Comparison
    from search.comparison.verdict import verdict
    from search.name import check_name
    from trainers.atomic import write_atomically
    from trainers.cache import Cache
    from trainers.command import INTERRUPTED

    comparison = Comparison.read(file)
    Cache.default().check()
    folder = out or Path("studies/runs") / f"compare-{check_name(comparison.name)}"
    console, begun = Console(stderr=True, highlight=False, markup=False, emoji=False), time.monotonic()
    before = len(work.kept(folder, comparison))
    in_all, done = comparison.seeds * len(comparison.recipes), before
    if before < in_all:
        console.print(f"{in_all - before} of {in_all} trainings are left; first of all, teachers that are not kept yet")

    def show(result: Result) -> None:
        nonlocal done
        done += 1
        left = (time.monotonic() - begun) / (done - before) * (in_all - done)
        values = ", ".join(f"{name} {value:.4g}" for name, value in result.values.items())
        console.print(f"{done} of {in_all}: {result.recipe}, seed {result.seed}: {values} ({left / 60:.1f} min left)")

    def show_teacher(seed: int) -> None:
        nonlocal begun
        # Recipes take other times than teachers do.
        begun = time.monotonic()
        console.print(f"teacher of seed {seed} is ready")

    try:
        found = work.results(
            comparison,
            file,
            folder,
            workers=workers or os.cpu_count() or 1,
            on_result=show,
            on_teacher=show_teacher,
        )
    except KeyboardInterrupt:
        said = f"interrupted; {done} of {in_all} results are kept in {folder}. The same command goes on."
        console.print(said, soft_wrap=True)
        return INTERRUPTED
    verdicts = [verdict(comparison, claim, found) for claim in comparison.claims]
    lines = [*table.recipes_table(comparison, found), "", *table.claims_table(comparison, verdicts)]
    write_atomically(folder / "table.md", ("\n".join(lines) + "\n").encode())
    write_atomically(folder / "samples.webp", table.sheet(comparison, found))
    if as_json:
        rows = [{key: value for key, value in asdict(result).items() if key != "strip"} for result in found]
        written = {"results": rows, "verdicts": [asdict(one) for one in verdicts]}
        print(json.dumps(written, indent=1))  # noqa: T201 (the answer itself)
    else:
        for line in lines:
            print(line)  # noqa: T201 (the answer itself)
        console.print(f"{folder}: table.md, samples.webp, results.jsonl")
    return 0
