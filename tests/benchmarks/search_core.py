"""Full trainings until a front is reached: BudgetEI and Halving beside Optuna's samplers.

Run one of::

    python tests/benchmarks/search_core.py table [--problem compression] [--seeds 5]      # the comparators
    python tests/benchmarks/search_core.py ablation [--problem compression] [--seeds 5]   # what each part buys
    python tests/benchmarks/search_core.py workers [--problem compression] [--seeds 5]    # virtual time
    python tests/benchmarks/search_core.py cost                                           # of a suggestion
    python tests/benchmarks/search_core.py fidelity                                       # how cheap shares rank

The front is that of NSGA-II (population 20, told the limits) at 400 full trainings: the hypervolume of values divided
by their limits, reference 1, median of eleven seeds. For LCBench it is the one in the data's README. "no"
is not reached. Spend counts parts of trainings. LCBench needs onnxruntime and the data (``LCBENCH=<folder>``);
BoTorch's qLogNEHVI takes part where botorch and optuna-integration are installed.
"""

from __future__ import annotations

import argparse
import functools
import math
import resource
import statistics
import time
import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import optuna
from botorch_sampler import IS_INSTALLED, qlognehvi
from optuna.samplers import BaseSampler, GPSampler, NSGAIISampler, RandomSampler, TPESampler
from search_problems import LCBENCH_ERRORS, Problem, blind, compression, lcbench, reversed_looks

from search.front import hypervolume
from search.halving import Halving
from search.samplers.budget_ei import BudgetEI
from search.simulate import SimulatedResult, simulate

LCBENCH_TARGETS = {"lcbench 3945": 0.846, "lcbench 7593": 0.486, "lcbench 34539": 0.780}
SHARES = (1 / 9, 1 / 3, 1.0)
WORKERS = 4
_TIMED = 4
_TARGET_SEEDS = 11


@dataclass(frozen=True, kw_only=True)
class Contestant:
    """A sampler, how it stops trials, and how many full trainings it is given to reach the front."""

    name: str
    sampler: Callable[[int], BaseSampler]
    halving: Callable[[], Halving] | None = None
    budget: float = 200
    is_told_limits: bool = True
    is_told_costs: bool = True


def contestants() -> list[Contestant]:
    """Random is told nothing by nature; the first TPE is Optuna's default."""
    return [
        Contestant(name="random", sampler=lambda seed: RandomSampler(seed=seed)),
        Contestant(name="TPE, default", sampler=lambda seed: TPESampler(seed=seed), is_told_limits=False),
        Contestant(name="TPE, limits", sampler=lambda seed: TPESampler(seed=seed)),
        Contestant(name="NSGA-II 20", sampler=lambda seed: NSGAIISampler(seed=seed, population_size=20), budget=400),
        Contestant(name="NSGA-II 50", sampler=lambda seed: NSGAIISampler(seed=seed, population_size=50), budget=400),
        Contestant(name="GPSampler", sampler=lambda seed: GPSampler(seed=seed), budget=60),
        *([Contestant(name="qLogNEHVI", sampler=qlognehvi, budget=60)] if IS_INSTALLED else []),
        budget_ei("BudgetEI"),
        budget_ei("BudgetEI + Halving", halving=lambda: Halving(shares=SHARES)),
    ]


def ablations() -> list[Contestant]:
    """What each part buys."""
    return [
        budget_ei("BudgetEI"),
        budget_ei("without limits", is_told_limits=False),
        budget_ei("without exact costs", is_told_costs=False),
        Contestant(
            name="TPE + Halving, sort",
            sampler=lambda seed: TPESampler(seed=seed),
            halving=lambda: Halving(shares=SHARES, rule="sort"),
            budget=100,
        ),
        budget_ei("+ Halving", halving=lambda: Halving(shares=SHARES)),
        budget_ei("+ Halving, sort", halving=lambda: Halving(shares=SHARES, rule="sort")),
        budget_ei("+ Halving, keep 1 in 2", halving=lambda: Halving(shares=SHARES, keep=0.5)),
        budget_ei("+ Halving, keep 1 in 3", halving=lambda: Halving(shares=SHARES, keep=1 / 3)),
    ]


def budget_ei(name: str, **options: Any) -> Contestant:
    """BudgetEI under this name; ``simulate`` tells it costs, limits and knobs."""
    return Contestant(name=name, sampler=lambda seed: BudgetEI(seed=seed), **{"budget": 80, **options})


def reached(
    contestant: Contestant, problem: Problem, target: float, *, seed: int, workers: int = WORKERS
) -> tuple[float, float, float]:
    """Spend and virtual time at which the front is reached (infinite: not), and the hypervolume at the end."""
    points: list[list[float]] = []
    volume = 0.0
    names = list(problem.limits)
    assert set(problem.costs(problem.random(1, seed=0)[0])) < set(names)

    def is_reached(result: SimulatedResult) -> bool:
        nonlocal volume
        point = [result.values[name] / problem.limits[name] for name in names]
        if result.share < 1 or max(point) >= 1:
            return False
        points.append(point)
        volume = hypervolume(points, np.ones(len(names)))
        return volume >= target

    results = simulate(
        problem.distributions,
        problem.evaluate
        if contestant.is_told_costs
        else lambda each, share: problem.evaluate(each, share) | problem.costs(each),
        costs=problem.costs if contestant.is_told_costs else None,
        limits=problem.limits if contestant.is_told_limits else {},
        sampler=contestant.sampler(seed),
        halving=None if contestant.halving is None else contestant.halving(),
        workers=workers,
        budget=contestant.budget,
        seed=seed,
        until=is_reached,
    )
    if volume < target:
        return math.inf, math.inf, volume
    return results[-1].spent, results[-1].finished_at, volume


@functools.cache
def target_of(name: str) -> float:
    """The hypervolume to reach."""
    if name in LCBENCH_TARGETS:
        return LCBENCH_TARGETS[name]
    nsga = Contestant(name="", sampler=lambda seed: NSGAIISampler(seed=seed, population_size=20), budget=400)
    # Problems whose looks alone are others have the same full trainings, and so the same front.
    return statistics.median(reached(nsga, compression(), math.inf, seed=seed)[2] for seed in range(_TARGET_SEEDS))


def table(problems: Sequence[Problem], entrants: Sequence[Contestant], *, seeds: Sequence[int]) -> None:
    """One line per contestant: median spend, all seeds, seconds of CPU for a search."""
    for problem in problems:
        target = target_of(problem.name)
        print(
            f"\n{problem.name}: full trainings to hypervolume {target:.3f}, {WORKERS} workers, {len(seeds)} seeds",
            flush=True,
        )
        for entrant in entrants:
            begun = time.process_time()
            spent = sorted(reached(entrant, problem, target, seed=seed)[0] for seed in seeds)
            seconds = (time.process_time() - begun) / len(seeds)
            median = statistics.median(spent)
            shown = " ".join(written(each) for each in spent)
            limit = f"(of {entrant.budget:.0f})" if median == math.inf else ""
            print(f"{entrant.name:28} {written(median):>6} {limit:9} {seconds:6.1f} s   {shown}", flush=True)


def entrants_of_workers() -> list[Contestant]:
    """Who is compared with 1 to 64 workers."""
    return [
        budget_ei("BudgetEI", budget=200),
        budget_ei("BudgetEI + Halving", halving=lambda: Halving(shares=SHARES), budget=200),
        Contestant(name="GPSampler", sampler=lambda seed: GPSampler(seed=seed), budget=60),
    ]


def workers_table(problems: Sequence[Problem], entrants: Sequence[Contestant], *, seeds: Sequence[int]) -> None:
    """Virtual time to the front, in full trainings."""
    for problem in problems:
        target = target_of(problem.name)
        print(f"\n{problem.name}: time until hypervolume {target:.3f}, unit: one full training", flush=True)
        for entrant in entrants:
            shown = []
            for workers in (1, 4, 16, 64):
                times = [reached(entrant, problem, target, seed=seed, workers=workers)[1] for seed in seeds]
                shown.append(f"{workers}: {written(statistics.median(times))}")
            print(f"{entrant.name:28} {'   '.join(shown)}", flush=True)


def cost_table() -> None:
    """What a suggestion costs as a study grows, 16 knobs and 4 objectives."""
    problem = compression()
    names = list(problem.limits)
    for told in (10, 30, 100, 200, 500, 1000):
        sampler = BudgetEI(costs=problem.costs, limits=problem.limits, distributions=problem.distributions, seed=0)
        study = optuna.create_study(directions=["minimize"] * len(names), sampler=sampler)
        seconds = 0.0
        for number, candidate in enumerate(problem.random(told + _TIMED, seed=1)):
            values = problem.evaluate(candidate, 1.0) | problem.costs(candidate)
            study.add_trial(
                optuna.create_trial(
                    params=candidate,
                    distributions=dict(problem.distributions),
                    values=[values[name] for name in names],
                )
            )
            # Each result is followed by a suggestion, as in a search: the processes are fitted every time.
            if number >= told - 1:
                begun = time.process_time()
                study.ask(dict(problem.distributions))
                seconds += (time.process_time() - begun) / _TIMED if number >= told else 0.0
        memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
        print(f"{told:5} told: {seconds:.2f} s of one core, {memory:.0f} MB in all", flush=True)


def fidelity_table(problems: Sequence[Problem]) -> None:
    """Rank correlation of each share with the full training, over random candidates and over those within limits."""
    for problem in problems:
        candidates = problem.random(1_000, seed=0)
        learned = next(iter(problem.limits))
        final = np.array([problem.evaluate(each, 1.0)[learned] for each in candidates])
        is_within = final <= problem.limits[learned]
        is_within &= [
            all(cost <= problem.limits[name] for name, cost in problem.costs(each).items()) for each in candidates
        ]
        for share in SHARES[:-1]:
            low = np.array([problem.evaluate(each, share)[learned] for each in candidates])
            print(
                f"{problem.name:20} share {share:.2f}: {_spearman(low, final):.2f} over all, "
                f"{_spearman(low[is_within], final[is_within]):.2f} within the limits ({is_within.mean():.0%})"
            )


def _spearman(one: np.ndarray, other: np.ndarray) -> float:
    return float(np.corrcoef(one.argsort().argsort(), other.argsort().argsort())[0, 1])


def written(number: float) -> str:
    """One decimal; "no" for infinity."""
    return "no" if number == math.inf else f"{number:.1f}"


def problems_named(name: str) -> list[Problem]:
    """All whose name begins so."""
    found = [compression(), blind(), reversed_looks()]
    for task in LCBENCH_ERRORS:
        problem = lcbench(task)
        if problem is None:
            print("LCBench is left out: onnxruntime or the data are not there")
            break
        found.append(problem)
    return [problem for problem in found if problem.name.startswith(name)]


def main() -> None:
    """Print one table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=["table", "ablation", "workers", "cost", "fidelity"])
    parser.add_argument("--problem", default="", help="only problems whose name begins so")
    parser.add_argument("--only", default="", help="only contestants whose name contains this")
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--first-seed", type=int, default=0, help="to judge by seeds that nothing was chosen on")
    options = parser.parse_args()
    warnings.simplefilter("ignore")
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    if options.what == "cost":
        return cost_table()
    problems = problems_named(options.problem)
    if options.what == "fidelity":
        return fidelity_table(problems)
    entrants = {"table": contestants, "ablation": ablations, "workers": entrants_of_workers}[options.what]()
    entrants = [entrant for entrant in entrants if options.only in entrant.name]
    seeds = range(options.first_seed, options.first_seed + options.seeds)
    return (workers_table if options.what == "workers" else table)(problems, entrants, seeds=seeds)


if __name__ == "__main__":
    main()
