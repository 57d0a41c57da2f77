"""Budget expected improvement against brute force."""

from __future__ import annotations

import numpy as np
import pytest

from search.front import hypervolume
from search.samplers._budget_improvement import Belief, Budgets
from search.samplers._prospect import _rate_C

DRAWS = 4_000


def belief(mean: float, sd: float, *, is_log: bool = False) -> Belief:
    return Belief(mean_C=np.array([mean]), sd_C=np.array([sd]), is_log=is_log)


@pytest.mark.parametrize("is_log", [False, True])
@pytest.mark.parametrize("mean", [-1.0, 0.3, 2.0])
def test_improvement_matches_draws(mean: float, is_log: bool) -> None:
    drawn = mean + 0.6 * np.random.default_rng(0).standard_normal(400_000)
    drawn = np.exp(drawn) if is_log else drawn
    for best in (0.5, 1.0, 4.0):
        expected = np.maximum(best - drawn, 0).mean()
        found = belief(mean, 0.6, is_log=is_log).improvement_CB(np.array([best]))[0, 0]
        assert found == pytest.approx(expected, rel=0.03, abs=2e-3)


def test_no_doubt_and_no_improvement_is_worth_nothing() -> None:
    for is_log in (False, True):
        found = belief(1.0, 0.0, is_log=is_log).improvement_CB(np.array([0.5, 1e-3]))
        np.testing.assert_allclose(found, 0.0, atol=1e-12)


@pytest.mark.parametrize("seed", range(4))
def test_gain_is_the_expected_hypervolume_improvement(seed: int) -> None:
    # One sought objective, one exact cost, one learned cost, against draws and the exact hypervolume.
    generator = np.random.default_rng(seed)
    reference = np.array([2.0, 1.0, 1.5])
    front = generator.random((6, 3)) * reference
    mean, sd, cost, other, other_sd = 0.8, 0.3, 0.4 * generator.random(), 0.6, 0.2
    budgets = Budgets.drawn(front, lowest_M=np.zeros(3), reference_M=reference, seed=seed)
    spent = [belief(cost, 0.0), belief(other, other_sd)]
    found = budgets.gain_C(belief(mean, sd), spent)[0] * 1.0 * 1.5
    drawn = np.column_stack(
        [
            mean + sd * generator.standard_normal(DRAWS),
            np.full(DRAWS, cost),
            other + other_sd * generator.standard_normal(DRAWS),
        ]
    )
    # Both draws end at the ideal point 0 in the learned cost, as the budgets do.
    drawn[:, 2] = np.maximum(drawn[:, 2], 0.0)
    before = hypervolume(front, reference)
    expected = np.mean([hypervolume(np.vstack([front, point]), reference) - before for point in drawn])
    assert found == pytest.approx(expected, rel=0.06, abs=2e-3)


def test_budgets_count_the_hypervolume() -> None:
    front = np.random.default_rng(2).random((8, 4))
    budgets = Budgets.drawn(front, lowest_M=np.zeros(4), reference_M=np.ones(4), seed=0)
    assert np.mean(1.0 - budgets.best_Z) == pytest.approx(hypervolume(front, np.ones(4)), abs=0.01)


def test_a_running_trial_takes_what_it_promises() -> None:
    budgets = Budgets.drawn(np.zeros((0, 2)), lowest_M=np.zeros(2), reference_M=np.ones(2), seed=0)
    sought, spent = belief(0.4, 0.05), [belief(0.3, 0.0)]
    after = budgets.after(np.array([[0.4, 0.3]]))
    assert after.gain_C(sought, spent)[0] < 0.1 * budgets.gain_C(sought, spent)[0]
    # What fits into smaller budgets is left almost whole.
    assert after.gain_C(sought, [belief(0.1, 0.0)])[0] > 0.2 * budgets.gain_C(sought, [belief(0.1, 0.0)])[0]


def test_beyond_the_limit_nothing_is_gained() -> None:
    budgets = Budgets.drawn(np.zeros((0, 2)), lowest_M=np.zeros(2), reference_M=np.ones(2), seed=0)
    assert budgets.gain_C(belief(0.1, 0.1), [belief(1.2, 0.0)])[0] == 0.0


def test_hope_is_the_gain_at_no_cost_and_never_less() -> None:
    generator = np.random.default_rng(4)
    budgets = Budgets.drawn(generator.random((5, 3)), lowest_M=np.zeros(3), reference_M=np.ones(3), seed=1)
    sought = Belief(mean_C=generator.random(20), sd_C=np.full(20, 0.1))
    costs = [Belief(mean_C=generator.random(20), sd_C=np.zeros(20)) for _ in range(2)]
    free = [Belief(mean_C=np.zeros(20), sd_C=np.zeros(20)) for _ in range(2)]
    np.testing.assert_allclose(budgets.hope_C(sought), budgets.gain_C(sought, free), rtol=1e-12)
    assert (budgets.hope_C(sought) >= budgets.gain_C(sought, costs)).all()


def test_a_rate_is_the_price_at_which_a_look_and_its_choice_are_worth_nothing() -> None:
    gain_QC, likely = np.array([[0.0, 0.3], [1.0, 0.3], [4.0, 0.3]]), np.array([0.5, 0.3, 0.2])
    rates = _rate_C(gain_QC, likely, way=0.1, rest=0.9)
    # Going on only with 4 beats going on with 1 as well: 0.2 * (4 - 0.9 r) = 0.1 r.
    assert rates[0] == pytest.approx(0.8 / 0.28)
    # A look that tells nothing is only a part of the way.
    assert rates[1] == pytest.approx(0.3)
