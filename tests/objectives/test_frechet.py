"""The Frechet distance and its standard error on made-up features whose answers are known."""

from __future__ import annotations

import numpy as np
import pytest

from objectives._frechet import Array, frechet_distance, frechet_stderr, statistics


def drawn(count: int, width: int, *, seed: int, shift: float = 0.0, scale: float = 1.0) -> Array:
    """Features of unequal, correlated directions; one image in five is an outlier, so they are not Gaussian."""
    mixing = np.random.default_rng(0).normal(size=(width, width)) / np.sqrt(width)
    generator = np.random.default_rng(seed)
    feature_NF = generator.normal(size=(count, width)) * np.where(generator.random((count, 1)) < 0.2, 2, 1)
    return scale * feature_NF @ mixing + shift


def test_distance_of_shifted_sets_is_the_squared_shift() -> None:
    feature_NF = drawn(500, 16, seed=1)
    assert frechet_distance(feature_NF + 3, statistics(feature_NF)) == pytest.approx(16 * 9)


def test_distance_of_scaled_set_is_that_of_the_deviations() -> None:
    feature_NF = drawn(500, 16, seed=1)
    centred_NF = feature_NF - feature_NF.mean(axis=0)
    expected = (2 - 1) ** 2 * np.trace(np.cov(feature_NF, rowvar=False))
    assert frechet_distance(2 * centred_NF, statistics(centred_NF)) == pytest.approx(expected)


def test_distance_to_itself_is_never_negative() -> None:
    for seed in range(10):
        feature_NF = drawn(60, 32, seed=seed)
        assert 0 <= frechet_distance(feature_NF, statistics(feature_NF)) < 1e-3


def test_root_is_the_square_root_of_the_covariance() -> None:
    found = statistics(drawn(300, 12, seed=3))
    np.testing.assert_allclose(found.root_FF @ found.root_FF, found.covariance_FF, atol=1e-10)


@pytest.mark.parametrize("broken", [np.nan, np.inf])
def test_features_that_are_not_finite_are_an_error(broken: float) -> None:
    feature_NF = drawn(50, 8, seed=0)
    feature_NF[7, 3] = broken
    with pytest.raises(FloatingPointError, match="not finite"):
        frechet_distance(feature_NF, statistics(drawn(50, 8, seed=1)))


@pytest.mark.parametrize(
    ("count", "width", "shift", "scale"),
    [(1000, 64, 0.0, 1.0), (1000, 64, 0.3, 1.3), (200, 64, 0.1, 1.1), (60, 80, 0.1, 1.0)],
)
def test_stderr_is_within_a_factor_two_of_the_spread_over_draws(
    count: int, width: int, shift: float, scale: float
) -> None:
    reference = statistics(drawn(5000, width, seed=99))
    draws = [drawn(count, width, seed=seed, shift=shift, scale=scale) for seed in range(30)]
    spread = np.std([frechet_distance(feature_NF, reference) for feature_NF in draws], ddof=1)
    stderr = np.mean([frechet_stderr(feature_NF, reference) for feature_NF in draws])
    assert 0.5 < stderr / spread < 2
