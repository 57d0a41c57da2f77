"""What another study's results save, and what they cost when they mislead: full trainings until a front is reached.

    python tests/benchmarks/from_study.py [--seeds 5] [--budget 48] [--no-halving]

The problem is the assumed compression model of ``search_problems``, searched by BudgetEI with four workers. The other
study has spent 24 full trainings on the same knobs with ``related`` data (three times the FID, some knobs of another
weight), on something ``unrelated``, or on the ``opposite`` (what is good here is bad there). The front is the
hypervolume that half of the searches without another study have reached after 20 full trainings.
"""

from __future__ import annotations

import argparse
import math
import statistics
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
from search_problems import Problem, compression

from search.front import hypervolume
from search.halving import Halving
from search.samplers._history import Observation
from search.samplers._knob_space import KnobSpace
from search.samplers.budget_ei import BudgetEI
from search.simulate import SimulatedResult, simulate

SHARES = (1 / 9, 1 / 3, 1.0)
WORKERS = 4
OTHERS_BUDGET = 24
AIM_AFTER = 20.0
PROBLEM = compression()

Evaluate = Callable[[Mapping[str, Any], float], dict[str, float]]


def related(candidate: Mapping[str, Any], share: float) -> dict[str, float]:
    """Another data set: three times the FID, and some knobs matter more or less."""
    change = 0.25 * candidate["ratio.mid"] - 0.15 * candidate["ratio.up_0"]
    change += 0.1 * abs(candidate["weight.feature"] - 0.8) + 0.05 * math.log10(candidate["learning_rate"])
    return {"fid": 3 * PROBLEM.evaluate(candidate, share)["fid"] * math.exp(change)}


def unrelated(candidate: Mapping[str, Any], share: float) -> dict[str, float]:
    """A wave along each knob."""
    space = KnobSpace(distributions=PROBLEM.distributions)
    row = space.rows([candidate])[0] / np.maximum(space.counts, 1)
    weights = np.random.default_rng(7).normal(size=len(row))
    height = weights @ np.sin(3 * row + np.arange(len(row)))
    return {"fid": math.exp(1.5 + 0.5 * height + 0.3 * (share**-0.5 - 1))}


def opposite(candidate: Mapping[str, Any], share: float) -> dict[str, float]:
    """What is good here is bad there."""
    return {"fid": 1000 / PROBLEM.evaluate(candidate, share)["fid"]}


def searched(
    problem: Problem, evaluate: Evaluate, *, seed: int, budget: float, has_halving: bool, others: Any = ()
) -> list[SimulatedResult]:
    return simulate(
        problem.distributions,
        evaluate,
        costs=problem.costs,
        limits=problem.limits,
        sampler=BudgetEI(seed=seed, others=others),
        halving=Halving(shares=SHARES) if has_halving else None,
        workers=WORKERS,
        budget=budget,
    )


def observed(results: Sequence[SimulatedResult]) -> list[Observation]:
    nothing = [math.nan] * (len(PROBLEM.limits) - 1)
    return [
        Observation(candidate=each.candidate, share=each.share, values=(each.values["fid"], *nothing))
        for each in results
    ]


def course(results: Sequence[SimulatedResult]) -> list[tuple[float, float]]:
    """Spent, and the hypervolume then."""
    names, found, points = list(PROBLEM.limits), [], []
    for each in results:
        if each.share >= 1:
            points.append([each.values[name] / PROBLEM.limits[name] for name in names])
            found.append((each.spent, hypervolume(points, [1.0] * len(names))))
    return found


def spent_until(aim: float, found: Sequence[tuple[float, float]]) -> float:
    return next((spent for spent, volume in found if volume >= aim), math.inf)


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--budget", type=int, default=48)
    parser.add_argument("--no-halving", dest="has_halving", action="store_false")
    given = parser.parse_args()
    options = {"budget": given.budget, "has_halving": given.has_halving}
    alone = [course(searched(PROBLEM, PROBLEM.evaluate, seed=seed, **options)) for seed in range(given.seeds)]
    aim = statistics.median(
        max((volume for spent, volume in each if spent <= AIM_AFTER), default=0.0) for each in alone
    )
    needed = statistics.median(spent_until(aim, each) for each in alone)
    print(f"alone: hypervolume {aim:.3f} after {needed:.1f} full trainings")
    for evaluate in (related, unrelated, opposite):
        spent = []
        for seed in range(given.seeds):
            source = searched(PROBLEM, evaluate, seed=seed + 100, budget=OTHERS_BUDGET, has_halving=given.has_halving)
            results = searched(PROBLEM, PROBLEM.evaluate, seed=seed, others=[observed(source)], **options)
            spent.append(spent_until(aim, course(results)))
        middle = statistics.median(spent)
        shown = ", ".join(f"{each:.1f}" for each in spent)
        print(f"{evaluate.__name__}: {middle:.1f} ({middle / needed:.2f} x), by seed {shown}", flush=True)


if __name__ == "__main__":
    main()
