"""The Inception score of classifiers whose answers are known."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from objectives.inception_score import inception_score


def drawn(count: int, *, seed: int, classes: int = 5) -> torch.Tensor:
    return 2 * torch.randn(count, classes, generator=torch.Generator().manual_seed(seed))


def test_a_sure_classifier_of_even_classes_gives_their_number() -> None:
    # As sure as numbers allow, and a sixth class that no image belongs to.
    logit_NC = 2000 * torch.eye(6)[torch.arange(100) % 5]
    score, stderr = inception_score(logit_NC)
    assert score == pytest.approx(5) and stderr == pytest.approx(0, abs=1e-9)


def test_an_undecided_classifier_and_a_single_class_give_1() -> None:
    assert inception_score(torch.zeros(50, 7))[0] == pytest.approx(1)
    assert inception_score(50 * torch.eye(7)[torch.full((50,), 3)])[0] == pytest.approx(1)


def test_uneven_classes_count_by_their_entropy() -> None:
    logit_NC = 100 * torch.eye(3)[torch.tensor([0] * 50 + [1] * 25 + [2] * 25)]
    assert inception_score(logit_NC)[0] == pytest.approx(2**1.5, rel=1e-6)


def test_is_torch_fidelitys_score_of_one_part() -> None:
    from torch_fidelity.metric_isc import KEY_METRIC_ISC_MEAN, isc_features_to_metric

    logit_NC = drawn(200, seed=0)
    expected = isc_features_to_metric(logit_NC, splits=1)[KEY_METRIC_ISC_MEAN]
    assert inception_score(logit_NC)[0] == pytest.approx(expected) and expected > 1.5


def test_stderr_is_the_spread_over_draws() -> None:
    draws = [inception_score(drawn(300, seed=seed)) for seed in range(200)]
    spread = np.std([score for score, _ in draws], ddof=1)
    assert np.mean([stderr for _, stderr in draws]) == pytest.approx(spread, rel=0.2)


@pytest.mark.parametrize("broken", [float("nan"), float("inf")])
def test_logits_that_are_not_finite_are_an_error(broken: float) -> None:
    logit_NC = drawn(20, seed=0)
    logit_NC[3, 2] = broken
    with pytest.raises(FloatingPointError, match="not finite"):
        inception_score(logit_NC)
