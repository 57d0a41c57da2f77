"""The kernel distance and its standard error on features whose answers are known."""

from __future__ import annotations

import numpy as np
import pytest

from objectives._kernel_distance import Array, Reference, kernel_distance, mean_within

MEAN_F = np.array([0.5, -1.0, 0.2])
SPREAD_FF = np.array([[1.0, 0.3, 0.0], [0.3, 0.8, -0.2], [0.0, -0.2, 1.5]])
OTHER_MEAN_F = np.array([0.1, -0.4, 0.9])
OTHER_SPREAD_FF = 0.7 * np.eye(3)


def gaussian(count: int, mean_F: Array, spread_FF: Array, *, seed: int) -> Array:
    return np.random.default_rng(seed).multivariate_normal(mean_F, spread_FF, size=count)


def reference(feature_NF: Array) -> Reference:
    return Reference(feature_NF, mean_within(feature_NF))


def third_moment(mean_F: Array, spread_FF: Array) -> Array:
    """E[x_i x_j x_k] of a Gaussian."""
    mixed = np.einsum("i,jk->ijk", mean_F, spread_FF)
    return np.einsum("i,j,k->ijk", mean_F, mean_F, mean_F) + mixed + mixed.transpose(1, 0, 2) + mixed.transpose(2, 1, 0)


def expected_kernel(one: tuple[Array, Array], other: tuple[Array, Array]) -> float:
    """E[(x y / 3 + 1)^3] of independent Gaussian x and y."""
    (mean, spread), (other_mean, other_spread) = one, other
    first = mean @ other_mean / 3
    second = np.sum((spread + np.outer(mean, mean)) * (other_spread + np.outer(other_mean, other_mean))) / 9
    third = np.sum(third_moment(mean, spread) * third_moment(other_mean, other_spread)) / 27
    return float(third + 3 * second + 3 * first + 1)


def test_mean_over_draws_is_the_closed_form_of_two_gaussians() -> None:
    one, other = (MEAN_F, SPREAD_FF), (OTHER_MEAN_F, OTHER_SPREAD_FF)
    expected = expected_kernel(one, one) + expected_kernel(other, other) - 2 * expected_kernel(one, other)
    found = [
        kernel_distance(gaussian(40, *one, seed=seed), reference(gaussian(60, *other, seed=1000 + seed)))[0]
        for seed in range(600)
    ]
    # Few samples, so that an estimate with the diagonal in it would be far off.
    assert np.mean(found) == pytest.approx(expected, abs=4 * np.std(found) / np.sqrt(600))
    assert 4 * np.std(found) / np.sqrt(600) < 0.2 * expected


def test_is_torch_fidelitys_distance() -> None:
    from torch_fidelity.metric_kid import kernel_mmd

    one_NF, other_NF = gaussian(80, MEAN_F, SPREAD_FF, seed=0), gaussian(80, OTHER_MEAN_F, OTHER_SPREAD_FF, seed=1)
    assert kernel_distance(one_NF, reference(other_NF))[0] == pytest.approx(kernel_mmd(one_NF, other_NF), rel=1e-10)


def test_many_images_are_taken_in_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    one_NF, other_NF = gaussian(50, MEAN_F, SPREAD_FF, seed=0), gaussian(70, OTHER_MEAN_F, OTHER_SPREAD_FF, seed=1)
    whole = kernel_distance(one_NF, reference(other_NF))
    monkeypatch.setattr("objectives._kernel_distance._ROWS", 7)
    assert kernel_distance(one_NF, reference(other_NF)) == pytest.approx(whole, rel=1e-10)


@pytest.mark.parametrize(("shift", "lowest", "highest"), [(0.0, 1.0, 1.8), (0.3, 0.8, 1.4), (1.0, 0.8, 1.25)])
def test_stderr_is_the_spread_over_draws(shift: float, lowest: float, highest: float) -> None:
    real = reference(gaussian(400, MEAN_F, SPREAD_FF, seed=99))
    draws = [kernel_distance(gaussian(200, MEAN_F + shift, SPREAD_FF, seed=seed), real) for seed in range(200)]
    spread = np.std([value for value, _ in draws], ddof=1)
    assert lowest < np.mean([stderr for _, stderr in draws]) / spread < highest


def test_features_beyond_all_numbers_are_an_error() -> None:
    feature_NF = gaussian(20, MEAN_F, SPREAD_FF, seed=0)
    with pytest.raises(FloatingPointError, match="KID is"), np.errstate(all="ignore"):
        kernel_distance(feature_NF * 1e200, reference(feature_NF))
