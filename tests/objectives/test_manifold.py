"""Precision and recall on points whose neighbours are known, and against torch-fidelity's."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from objectives._manifold import Array, precision, recall


def points(count: int, *, seed: int, shift: float = 0.0, scale: float = 1.0, width: int = 4) -> Array:
    return np.random.default_rng(seed).normal(size=(count, width)) * scale + shift


def test_equal_sets_reach_each_other_and_distant_ones_do_not() -> None:
    one_NF = points(60, seed=0)
    assert precision(one_NF, one_NF)[0] == 1 == recall(one_NF, one_NF)[0]
    assert precision(one_NF, one_NF + 1000)[0] == 0 == recall(one_NF, one_NF + 1000)[0]


def test_reach_is_the_distance_to_the_third_nearest() -> None:
    real_MF = np.array([[0.0], [1.0], [2.0], [3.0], [100.0]])
    # The third nearest of 0, 1, 2, 3 and 100 are at 3, 2, 2, 3 and 99: only what lies at or above 1 is reached by 100.
    drawn_NF = np.array([[-3.1], [-2.9], [0.9], [199.5], [-50.0]])
    assert precision(drawn_NF, real_MF)[0] == pytest.approx(2 / 5)
    assert recall(drawn_NF, real_MF)[0] == 1.0
    # Those of 0, 1, 2, 3 among the drawn: nothing but 10, 11, 12 and 13, with reach 3, 2, 2 and 3.
    assert recall(np.array([[10.0], [11.0], [12.0], [13.0]]), np.array([[6.9], [7.1], [13.0], [16.1]]))[0] == 0.5


def test_some_modes_alone_are_precise_but_do_not_recall() -> None:
    left_NF, right_NF = points(100, seed=0), points(100, seed=1, shift=50)
    real_MF = np.vstack([left_NF, right_NF])
    drawn_NF = points(200, seed=2, scale=0.7)
    assert precision(drawn_NF, real_MF)[0] > 0.95
    assert recall(drawn_NF, real_MF)[0] < 0.5


def test_is_torch_fidelitys_precision_and_recall() -> None:
    from torch_fidelity.metric_prc import calculate_precision_recall_full

    drawn_NF, real_MF = points(150, seed=0, shift=0.5), points(120, seed=1)
    expected = calculate_precision_recall_full(torch.from_numpy(drawn_NF), torch.from_numpy(real_MF), 3)
    assert (precision(drawn_NF, real_MF)[0], recall(drawn_NF, real_MF)[0]) == pytest.approx(expected)
    assert min(expected) > 0.2 and max(expected) < 0.98 and expected[0] != expected[1]


@pytest.mark.parametrize("judged", [precision, recall])
@pytest.mark.parametrize(("shift", "scale"), [(0.0, 1.0), (0.6, 0.8)])
def test_stderr_is_within_a_factor_two_of_the_spread_over_draws(judged, shift: float, scale: float) -> None:  # type: ignore[no-untyped-def]
    real_MF = points(200, seed=99, width=8)
    draws = [judged(points(200, seed=seed, shift=shift, scale=scale, width=8), real_MF) for seed in range(60)]
    spread = np.std([value for value, _ in draws], ddof=1)
    assert 0.5 < np.mean([stderr for _, stderr in draws]) / spread < 2


def test_no_share_is_certain() -> None:
    one_NF = points(60, seed=0)
    for judged in (precision, recall):
        for other_MF in (one_NF, one_NF + 1000):
            _, stderr = judged(one_NF, other_MF)
            assert 0 < stderr < 0.1


def test_few_images_have_few_neighbours() -> None:
    value, stderr = recall(points(8, seed=0), points(9, seed=1))
    assert 0 <= value <= 1 and math.isfinite(stderr)
