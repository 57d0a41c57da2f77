"""How long a search takes to know what a candidate will cost, for the spaces that are shipped.

Run ``python -m tests.benchmarks.planning [SPACE ...]``. Of every candidate that a sampler thinks of, thousands for each
that is trained, architecture, size, MACs and latency are computed. Prints milliseconds of one core for each candidate:
the quickest of three rounds over the same random ones.
"""

from __future__ import annotations

import argparse
import random
import time
from collections.abc import Callable
from pathlib import Path

from rich.console import Console
from rich.table import Table

from search.known import Foresight
from search.preparation import planned_teacher
from search.space import Space
from tests.devices import ONE_CORE
from trainers.errors import UserError
from trainers.models.arch_spec import ArchSpec
from trainers.quiet import silence_libraries
from trainers.recipe import Recipe

SPACES = Path(__file__).parents[2] / "spaces"
ROUNDS = 3


def main() -> None:
    """Print a row for each space."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("spaces", nargs="*", type=Path, default=sorted(SPACES.glob("*.yaml")))
    parser.add_argument("--candidates", type=int, default=200)
    options = parser.parse_args()
    silence_libraries()
    table = Table("space", "layers", "knobs", "recipe", "network", "costs", "in all", title="milliseconds a candidate")
    table.columns[0].no_wrap = True
    for path in options.spaces:
        space = Space.read(path)
        teacher = planned_teacher(space)
        parts = milliseconds(space, teacher, count=options.candidates)
        counts = (str(len(teacher.layers)), str(len(space.knobs)))
        table.add_row(path.stem, *counts, *(f"{part:.2f}" for part in (*parts, sum(parts))))
    Console().print(table)


def milliseconds(space: Space, teacher: ArchSpec, *, count: int) -> tuple[float, float, float]:
    """For a candidate: until its recipe is there, then its architecture, then what that costs."""
    foresight, generator = Foresight(space, teacher, ONE_CORE, {}), random.Random(0)
    candidates = [space.random_candidate(generator) for _ in range(count)]
    recipes = [space.fill(candidate) for candidate in candidates]
    specs = [spec for recipe in recipes if (spec := planned(recipe, teacher)) is not None]
    return (
        quickest(lambda: [space.fill(candidate) for candidate in candidates]) / count,
        quickest(lambda: [planned(recipe, teacher) for recipe in recipes]) / count,
        quickest(lambda: [foresight.costs(spec) for spec in specs]) / len(specs),
    )


def planned(recipe: Recipe, teacher: ArchSpec) -> ArchSpec | None:
    """What comes out; None where a stage cannot be applied."""
    try:
        return recipe.plan(teacher)
    except UserError:
        return None


def quickest(call: Callable[[], object]) -> float:
    """Milliseconds on a core."""
    taken = []
    for _ in range(ROUNDS):
        begun = time.process_time()
        call()
        taken.append(time.process_time() - begun)
    return 1000 * min(taken)


if __name__ == "__main__":
    main()
