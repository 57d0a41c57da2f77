"""What the results decide of a learned objective's process, and the mark that noise must not set."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
from optuna.distributions import FloatDistribution

from search.samplers._allowed import Allowed
from search.samplers._history import History, Observation
from search.samplers._knob_space import KnobSpace
from search.samplers._learned import learned_from
from search.samplers._prospect import Prospect

ALLOWED = Allowed(KnobSpace(distributions={"x": FloatDistribution(0, 1), "z": FloatDistribution(0, 1)}), seed=0)


def observed(value: Callable[[float, float], float], count: int = 16) -> list[Observation]:
    points = np.random.default_rng(0).random((count, 2))
    return [Observation(candidate={"x": x, "z": z}, share=1.0, values=(value(x, z),)) for x, z in points.tolist()]


@pytest.mark.parametrize(
    ("value", "is_log"),
    [
        # From nearly 0 on the logarithm has a cliff where the value has none.
        (lambda x, z: 0.001 + x**2 + z**2, False),
        (lambda x, z: np.exp(5 * x + 3 * z**2), True),
        (lambda x, z: x - 0.5, False),
    ],
)
def test_results_say_whether_values_or_logarithms_are_foreseen(
    value: Callable[[float, float], float], is_log: bool
) -> None:
    learned = learned_from([observed(value)], ALLOWED, 0, limit=np.nan)
    assert learned.is_log == is_log and learned.odds == 0
    at = np.array([[0.3, 0.6]])
    mean = learned.process.predict(ALLOWED.space.features(at))[0][0]
    assert (np.exp(mean) if is_log else mean) == pytest.approx(value(0.3, 0.6), rel=0.1, abs=0.02)


def test_few_results_do_not_speak_against_logarithms() -> None:
    assert learned_from([observed(lambda x, z: 0.001 + x**2 + z**2, 7)], ALLOWED, 0, limit=np.nan).is_log


@pytest.mark.parametrize(("slope", "is_believed"), [(1.0, True), (0.0, False), (-1.0, False)])
def test_results_say_whether_small_shares_are_believed(slope: float, is_believed: bool) -> None:
    full = observed(lambda x, z: float(np.exp(2 * x + z)))
    generator = np.random.default_rng(5)
    looks = [
        replace(each, share=1 / 9, values=(float(3 * each.values[0] ** slope * np.exp(0.1 * noise)),))
        for each, noise in zip(full, generator.standard_normal(len(full)), strict=True)
    ]
    history = History(observations=(*looks, *full[::2]), running=(), waiting={}, failed=())
    prospect = Prospect.of(history, ALLOWED, known=[], limits_M=np.array([4.0]), seed=0)
    assert (prospect.odds > 2) == is_believed and (prospect.odds < -2) != is_believed
    # Where they are believed it is worth the way to one of them, else not.
    rates_SC = prospect.rates_SC(np.array([[0.02, 0.3]]), reached=0.0, shares=(1 / 9, 1.0))
    assert (rates_SC[0, 0] > 1.2 * rates_SC[1, 0]) == is_believed


@pytest.mark.parametrize("noise", [0.0, 0.3])
def test_a_lucky_measurement_is_not_the_mark_to_beat(noise: float) -> None:
    generator = np.random.default_rng(1)
    seen = observed(lambda x, z: float(np.exp(x + noise * generator.standard_normal())), 40)
    history = History(observations=tuple(seen), running=(), waiting={}, failed=())
    prospect = Prospect.of(history, ALLOWED, known=[], limits_M=np.array([4.0]), seed=0)
    lowest = min(observation.values[0] for observation in seen)
    truth = np.exp(min(observation.candidate["x"] for observation in seen))
    assert prospect.budgets.best_Z[0] == pytest.approx(truth, rel=0.01 + noise / 2)
    assert (prospect.budgets.best_Z[0] > 1.15 * lowest) == (noise > 0)
