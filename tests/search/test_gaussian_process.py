"""The Gaussian process: gradients, known answers, mixed knobs and shares."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution
from scipy.optimize import approx_fprime

from search.samplers._gaussian_process import GaussianProcess
from search.samplers._knob_space import KnobSpace
from search.samplers._likelihood import Likelihood

GROUPS = np.array([0, 1, 1])


def observed(count: int = 30, *, seed: int = 0) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Features, shares and values: small shares are 2 above the full ones of the same candidate."""
    generator = np.random.default_rng(seed)
    features = generator.random((count, 3))
    shares = np.where(np.arange(count) % 2, 1.0, 1 / 9)
    values = np.sin(4 * features[:, 0]) + features[:, 1] + 2.0 * (shares < 1)
    return features, shares, values


@pytest.mark.parametrize("related", [True, False])
def test_gradient_is_that_of_finite_differences(related: bool) -> None:
    features, shares, values = observed()
    logs = np.random.default_rng(1).normal(size=8) * 0.5 - 0.5
    likelihood = Likelihood(
        GaussianProcess(
            features_NF=features, shares_N=shares, values_N=values, groups=GROUPS, logs=logs, related=related
        )
    )
    numeric = approx_fprime(logs, lambda point: likelihood(point)[0], 1e-6)
    np.testing.assert_allclose(likelihood(logs)[1], numeric, rtol=1e-3, atol=1e-4)


def test_prediction_is_the_conditional_normal() -> None:
    # Against the formula written out with an explicit inverse and explicit distances.
    features, _, values = observed(12)
    logs = np.log([0.7, 1.3, 0.4, 0.2, 0.9, 0.2, 0.05, 0.1])
    process = GaussianProcess(features_NF=features, shares_N=np.ones(12), values_N=values, groups=GROUPS, logs=logs)
    at = np.random.default_rng(3).random((5, 3))

    def kernel(one: np.ndarray, other: np.ndarray) -> np.ndarray:
        scaled = (one[:, None] - other[None]) / np.array([0.7, 1.3, 1.3])
        distance = np.sqrt(5 * (scaled**2).sum(axis=2))
        lines, others = 2 * one - 1, 2 * other - 1
        parabolas, other_parabolas = (3 * lines**2 - 1) / 2, (3 * others**2 - 1) / 2
        trends = np.array([0.4, 0.2, 0.2])
        trend = (trends * lines) @ others.T + (trends * parabolas) @ other_parabolas.T
        return 0.9 * (1 + distance + distance**2 / 3) * np.exp(-distance) + 1.0 + trend

    inverse = np.linalg.inv(kernel(features, features) + (0.05 + 1e-8) * np.eye(12))
    standard = (values - values.mean()) / values.std()
    mean = values.mean() + values.std() * kernel(at, features) @ inverse @ standard
    variance = np.diag(kernel(at, at)) - np.einsum("ij,jk,ik->i", kernel(at, features), inverse, kernel(at, features))
    np.testing.assert_allclose(process.predict(at)[0], mean, rtol=1e-6)
    np.testing.assert_allclose(process.predict(at)[1], values.std() * np.sqrt(variance), rtol=1e-6)


def test_a_look_moves_the_mean_and_leaves_the_deviation_that_it_says() -> None:
    # Against the same process with the look's value taken as observed: the share of the other half, and a third one.
    features, shares, values = observed(20)
    logs = np.log([0.7, 1.3, 0.4, 0.2, 0.9, 0.2, 0.05, 0.1])
    process = GaussianProcess(features_NF=features, shares_N=shares, values_N=values, groups=GROUPS, logs=logs)
    at = np.random.default_rng(3).random((1, 3))
    for share, moved, left in zip([1 / 9, 1 / 3], *process.looks(at, [1 / 9, 1 / 3]), strict=True):
        means, deviations = [], []
        for value in (0.0, 1.0):
            seen = GaussianProcess(
                features_NF=np.vstack([features, at]),
                shares_N=np.append(shares, share),
                values_N=np.append(values, value),
                groups=GROUPS,
                logs=logs,
            )
            means.append(seen.predict(at)[0])
            deviations.append(seen.predict(at)[1])
        assert left == pytest.approx(deviations[0], rel=1e-6)
        # What is known beforehand is what moves it and what is left, and a step of 1 moves the mean by a part of 1.
        assert np.hypot(moved, left) == pytest.approx(process.predict(at)[1], rel=1e-6)
        assert 0 < float(means[1][0] - means[0][0]) < 1 and moved[0] > 0.02


def test_a_look_tells_nothing_where_only_full_trainings_were_seen() -> None:
    features, _, values = observed(12)
    process = GaussianProcess.fitted(features, values, groups=GROUPS)
    moved, left = process.looks(features[:3] / 2, [1 / 9, 1.0])
    assert (moved == 0).all()
    np.testing.assert_allclose(left, np.tile(process.predict(features[:3] / 2)[1], (2, 1)), rtol=1e-9)


def test_a_look_tells_nothing_where_full_trainings_have_nothing_to_do_with_it() -> None:
    features, shares, values = observed(20)
    logs = np.log([0.7, 1.3, 0.4, 0.2, 0.9, 0.2, 0.05, 0.1])

    def process(values: np.ndarray) -> GaussianProcess:
        return GaussianProcess(
            features_NF=features, shares_N=shares, values_N=values, groups=GROUPS, logs=logs, related=False
        )

    assert (process(values).looks(features[:3] / 2, [1 / 9])[0] == 0).all()
    # Which of the looks were good moves no prediction.
    other = values.copy()
    other[shares < 1] = values[shares < 1][::-1]
    at = np.random.default_rng(3).random((5, 3))
    moved = process(other).predict(at)[0] - process(values).predict(at)[0]
    assert np.ptp(process(values).predict(at)[0]) > 0.5 and np.abs(moved).max() < 0.02


@pytest.mark.parametrize("count", [12, 40])
@pytest.mark.parametrize(
    ("looks", "is_related"),
    [
        (lambda final, noise: final + 2.0, True),
        (lambda final, noise: final + 0.3 * noise, True),
        (lambda final, noise: 1.5 * final + 0.1 * noise, True),
        (lambda final, noise: noise, False),
        (lambda final, noise: 1.0 - 0.8 * final, False),
    ],
)
def test_evidence_says_whether_looks_have_to_do_with_full_trainings(
    count: int, looks: Callable[[np.ndarray, np.ndarray], np.ndarray], is_related: bool
) -> None:
    generator = np.random.default_rng(4)
    features = np.repeat(generator.random((count, 3)), 2, axis=0)
    shares = np.tile([1 / 9, 1.0], count)
    values = np.sin(4 * features[:, 0]) + features[:, 1]
    values[::2] = looks(values[::2], generator.standard_normal(count))

    def evidence(related: bool) -> float:
        return GaussianProcess.fitted(features, values, groups=GROUPS, shares_N=shares, related=related).evidence

    lead = evidence(True) - evidence(False)
    assert (lead > 1) == is_related and (lead < -1) != is_related


def test_small_shares_inform_without_their_offset() -> None:
    # Where only small shares were seen, the prediction is that of a full training, not 2 above it.
    features, shares, values = observed(60)
    process = GaussianProcess.fitted(features, values, groups=GROUPS, shares_N=shares)
    at, _, _ = observed(40, seed=5)
    truth = np.sin(4 * at[:, 0]) + at[:, 1]
    error = process.predict(at)[0] - truth
    assert abs(error.mean()) < 0.1 and error.std() < 0.2
    full = shares == 1
    alone = GaussianProcess.fitted(features[full], values[full], groups=GROUPS)
    assert np.abs(error).mean() < np.abs(alone.predict(at)[0] - truth).mean()


def test_shares_that_say_nothing_do_no_harm() -> None:
    features, shares, values = observed(80)
    blind = np.where(shares < 1, np.random.default_rng(9).normal(size=80), values)
    with_them = GaussianProcess.fitted(features, blind, groups=GROUPS, shares_N=shares)
    full = shares == 1
    without = GaussianProcess.fitted(features[full], values[full], groups=GROUPS)
    at, _, _ = observed(40, seed=5)
    truth = np.sin(4 * at[:, 0]) + at[:, 1]
    # Taken for full trainings they would be off by about 1.
    assert np.abs(with_them.predict(at)[0] - truth).mean() < 2 * np.abs(without.predict(at)[0] - truth).mean() < 0.1


def test_conditioning_lowers_doubt_only_nearby() -> None:
    features, _, values = observed(20)
    process = GaussianProcess.fitted(features, values, groups=GROUPS)
    near, far = np.array([[0.5, 0.5, 0.5]]), np.array([[1.0, 0.0, 0.0]])
    after = process.conditioned(near, process.predict(near)[0])
    assert after.predict(near)[1] < 0.8 * process.predict(near)[1]
    assert 0.8 * process.predict(far)[1] < after.predict(far)[1] <= process.predict(far)[1]


def test_constant_values_do_no_harm() -> None:
    features, _, _ = observed(10)
    process = GaussianProcess.fitted(features, np.full(10, 3.0), groups=GROUPS)
    mean, sd = process.predict(features)
    np.testing.assert_allclose(mean, 3.0)
    assert np.isfinite(sd).all()


def test_rows_and_candidates_are_one_to_one() -> None:
    space = KnobSpace(
        distributions={
            "ratio": FloatDistribution(0.1, 0.7),
            "rate": FloatDistribution(1e-5, 1e-1, log=True),
            "steps": IntDistribution(4, 100, log=True),
            "even": IntDistribution(2, 10, step=2),
            "tenth": FloatDistribution(0.0, 1.0, step=0.1),
            "bits": CategoricalDistribution([32, 8, 4]),
        }
    )
    rows = space.spread(np.random.default_rng(0).random((200, 6)))
    candidates = [space.candidate(row) for row in rows]
    np.testing.assert_allclose(space.rows(candidates), rows, atol=1e-9)
    assert {candidate["even"] for candidate in candidates} == {2, 4, 6, 8, 10}
    assert {candidate["bits"] for candidate in candidates} == {32, 8, 4}
    middle = space.candidate(space.settled(np.full((1, 6), 0.5))[0])
    assert middle["rate"] == pytest.approx(1e-3) and middle["steps"] == 20


def test_absent_knobs_are_understood_and_their_values_ignored() -> None:
    distributions = {"criterion": CategoricalDistribution(["a", "b", "c"]), "threshold": FloatDistribution(0.0, 1.0)}
    seen = [{"criterion": "a", "threshold": 0.3}, {"criterion": "b"}]
    space = KnobSpace.seen(distributions, seen)
    # Nothing was seen under c, so the knob may exist there.
    assert space.conditions == {"threshold": ("criterion", frozenset({0, 2}))}
    rows = space.settled(np.array([[1.0, 0.2], [1.0, 0.9], [0.0, 0.2]]))
    assert space.candidate(rows[0]) == {"criterion": "b"}
    features = space.features(rows)
    np.testing.assert_array_equal(features[0], features[1])
    assert not np.allclose(features[0], features[2])


def test_all_choices_are_equally_far_apart() -> None:
    space = KnobSpace(distributions={"x": CategoricalDistribution(list("abcd")), "y": CategoricalDistribution([1, 2])})
    features = space.features(space.rows([{"x": x, "y": 1} for x in "abcd"]))
    distances = np.linalg.norm(features[:, None] - features[None], axis=2)
    np.testing.assert_allclose(distances[~np.eye(4, dtype=bool)], 1.0)


def test_a_long_history_is_conditioned_on_what_lies_far_apart() -> None:
    generator = np.random.default_rng(0)
    # Most of a long search is in one corner, and says the same again and again.
    features = np.vstack([generator.random((150, 3)), 0.05 * generator.random((1_300, 3))])
    values = np.sin(4 * features[:, 0]) + features[:, 1] + generator.normal(0, 0.01, len(features))
    process = GaussianProcess.fitted(features, values, groups=GROUPS)
    assert len(process.values_N) == 1_000
    kept = {row.tobytes() for row in process.features_NF}
    assert all(row.tobytes() in kept for row in features[:150])
    at = generator.random((200, 3))
    mean, _ = process.predict(at)
    assert np.abs(mean - np.sin(4 * at[:, 0]) - at[:, 1]).max() < 0.1
    again = GaussianProcess.fitted(features, values, groups=GROUPS)
    np.testing.assert_array_equal(again.predict(at)[0], mean)


def test_other_studies_keep_a_part_of_the_bound() -> None:
    features = np.random.default_rng(0).random((1_600, 3))
    studies = np.repeat([0, 1, 2], [1_200, 390, 10])
    process = GaussianProcess.fitted(features, features[:, 0], groups=GROUPS, studies_N=studies)
    assert process.studies_N is not None
    assert np.bincount(process.studies_N > 0).tolist() == [750, 250]
    few = GaussianProcess.fitted(features[900:], features[900:, 0], groups=GROUPS, studies_N=studies[900:])
    np.testing.assert_array_equal(few.features_NF, features[900:])
