"""Simulation: what is spent, when trainings end, and that halving and the sampler meet in it."""

from __future__ import annotations

import itertools
import math
from typing import Any

import optuna
import pytest
from optuna.distributions import CategoricalDistribution, FloatDistribution

from search.front import hypervolume
from search.halving import Halving
from search.samplers.budget_ei import BudgetEI
from search.simulate import SimulatedResult, simulate

SPACE = {
    **{f"x{index}": FloatDistribution(0.0, 1.0) for index in range(4)},
    "kind": CategoricalDistribution(["plain", "fancy"]),
}
LIMITS = {"loss": 3.0, "size": 3.0}


def trained(candidate: Any, share: float) -> dict[str, float]:
    loss = 0.5 + sum((candidate[f"x{index}"] - 0.9 + 0.1 * index) ** 2 for index in range(4))
    loss *= 1.0 if candidate["kind"] == "fancy" else 1.4
    return {"loss": loss * (1 + 0.3 * (1 + candidate["x0"]) * (share**-0.5 - 1))}


def sized(candidate: Any) -> dict[str, float]:
    return {"size": sum(candidate[f"x{index}"] for index in range(4)) + 0.1}


def run(sampler: optuna.samplers.BaseSampler | None = None, **options: Any) -> list[SimulatedResult]:
    sampler = sampler or optuna.samplers.RandomSampler(seed=0)
    options = {"costs": sized, "limits": LIMITS, "budget": 12} | options
    return simulate(SPACE, options.pop("evaluate", trained), sampler=sampler, **options)


def volume(results: list[SimulatedResult]) -> float:
    points = [[result.values[name] / LIMITS[name] for name in LIMITS] for result in results if result.share == 1]
    return hypervolume(points, [1.0, 1.0])


def test_workers_share_the_time_and_the_budget() -> None:
    for workers, last in ((1, 12.0), (4, 3.0), (16, 1.0)):
        results = run(workers=workers)
        assert len(results) == 12 and results[-1].spent == 12
        assert results[-1].finished_at == last
        assert results[0].values == {**sized(results[0].candidate), **trained(results[0].candidate, 1.0)}


def test_uneven_trainings_end_in_their_order() -> None:
    results = run(workers=3, seconds=lambda candidate: 10 + 50 * candidate["x0"])
    times = [result.finished_at for result in results]
    assert times == sorted(times) and [result.trial for result in results] != sorted(result.trial for result in results)
    first = [result for result in results if result.trial < 3]
    assert all(each.finished_at == pytest.approx(10 + 50 * each.candidate["x0"]) for each in first)


def test_parts_are_paid_once() -> None:
    results = run(BudgetEI(seed=0), halving=Halving(shares=(0.25, 1.0), keep=0.5), workers=2)
    begun = {result.trial for result in results}
    finished = {result.trial for result in results if result.share == 1}
    assert results[-1].spent == pytest.approx(0.25 * len(begun) + 0.75 * len(finished))
    assert 11 < results[-1].spent <= 12 and 0.3 < len(finished) / len(begun) <= 0.5
    by_share = [result.values["loss"] for result in results if result.trial == min(finished)]
    assert len(by_share) == 2 and by_share[0] > by_share[1]


def test_halving_and_the_process_find_more_for_the_same_spend() -> None:
    at_random = volume(run(budget=20, workers=4))
    whole = volume(run(BudgetEI(seed=0, startup_trials=5), budget=20, workers=4))
    stopped = volume(run(BudgetEI(seed=0, startup_trials=5), budget=20, workers=4, halving=Halving(shares=(0.1, 1.0))))
    assert at_random + 0.02 < whole and at_random + 0.02 < stopped


def test_the_same_seed_gives_the_same_search() -> None:
    one = run(BudgetEI(seed=5), halving=Halving(), workers=3, budget=7)
    assert one == run(BudgetEI(seed=5), halving=Halving(), workers=3, budget=7)
    assert one != run(BudgetEI(seed=6), halving=Halving(), workers=3, budget=7)


def test_what_cannot_be_built_costs_nothing() -> None:
    def costs(candidate: Any) -> dict[str, float] | None:
        return {"size": math.nan} if candidate["x0"] > 0.5 else None if candidate["x1"] > 0.5 else sized(candidate)

    for sampler in (optuna.samplers.RandomSampler(seed=0), BudgetEI(seed=0)):
        results = run(sampler, costs=costs)
        assert len(results) == 12
        assert all(result.candidate["x0"] <= 0.5 and result.candidate["x1"] <= 0.5 for result in results)


def test_a_failed_training_is_paid_and_not_taken_further() -> None:
    def evaluate(candidate: Any, share: float) -> dict[str, float]:
        return {"loss": math.nan} if candidate["kind"] == "plain" else trained(candidate, share)

    results = run(BudgetEI(seed=0), evaluate=evaluate, halving=Halving(shares=(0.2, 1.0)), workers=2)
    failed = {result.trial for result in results if math.isnan(result.values["loss"])}
    assert failed and all(result.share == 0.2 for result in results if result.trial in failed)
    late = [result.candidate["kind"] for result in results[-8:]]
    assert late.count("fancy") > 6


@pytest.mark.parametrize("bad", [math.inf, -math.inf])
def test_one_infinite_value_on_the_way_ends_one_trial_and_nothing_else(bad: float) -> None:
    calls = itertools.count(1)

    def evaluate(candidate: Any, share: float) -> dict[str, float]:
        return {"loss": bad} if next(calls) == 4 else trained(candidate, share)

    results = run(BudgetEI(seed=0), evaluate=evaluate, halving=Halving())
    (broken,) = [result.trial for result in results if math.isinf(result.values["loss"])]
    assert [result.share for result in results if result.trial == broken][1:] == []
    assert sum(result.share == 1 for result in results) > 3


@pytest.mark.parametrize("workers", [1, 64, 1000])
def test_any_number_of_workers(workers: int) -> None:
    results = (
        run(budget=1000, workers=workers)
        if workers == 1000
        else run(BudgetEI(seed=0), budget=5 + workers, workers=workers)
    )
    assert results[-1].finished_at == pytest.approx(math.ceil(results[-1].spent / workers))


@pytest.mark.parametrize("sampler", [optuna.samplers.TPESampler, optuna.samplers.NSGAIISampler])
def test_samplers_of_optuna_are_told_the_limits(sampler: Any) -> None:
    tight = {"loss": 3.0, "size": 1.2}
    results = run(sampler(seed=0), limits=tight, budget=120)
    late, early = results[60:], results[:10]
    assert (
        sum(each.values["size"] <= 1.2 for each in late) / 60 > sum(each.values["size"] <= 1.2 for each in early) / 10
    )


def asked(trial: optuna.Trial) -> None:
    if trial.suggest_categorical("kind", ["plain", "fancy"]) == "fancy":
        trial.suggest_float("extra", 0.0, 1.0)


@pytest.mark.parametrize("sampler", [BudgetEI, optuna.samplers.TPESampler, optuna.samplers.NSGAIISampler])
def test_a_knob_that_exists_under_a_choice_is_asked_for_there_alone(sampler: Any) -> None:
    def evaluate(candidate: Any, share: float) -> dict[str, float]:
        return {"loss": 2.0 - candidate.get("extra", 0.0)}

    space = {"kind": SPACE["kind"], "extra": FloatDistribution(0.0, 1.0)}
    results = simulate(
        space, evaluate, costs=None, limits={"loss": 3.0}, sampler=sampler(seed=0), budget=25, workers=2, ask=asked
    )
    kinds = [result.candidate["kind"] for result in results]
    assert len(results) == 25 and set(kinds) == {"plain", "fancy"}
    assert all(("extra" in result.candidate) == (result.candidate["kind"] == "fancy") for result in results)
    if sampler is BudgetEI:
        assert min(result.values["loss"] for result in results) < 1.02


def test_what_cannot_be_built_is_not_trained_when_knobs_are_asked_for_one_by_one() -> None:
    def costs(candidate: Any) -> dict[str, float] | None:
        return {"size": candidate["extra"]} if candidate.get("extra", 0.0) > 0.95 else None

    space = {"kind": SPACE["kind"], "extra": FloatDistribution(0.0, 1.0)}
    results = simulate(
        space,
        lambda candidate, share: {"loss": candidate["extra"]},
        costs=costs,
        limits={"loss": 3.0, "size": 1.0},
        sampler=optuna.samplers.RandomSampler(seed=0),
        budget=6,
        ask=asked,
    )
    assert len(results) == 6 and all(result.candidate["extra"] > 0.95 for result in results)


def test_objectives_in_another_order_are_refused() -> None:
    with pytest.raises(ValueError, match="objectives are size, loss, but here they are loss, size"):
        run(BudgetEI(seed=0, objectives=["size", "loss"]))


def test_many_workers_do_not_spend_the_budget_on_beginnings() -> None:
    for sampler in (BudgetEI(seed=0), optuna.samplers.RandomSampler(seed=0)):
        results = run(sampler, halving=Halving(), workers=64, budget=20)
        assert sum(result.share == 1 for result in results) >= 6
        assert 18 < results[-1].spent <= 20


def test_an_objective_that_nobody_gives_is_told() -> None:
    with pytest.raises(ValueError, match="neither evaluate nor costs gives speed, only size, loss"):
        run(limits={**LIMITS, "speed": 1.0})


def test_a_rule_is_not_used_for_two_searches() -> None:
    halving = Halving()
    run(halving=halving, budget=3)
    with pytest.raises(ValueError, match="Give each search a new one"):
        run(halving=halving, budget=3)


def test_an_infinite_limit_is_none() -> None:
    assert run(limits={**LIMITS, "size": math.inf}, budget=3) == run(limits={"loss": 3.0}, budget=3)
