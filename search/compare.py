"""Compare a few recipes by hand: ``python -m search.compare studies/compact_cifar10/claims.yaml``."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from cyclopts import Parameter

from trainers.command import command
from trainers.errors import UserError

if TYPE_CHECKING:
    from search.comparison.verdict import Result


def main(
    file: Path,
    *,
    workers: int | None = None,
    out: Path | None = None,
    json: Annotated[bool, Parameter(negative="")] = False,
) -> int:
    """Train each recipe of the file with each seed on equally many images, and say which claims hold.

    Nothing measured is lost: the same command goes on where it was stopped.

    Parameters
    ----------
    file
        A comparison: data, teacher, objectives, images, seeds, recipes and claims.
    workers
        Processes; one per core when left out.
    out
        Folder of the results; studies/runs/compare-NAME when left out.
    json
        Print results and verdicts as JSON.
    """
    import json as format_json
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
    from trainers.quiet import silence_libraries

    silence_libraries()
    if workers is not None and workers < 1:
        raise UserError(f"--workers must be at least 1, got {workers}.")
    comparison = Comparison.read(file)
    Cache.default().check()
    folder = out or Path("studies/runs") / f"compare-{check_name(comparison.name)}"
    console, begun = Console(stderr=True, highlight=False), time.monotonic()
    before = len(work.kept(folder, comparison))
    in_all, done = comparison.seeds * len(comparison.recipes), before

    def show(result: Result) -> None:
        nonlocal done
        done += 1
        left = (time.monotonic() - begun) / (done - before) * (in_all - done)
        values = ", ".join(f"{name} {value:.4g}" for name, value in result.values.items())
        console.print(f"{done} of {in_all}: {result.recipe}, seed {result.seed}: {values} ({left / 60:.1f} min left)")

    found = work.results(
        comparison,
        file,
        folder,
        workers=workers or os.cpu_count() or 1,
        on_result=show,
        on_teacher=lambda seed: console.print(f"teacher of seed {seed} is ready"),
    )
    verdicts = [verdict(comparison, claim, found) for claim in comparison.claims]
    lines = [*table.recipes_table(comparison, found), "", *table.claims_table(verdicts)]
    write_atomically(folder / "table.md", ("\n".join(lines) + "\n").encode())
    write_atomically(folder / "samples.webp", table.sheet(comparison, found))
    if json:
        rows = [{key: value for key, value in asdict(result).items() if key != "strip"} for result in found]
        written = {"results": rows, "verdicts": [asdict(one) for one in verdicts]}
        print(format_json.dumps(written, indent=1))  # noqa: T201 (the answer itself)
    else:
        for line in lines:
            print(line)  # noqa: T201 (the answer itself)
        console.print(f"{folder}: table.md, samples.webp, results.jsonl")
    return 0


if __name__ == "__main__":
    command(main, name="python -m search.compare")
