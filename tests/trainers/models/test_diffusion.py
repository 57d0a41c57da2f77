"""The noise process: schedules, what is predicted, and how they turn into each other."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch

from trainers.models.diffusion import Diffusion

KINDS: list[dict[str, Any]] = [
    {"schedule": schedule, "prediction": prediction}
    for schedule in ("linear", "cosine", "ve")
    for prediction in ("epsilon", "x", "v")
    if (schedule, prediction) != ("ve", "v")
]


def test_linear_schedule_is_that_of_ho_et_al() -> None:
    diffusion = Diffusion()
    beta_T = torch.linspace(1e-4, 0.02, 1000, dtype=torch.float64)
    alpha_bar_T = (1 - beta_T).cumprod(dim=0)
    alpha, sigma = (value.flatten().double() for value in diffusion.alpha_sigma(torch.arange(1000)))
    torch.testing.assert_close(alpha.square(), alpha_bar_T, rtol=1e-5, atol=1e-8)
    torch.testing.assert_close(alpha.square() + sigma.square(), torch.ones(1000, dtype=torch.float64))


def test_cosine_and_exploding_schedules_are_their_formulas() -> None:
    timestep = torch.tensor([-1, 255, 511])
    alpha, sigma = (value.flatten() for value in Diffusion(schedule="cosine", steps=1024).alpha_sigma(timestep))
    torch.testing.assert_close(alpha, torch.tensor([1.0, math.cos(math.pi / 8), math.cos(math.pi / 4)]))
    torch.testing.assert_close(sigma, torch.tensor([0.0, math.sin(math.pi / 8), math.sin(math.pi / 4)]))
    exploding = Diffusion(schedule="ve", noise_scale=25.0)
    alpha, sigma = (value.flatten() for value in exploding.alpha_sigma(torch.tensor([-1, 499, 999])))
    expected = [0.0, math.sqrt((25.0 - 1) / (2 * math.log(25))), math.sqrt((25.0**2 - 1) / (2 * math.log(25)))]
    torch.testing.assert_close(sigma, torch.tensor(expected))
    assert alpha.tolist() == [1, 1, 1] and exploding.noisiest == pytest.approx(expected[-1])


def test_fractional_timesteps_lie_between_whole_ones() -> None:
    for schedule in ("linear", "cosine", "ve"):
        diffusion = Diffusion(schedule=schedule, steps=50)  # type: ignore[arg-type]
        _, sigma = diffusion.alpha_sigma(torch.arange(-1, 49.01, 0.25))
        assert bool((sigma.flatten().diff() >= 0).all()) and torch.isfinite(sigma).all()
        whole = diffusion.alpha_sigma(torch.tensor([7]))[1]
        torch.testing.assert_close(diffusion.alpha_sigma(torch.tensor([7.0]))[1], whole)


@pytest.mark.parametrize("kind", KINDS)
def test_image_noise_and_prediction_turn_into_each_other(kind: dict[str, Any]) -> None:
    diffusion, generator = Diffusion(**kind), torch.Generator().manual_seed(0)
    image, noise = (torch.randn(6, 2, 3, 3, generator=generator) for _ in range(2))
    timestep = torch.tensor([0, 10, 200, 500, 800, 900])
    noisy = diffusion.noised(image, noise, timestep)
    prediction = diffusion.target(image, noise, timestep)
    close = {"atol": 2e-3, "rtol": 1e-3}
    torch.testing.assert_close(diffusion.image_of(prediction, noisy, timestep), image, **close)
    torch.testing.assert_close(diffusion.epsilon_of(prediction, noisy, timestep), noise, **close)
    torch.testing.assert_close(diffusion.prediction_of(image, noisy, timestep), prediction, **close)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("weighting", ["truncated_snr", "snr_plus_one"])
def test_weights_are_of_the_error_of_the_image(kind: dict[str, Any], weighting: Any) -> None:
    """Whatever is predicted, the weighted error is w(lambda) |x - x^|^2 (Salimans and Ho 2022, section 4)."""
    diffusion, generator = Diffusion(**kind), torch.Generator().manual_seed(0)
    image, noise, off = (torch.randn(4, 1, 3, 3, generator=generator) for _ in range(3))
    timestep = torch.tensor([50, 300, 600, 900])
    noisy = diffusion.noised(image, noise, timestep)
    prediction = diffusion.target(image, noise, timestep) + 0.1 * off
    error = (prediction - diffusion.target(image, noise, timestep)).square()
    alpha, sigma = diffusion.alpha_sigma(timestep)
    ratio = (alpha / sigma).square()
    weight = ratio.clamp(min=1) if weighting == "truncated_snr" else ratio + 1
    expected = weight * (diffusion.image_of(prediction, noisy, timestep) - image).square()
    torch.testing.assert_close(diffusion.error_weight(weighting, timestep) * error, expected, rtol=2e-2, atol=1e-3)
    assert bool((diffusion.error_weight("plain", timestep) == 1).all())


def test_halving_the_steps_keeps_every_second_timestep() -> None:
    for steps in (1000, 1024, 37):
        diffusion = Diffusion(steps=steps)
        for count in (1, 2, 5, 9, 18):
            twice = diffusion.timesteps(2 * count)
            assert torch.equal(twice[::2], diffusion.timesteps(count))
            assert twice[0] == steps - 1 and bool((twice.diff() < 0).all())


def test_a_shortened_process_is_as_noisy_at_equal_times() -> None:
    for schedule in ("linear", "cosine", "ve"):
        long = Diffusion(schedule=schedule)  # type: ignore[arg-type]
        short = long.shortened(500)
        timestep = torch.arange(0, 500, 25)
        theirs, ours = long.alpha_sigma(2 * timestep + 1)[1], short.alpha_sigma(timestep)[1]
        torch.testing.assert_close(ours, theirs, rtol=0.02, atol=0.002)


def test_velocity_needs_a_process_that_preserves_variance() -> None:
    with pytest.raises(ValueError, match="Use epsilon or x"):
        Diffusion(schedule="ve", prediction="v")
