"""The combined search against settings picked by hand, after equally many images.

Run ``python -m tests.benchmarks.combined STUDY BY_HAND.yaml RESULTS.jsonl``: a study of spaces/combined_small.yaml, the
settings by hand, and what ``python -m search.compare BY_HAND.yaml`` measured of them, both with the same teacher.
Prints the hypervolume of either within the study's limits, and the best FID that either has at each size.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from search.comparison.file import Comparison
from search.front import hypervolume
from search.views import StudyViews

SHARES = (1.0, 0.5, 0.25, 0.125, 0.0625)


def main() -> None:
    """Print both sides."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("study", type=Path)
    parser.add_argument("by_hand", type=Path)
    parser.add_argument("results", type=Path)
    options = parser.parse_args()
    views = StudyViews.open(options.study)
    names = [objective.name for objective in views.front.objectives]
    limits = {name: limit for name in names if (limit := views.front.limits.get(name)) is not None}
    lines = options.results.read_text().splitlines()
    by_hand = [json.loads(line)["values"] for line in lines]
    searched = [{name: trial.value(name) for name in names} for trial in views.complete]
    comparison = Comparison.read(options.by_hand)
    seen = {"searched": sum(trial.images or 0 for trial in (*views.complete, *views.stopped))}
    seen["by hand"] = comparison.images * len(by_hand)
    assert views.front.teacher is not None
    teacher = views.front.teacher.values["size_mb"]
    assert teacher is not None
    print(f"limits: {', '.join(f'{name} {limit:.4g}' for name, limit in limits.items())}")
    for name, found in (("searched", searched), ("by hand", by_hand)):
        print(f"{name}: {len(found)} models, {seen[name]:,} images, hypervolume {volume(found, limits):.4f}")
    print(f"{'size':>10} {'searched':>10} {'by hand':>10}   (best FID within the limits)")
    for share in SHARES:
        within = {**limits, "size_mb": share * teacher}
        print(f"{within['size_mb']:>7.3f} MB {best(searched, within):>10.1f} {best(by_hand, within):>10.1f}")


def volume(found: Sequence[Mapping[str, float]], limits: Mapping[str, float]) -> float:
    """Share of the box from 0 to the limits that is dominated."""
    values_NM = np.array([[values[name] / limit for name, limit in limits.items()] for values in found])
    return hypervolume(values_NM, np.ones(len(limits)))


def best(found: Sequence[Mapping[str, float]], limits: Mapping[str, float]) -> float:
    """The lowest FID that is within all limits; NaN when none is."""
    fitting = [values["fid"] for values in found if all(values[name] <= limit for name, limit in limits.items())]
    return min(fitting, default=float("nan"))


if __name__ == "__main__":
    main()
