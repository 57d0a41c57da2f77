"""The combined search against settings picked by hand, after equally many images.

Run ``python -m tests.benchmarks.combined BY_HAND.yaml RESULTS.jsonl STUDY [STUDY ...]``: the settings by hand, what
``python -m search.compare BY_HAND.yaml`` measured of them, and studies of spaces/combined_small.yaml, the first with
the teacher of seed 0, the second with that of seed 1, and so on (``--set teacher.seed=1``). Prints for each seed the
hypervolume of either side within the study's limits and the best FID that either has at each size.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from rich.console import Console
from rich.table import Table

from search.comparison.file import Comparison
from search.front import hypervolume
from search.views import StudyViews
from trainers.errors import UserError

SHARES = (1.0, 0.5, 0.25, 0.125, 0.0625)
Values = Mapping[str, float]


def main() -> None:
    """Print both sides."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("by_hand", type=Path)
    parser.add_argument("results", type=Path)
    parser.add_argument("studies", type=Path, nargs="+")
    options = parser.parse_args()
    comparison = Comparison.read(options.by_hand)
    results = [json.loads(line) for line in options.results.read_text().splitlines()]
    console = Console(width=140)
    table = Table("seed", "side", "models", "images", "hypervolume", *(f"size / {1 / share:.0f}" for share in SHARES))
    for seed, folder in enumerate(options.studies):
        views = StudyViews.open(folder)
        by_hand = [each["values"] for each in results if each["seed"] == seed]
        if len(by_hand) != len(comparison.recipes):
            raise UserError(f"{options.results}: {len(by_hand)} of {len(comparison.recipes)} recipes with seed {seed}")
        names, limits = [objective.name for objective in views.front.objectives], _limits(views)
        console.print(f"seed {seed}, limits: {', '.join(f'{name} {limit:.4g}' for name, limit in limits.items())}")
        searched = [{name: trial.value(name) for name in names} for trial in views.complete]
        seen = sum(trial.images or 0 for trial in (*views.complete, *views.stopped))
        table.add_row(str(seed), "searched", *_row(searched, seen, views))
        table.add_row("", "by hand", *_row(by_hand, comparison.images * len(by_hand), views), end_section=True)
    console.print("best FID within the limits and a share of the teacher's size:")
    console.print(table)


def _row(found: Sequence[Values], images: int, views: StudyViews) -> list[str]:
    limits = _limits(views)
    teacher = views.front.teacher
    assert teacher is not None
    size = teacher.values["size_mb"]
    assert size is not None
    bests = (best(found, {**limits, "size_mb": share * size}) for share in SHARES)
    return [str(len(found)), f"{images:,}", f"{volume(found, limits):.4f}", *(f"{each:.1f}" for each in bests)]


def _limits(views: StudyViews) -> dict[str, float]:
    names = [objective.name for objective in views.front.objectives]
    return {name: limit for name in names if (limit := views.front.limits.get(name)) is not None}


def volume(found: Sequence[Values], limits: Values) -> float:
    """Share of the box from 0 to the limits that is dominated."""
    values_NM = np.array([[values[name] / limit for name, limit in limits.items()] for values in found])
    return hypervolume(values_NM, np.ones(len(limits)))


def best(found: Sequence[Values], limits: Values) -> float:
    """The lowest FID that is within all limits; NaN when none is."""
    fitting = [values["fid"] for values in found if all(values[name] <= limit for name, limit in limits.items())]
    return min(fitting, default=float("nan"))


if __name__ == "__main__":
    main()
