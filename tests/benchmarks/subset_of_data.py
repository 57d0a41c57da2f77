"""What is lost when a Gaussian process is conditioned on 1,000 observations of more, by the rule that chooses them.

Run ``python tests/benchmarks/subset_of_data.py [--observations 1500] [--seeds 5]``. The history is that of a search on
the assumed compression problem: candidates at random at first, then changes of the best, each at a ninth of its
training, half of them at a third too, a quarter in full. Columns: root mean square error of log FID and mean log
density, over candidates like those that a search weighs against each other (changes of the best); by how much the true
FID of the one with the best prediction is worse than the best there is among them; CPU seconds to fit and predict once.
"""

from __future__ import annotations

import argparse
import math
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[2]
sys.path.insert(0, str(ROOT))

import numpy as np  # noqa: E402

from search.samplers import _gaussian_process as gaussian  # noqa: E402
from search.samplers._knob_space import KnobSpace  # noqa: E402
from search.samplers._spread import spread_out  # noqa: E402
from tests.benchmarks.search_problems import compression  # noqa: E402

PROBLEM = compression()
SPACE = KnobSpace(distributions=PROBLEM.distributions)
MOST = 1_000


def changed(rows_ND: np.ndarray, generator: np.random.Generator) -> np.ndarray:
    """Each row with about a third of its knobs drawn anew nearby, or anywhere."""
    fresh = SPACE.spread(generator.random(rows_ND.shape))
    is_new = generator.random(rows_ND.shape) < 0.3
    return np.where(is_new, fresh, rows_ND)


def true(row_D: np.ndarray) -> float:
    return math.log(PROBLEM.evaluate(SPACE.candidate(row_D), 1.0)["fid"])


def history(count: int, seed: int) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Rows, shares and log FID in the order of a search, and rows to be judged."""
    generator = np.random.default_rng(seed)
    rows: list[np.ndarray] = []
    shares: list[float] = []
    values: list[float] = []
    best: list[tuple[float, int]] = []
    trial = 0
    while len(values) < count:
        row = SPACE.spread(generator.random((1, len(PROBLEM.distributions))))
        if trial > 50:
            parent = best[int(generator.integers(min(20, len(best))))][1]
            row = changed(rows[parent][None], generator)
        for share in [1 / 9, *([1 / 3] if trial % 2 else []), *([1.0] if trial % 4 == 1 else [])]:
            rows.append(row[0])
            shares.append(share)
            values.append(math.log(PROBLEM.evaluate(SPACE.candidate(row[0]), share)["fid"]))
        best = sorted([*best, (values[-1] - 2 * (shares[-1] < 1) * 0.1, len(rows) - 1)])[:60]
        trial += 1
    parents = np.array([rows[index] for _, index in best])
    judged = changed(np.repeat(parents, 10, axis=0), generator)
    return np.array(rows)[:count], np.array(shares)[:count], np.array(values)[:count], judged


def evenly(part: np.ndarray, most: int) -> np.ndarray:
    return part[gaussian._evenly(len(part), most)] if most > 0 else part[:0]


def full_first(features: np.ndarray, shares: np.ndarray, values: np.ndarray) -> np.ndarray:
    full, rest = np.flatnonzero(shares >= 1), np.flatnonzero(shares < 1)
    full = evenly(full, MOST)
    return np.concatenate([full, evenly(rest, MOST - len(full))])


def best_half(features: np.ndarray, shares: np.ndarray, values: np.ndarray) -> np.ndarray:
    """The best of each share in proportion, and an even part of the others."""
    best = np.concatenate(
        [
            part[np.argsort(values[part], kind="stable")[: round(MOST / 2 * len(part) / len(values))]]
            for share in np.unique(shares)
            for part in [np.flatnonzero(shares == share)]
        ]
    )
    rest = np.setdiff1d(np.arange(len(values)), best)
    return np.concatenate([best, evenly(rest, MOST - len(best))])


def spread(features: np.ndarray, shares: np.ndarray, values: np.ndarray) -> np.ndarray:
    """Far apart, the share a coordinate too: what the process does by itself."""
    return spread_out(np.column_stack([features, gaussian.lack_of(shares)]), MOST)


RULES: dict[str, Callable[..., np.ndarray]] = {
    "all": lambda features, shares, values: np.arange(len(values)),
    "even": lambda features, shares, values: evenly(np.arange(len(values)), MOST),
    "latest": lambda features, shares, values: np.arange(max(0, len(values) - MOST), len(values)),
    "full first": full_first,
    "best half": best_half,
    "spread": spread,
}


def judged(rule: str, told: tuple[Any, ...]) -> list[float]:
    rows, shares, values, candidates = told
    features = SPACE.features(rows)
    begun = time.process_time()
    part = np.sort(RULES[rule](features, shares, values))
    process = gaussian.GaussianProcess.fitted(features[part], values[part], groups=SPACE.groups, shares_N=shares[part])
    mean, sd = process.predict(SPACE.features(candidates))
    seconds = time.process_time() - begun
    truth = np.array([true(row) for row in candidates])
    density = -0.5 * np.log(2 * np.pi * sd**2) - 0.5 * ((truth - mean) / sd) ** 2
    regret = math.exp(truth[mean.argmin()] - truth.min()) - 1
    return [float(np.sqrt(((truth - mean) ** 2).mean())), float(density.mean()), regret, seconds]


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--observations", type=int, default=1_500)
    parser.add_argument("--seeds", type=int, default=5)
    options = parser.parse_args()
    # All of them, whatever the process itself would leave out.
    gaussian._CONDITION_AT_MOST = 10**9
    told = [history(options.observations, seed) for seed in range(options.seeds)]
    print(f"means of {options.seeds} seeds, {options.observations:,} observations")
    print(f"{'rule':<12}{'rmse':>9}{'density':>9}{'regret':>9}{'CPU s':>8}")
    for rule in RULES:
        rows = np.array([judged(rule, each) for each in told])
        mean = rows.mean(axis=0)
        print(f"{rule:<12}{mean[0]:>9.4f}{mean[1]:>9.3f}{mean[2]:>9.1%}{mean[3]:>8.2f}", flush=True)


if __name__ == "__main__":
    main()
