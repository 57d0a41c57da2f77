"""Candidates that may be tried: neighbours of rows, and costs that are judged instead of asked for."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np
import pytest
from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution

from search.samplers._allowed import Allowed, Problem
from search.samplers._knob_space import KnobSpace

SPACE = KnobSpace(
    distributions={
        "kept": FloatDistribution(0.2, 1.0),
        "steps": IntDistribution(4, 100, log=True),
        "bits": CategoricalDistribution([4, 8, 16, 32]),
        "rate": FloatDistribution(1e-5, 1e-3, log=True),
    }
)


def size(candidate: Mapping[str, Any]) -> dict[str, float]:
    """A product of what the knobs do; the rate costs nothing."""
    return {"mb": candidate["kept"] ** 2 * candidate["bits"], "ms": candidate["kept"] * candidate["steps"]}


def allowed(costs: Any, **options: Any) -> Allowed:
    return Allowed(SPACE, Problem(costs=costs, objectives=["fid", "mb", "ms"], **options), seed=0)


def neighbours(of: Allowed, count: int = 500) -> tuple[np.ndarray, np.ndarray]:
    """Rows, and one near each."""
    generator = np.random.default_rng(1)
    beside = of.pool_ND[generator.integers(len(of.pool_ND), size=count)]
    return beside, of.neighbours(beside, step=0.1, generator=generator)


def test_costs_of_neighbours_are_judged_without_being_asked_for() -> None:
    calls = []

    def counted(candidate: Mapping[str, Any]) -> dict[str, float]:
        calls.append(candidate)
        return size(candidate)

    found = allowed(counted)
    beside, rows = neighbours(found)
    found.costs_NK(found.pool_ND)
    before = len(calls)
    judged = found.estimated_costs_NK(rows, beside)
    assert len(calls) == before
    error = np.abs(np.log(judged / found.costs_NK(rows)))
    unchanged = np.abs(np.log(found.costs_NK(beside) / found.costs_NK(rows)))
    assert len(calls) > before
    # Products have logarithms that are sums: what is left are bends between a line and a parabola.
    assert error.mean() < 0.1 * unchanged.mean() and error.max() < 0.25
    is_free = (rows[:, :3] == beside[:, :3]).all(axis=1)
    assert is_free.sum() > 20
    np.testing.assert_allclose(judged[is_free], found.costs_NK(rows)[is_free], rtol=1e-3)


def test_costs_that_may_be_negative_are_judged_by_their_differences() -> None:
    # A known objective that is maximised has its sign changed.
    found = allowed(
        lambda each: {"mb": 3.0 * each["kept"] - 2.0, "ms": math.log(each["steps"])}, sign={"mb": -1.0, "ms": 1.0}
    )
    beside, rows = neighbours(found)
    np.testing.assert_allclose(
        found.estimated_costs_NK(rows, beside)[:, 0], found.costs_NK(rows)[:, 0], rtol=0, atol=1e-3
    )


def test_candidates_that_cannot_be_built_do_not_spoil_what_is_judged() -> None:
    found = allowed(lambda each: None if each["bits"] == 8 else size(each))
    beside, rows = neighbours(found)
    is_built = np.isfinite(found.costs_NK(rows)).all(axis=1)
    assert 0 < is_built.sum() < len(rows)
    judged = found.estimated_costs_NK(rows, beside)
    assert np.isfinite(judged).all()
    assert np.abs(np.log(judged / found.costs_NK(rows))[is_built]).max() < 0.25


@pytest.mark.parametrize("start", [0.02, 0.98])
def test_ends_are_reached_and_what_lies_beside_them_too(start: float) -> None:
    found = Allowed(KnobSpace(distributions={"ratio": FloatDistribution(0.0, 1.0)}), seed=0)
    rows = np.full((1000, 1), start)
    near = found.neighbours(rows, step=0.03, generator=np.random.default_rng(0))[:, 0]
    end = round(start)
    assert 0.05 < (near == end).mean() < 0.4
    assert ((near != end) & (np.abs(near - end) < 0.02)).mean() > 0.2
