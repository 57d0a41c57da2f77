"""Samplers against Gaussian images, whose best denoiser is known; guidance and what cannot be drawn."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import pytest
import torch
from torch import Tensor

from trainers.errors import UserError
from trainers.models.arch_spec import ArchSpec
from trainers.models.diffusion import Diffusion
from trainers.models.diffusion_model import DiffusionModel
from trainers.models.fresh import fresh
from trainers.models.networks.guided_unet import GuidedUnet
from trainers.models.samplers.ddim import Ddim, scheduler_of
from trainers.models.samplers.sampler import SAMPLERS, Sampler
from trainers.models.sampling import draw
from trainers.models.tracing import spec_of
from trainers.recipe import Recipe

if TYPE_CHECKING:
    from trainers.models.samplers.sampler import Predict

COUNT = 20_000
MEAN = torch.tensor([0.1, -0.2, 0.3])
FACTOR = torch.tensor([[0.3, 0.0, 0.0], [0.1, 0.2, 0.0], [-0.1, 0.05, 0.25]])
COVARIANCE = FACTOR @ FACTOR.T
#: Steps, and the largest error of mean and of covariance (relative to its largest entry) after them: DDIM is of first
#: order; those that add the noise of their own steps need more of them, and ancestral sampling is biased by as much as
#: its step variance is too small.
ERRORS = {
    "ddim": (250, 0.01, 0.06),
    "ddpm": (1000, 0.01, 0.05),
    "dpm_solver": (64, 0.01, 0.05),
    "ode": (64, 0.01, 0.04),
    "euler_maruyama": (500, 0.01, 0.04),
    "predictor_corrector": (500, 0.01, 0.06),
}
#: The same error of covariance after 64 steps, by schedule; larger where steps are of first order. The errors measured
#: are a tenth to two fifths below these bounds.
AT_64_STEPS = {
    "ddim": {"linear": 0.16, "cosine": 0.1},
    "ddpm": {"linear": 0.26, "cosine": 0.17},
    "dpm_solver": {"linear": 0.05, "cosine": 0.02},
    "ode": {"linear": 0.02, "cosine": 0.02, "ve": 0.03},
    "euler_maruyama": {"linear": 0.06, "ve": 0.1},
    "predictor_corrector": {"linear": 0.08, "ve": 0.12},
}
#: They ask for the noise alone, whatever is predicted.
SLOW = ("euler_maruyama", "predictor_corrector")


def ideal(diffusion: Diffusion) -> Predict:
    """E[x_0 | x_t] = m + alpha C (alpha^2 C + sigma^2 I)^-1 (x_t - alpha m) for images N(m, C) of three pixels."""

    value_3, vector_33 = torch.linalg.eigh(COVARIANCE.double())

    def predict(noisy_BCHW: Tensor, timestep_B: Tensor) -> Tensor:
        timestep_1 = timestep_B[:1]  # all images are at the same one, and 20,000 square roots take their time
        alpha_11, sigma_11 = (value[:, 0, 0].double() for value in diffusion.alpha_sigma(timestep_1))
        gain_13 = alpha_11 * value_3 / (alpha_11.square() * value_3 + sigma_11.square())
        apart_B3 = noisy_BCHW.flatten(1).double() - alpha_11 * MEAN
        image_B3 = MEAN + apart_B3 @ (vector_33 * gain_13) @ vector_33.T
        return diffusion.prediction_of(image_B3.float().view_as(noisy_BCHW), noisy_BCHW, timestep_1)

    return predict


def drawn(sampler: Sampler, diffusion: Diffusion, steps: int) -> Tensor:
    noise_BCHW = torch.randn(COUNT, 1, 1, 3, generator=torch.Generator().manual_seed(0))
    generator = torch.Generator().manual_seed(1)
    images = sampler.draw(ideal(diffusion), noise_BCHW, diffusion=diffusion, steps=steps, generator=generator)
    return images.flatten(1)


def cases() -> list[tuple[str, str, str]]:
    found = []
    for name, piece in SAMPLERS:
        for schedule in ("linear", "cosine", "ve"):
            for prediction in ("epsilon", "x", "v"):
                if (schedule == "ve" and prediction == "v") or (name in SLOW and prediction != "epsilon"):
                    continue
                diffusion = Diffusion(schedule=schedule, prediction=prediction)  # type: ignore[arg-type]
                if not piece().mistakes(diffusion):
                    found.append((name, schedule, prediction))
    return found


@pytest.mark.parametrize(("name", "schedule", "prediction"), cases())
def test_mean_and_covariance_are_those_of_the_images(name: str, schedule: str, prediction: str) -> None:
    steps, of_mean, of_covariance = ERRORS[name]
    diffusion = Diffusion(schedule=schedule, prediction=prediction)  # type: ignore[arg-type]
    image_N3 = drawn(SAMPLERS.parse(name), diffusion, steps)
    assert float((image_N3.mean(dim=0) - MEAN).abs().max()) < of_mean
    assert float((image_N3.T.cov() - COVARIANCE).abs().max() / COVARIANCE.max()) < of_covariance


@pytest.mark.parametrize(
    ("name", "schedule"), [(name, schedule) for name in AT_64_STEPS for schedule in AT_64_STEPS[name]]
)
def test_covariance_after_64_steps_is_as_near_as_the_order_of_the_sampler_allows(name: str, schedule: str) -> None:
    diffusion = Diffusion(schedule=schedule)  # type: ignore[arg-type]
    covariance_33 = drawn(SAMPLERS.parse(name), diffusion, 64).T.cov()
    error = float((covariance_33 - COVARIANCE).abs().max() / COVARIANCE.max())
    assert error < AT_64_STEPS[name][schedule]


def test_few_steps_are_worse_and_the_higher_order_less_so() -> None:
    diffusion = Diffusion(schedule="cosine", prediction="v", is_clipped=False)

    def error(sampler: str, steps: int) -> float:
        image_N3 = drawn(SAMPLERS.parse(sampler), diffusion, steps)
        return float((image_N3.T.cov() - COVARIANCE).abs().max())

    assert error("ddim", 4) > 2 * error("ddim", 16)
    assert error("ddim", 16) > 2 * error("dpm_solver", 16)


@pytest.mark.parametrize("steps", [1, 6, 10, 32, 61, 100])
@pytest.mark.parametrize("written", ["ddim", "ddpm", {"ddpm": {"variance": "large"}}, "dpm_solver"], ids=str)
def test_any_number_of_steps_ends_at_the_image_without_noise(written: object, steps: int) -> None:
    """Also where it does not divide that of the timesteps."""
    diffusion = Diffusion(steps=100, prediction="x")
    image_BCHW, noise_BCHW = torch.randn(2, 4, 1, 2, 2, generator=torch.Generator().manual_seed(0)).unbind()
    image_BCHW = 0.2 * image_BCHW
    asked: list[int] = []

    def predict(noisy_BCHW: Tensor, timestep_B: Tensor) -> Tensor:
        asked.append(int(timestep_B[0]))
        return image_BCHW

    found_BCHW = SAMPLERS.parse(written).draw(
        predict, noise_BCHW, diffusion=diffusion, steps=steps, generator=torch.Generator().manual_seed(1)
    )
    assert asked == diffusion.timesteps(steps).tolist()
    torch.testing.assert_close(found_BCHW, image_BCHW, atol=1e-4, rtol=0)


@pytest.mark.parametrize("steps", [6, 32, 61])
@pytest.mark.parametrize("name", ["ddim", "dpm_solver"])
def test_images_are_as_noisy_as_the_timestep_they_are_shown_with(name: str, steps: int) -> None:
    diffusion = Diffusion(steps=100, is_clipped=False, beta_end=0.2)
    start_BCHW, image_BCHW = torch.randn(2, 4, 1, 2, 2, generator=torch.Generator().manual_seed(0)).unbind()
    last_B = torch.full((4,), 99)
    alpha, sigma = diffusion.alpha_sigma(last_B)
    noise_BCHW = (start_BCHW - alpha * image_BCHW) / sigma

    def predict(noisy_BCHW: Tensor, timestep_B: Tensor) -> Tensor:
        expected_BCHW = diffusion.noised(image_BCHW, noise_BCHW, timestep_B)
        torch.testing.assert_close(noisy_BCHW, expected_BCHW, atol=1e-3, rtol=0)
        return noise_BCHW

    generator = torch.Generator().manual_seed(1)
    SAMPLERS.parse(name).draw(predict, start_BCHW, diffusion=diffusion, steps=steps, generator=generator)


@pytest.mark.parametrize("eta", [0.0, 1.0])
@pytest.mark.parametrize("prediction", ["epsilon", "x", "v"])
def test_ddim_is_that_of_diffusers_where_the_steps_divide_the_timesteps(prediction: str, eta: float) -> None:
    diffusion = Diffusion(prediction=prediction)  # type: ignore[arg-type]
    noise_BCHW = torch.randn(8, 1, 4, 4, generator=torch.Generator().manual_seed(0))

    def predict(noisy_BCHW: Tensor, timestep_B: Tensor) -> Tensor:
        return (1.3 * noisy_BCHW + timestep_B[:, None, None, None] / 900).tanh()

    ours_BCHW = Ddim(eta=eta).draw(
        predict, noise_BCHW, diffusion=diffusion, steps=50, generator=torch.Generator().manual_seed(1)
    )
    scheduler, generator, theirs_BCHW = scheduler_of(diffusion), torch.Generator().manual_seed(1), noise_BCHW
    scheduler.set_timesteps(50)
    for timestep in scheduler.timesteps:
        answer_BCHW = predict(theirs_BCHW, timestep.expand(8))
        theirs_BCHW = scheduler.step(answer_BCHW, timestep, theirs_BCHW, eta=eta, generator=generator).prev_sample
    torch.testing.assert_close(ours_BCHW, theirs_BCHW, atol=1e-4, rtol=0)


@pytest.mark.parametrize(
    ("sampler", "changed"),
    [
        ("ddim", {"eta": 0.5}),
        ("ddpm", {"variance": "large"}),
        ("dpm_solver", {"order": 1}),
        ("dpm_solver", {"order": 3}),
        ("predictor_corrector", {"snr": 0.1}),
        ("predictor_corrector", {"corrections": 2}),
        ("ode", {"tolerance": 0.01}),
    ],
)
def test_no_option_of_a_sampler_is_without_effect(sampler: str, changed: dict[str, object]) -> None:
    noise_BCHW = torch.randn(16, 1, 1, 3, generator=torch.Generator().manual_seed(0))
    usual_BCHW, other_BCHW = (
        SAMPLERS.parse(written).draw(
            ideal(Diffusion()),
            noise_BCHW,
            diffusion=Diffusion(),
            steps=20,
            generator=torch.Generator().manual_seed(1),
        )
        for written in (sampler, {sampler: changed})
    )
    assert float((usual_BCHW - other_BCHW).abs().max()) > 1e-4


@pytest.mark.parametrize("name", ["ddim", "ddpm", "dpm_solver"])
def test_images_are_clipped_where_the_process_says_so(name: str) -> None:
    def brightest(is_clipped: bool) -> float:
        diffusion = Diffusion(prediction="x", is_clipped=is_clipped)
        noise_BCHW = torch.randn(4, 1, 2, 2, generator=torch.Generator().manual_seed(0))
        images = SAMPLERS.parse(name).draw(
            lambda noisy_BCHW, timestep_B: torch.full_like(noisy_BCHW, 3.0),
            noise_BCHW,
            diffusion=diffusion,
            steps=5,
            generator=torch.Generator().manual_seed(0),
        )
        return float(images.max())

    assert brightest(True) == pytest.approx(1.0, abs=1e-4) and brightest(False) == pytest.approx(3.0, abs=1e-4)


def test_ddim_with_full_noise_is_ancestral() -> None:
    """eta = 1 has the variance of q(x_{t-1} | x_t, x_0), which is DDPM's smaller one."""
    diffusion = Diffusion(is_clipped=False)
    eta = drawn(SAMPLERS.parse({"ddim": {"eta": 1.0}}), diffusion, 50)
    ancestral = drawn(SAMPLERS.parse("ddpm"), diffusion, 50)
    torch.testing.assert_close(eta, ancestral, atol=2e-3, rtol=0)


def test_the_number_of_forward_passes_is_as_said() -> None:
    for name, _ in SAMPLERS:
        sampler, diffusion, seen = SAMPLERS.parse(name), Diffusion(), []
        predict = ideal(diffusion)

        def counted(noisy: Tensor, timestep: Tensor, *, seen: list[int] = seen, predict: Predict = predict) -> Tensor:
            seen.append(1)
            return predict(noisy, timestep)

        noise_BCHW = torch.randn(8, 1, 1, 3, generator=torch.Generator().manual_seed(0))
        generator = torch.Generator().manual_seed(0)
        sampler.draw(counted, noise_BCHW, diffusion=diffusion, steps=12, generator=generator)
        said = sampler.evaluations(12)
        assert len(seen) == said or (name == "ode" and 0.4 * said < len(seen) < 2.5 * said), name


def test_guidance_moves_away_from_the_unlabelled_prediction_and_costs_twice() -> None:
    network = GuidedUnet(
        image_size=8, image_channels=1, classes=10, channels=(8, 8), bottleneck=8, heads=2, time_dim=16, norm_groups=4
    )
    plain = fresh(spec_of(network, sampling_steps=1), seed=0, device=torch.device("cpu"))
    plain = replace(plain, spec=replace(plain.spec, diffusion=Diffusion(is_clipped=False)))
    guided = replace(plain, spec=replace(plain.spec, guidance=3.0))
    assert (plain.spec.evaluations, guided.spec.evaluations) == (1, 2)
    noise_BCHW = torch.randn(5, 1, 8, 8, generator=torch.Generator().manual_seed(0))
    label_B = torch.arange(5)
    labelled, free, moved = (
        draw(model, noise_BCHW, label) for model, label in ((plain, label_B), (plain, None), (guided, label_B))
    )
    # One step is linear in the prediction.
    torch.testing.assert_close(moved, free + 3.0 * (labelled - free), atol=1e-3, rtol=1e-3)
    assert float((moved - labelled).abs().max()) > 0.01


@pytest.mark.parametrize(
    ("stage", "diffusion", "message"),
    [
        ({"sampler": "ddim"}, Diffusion(schedule="ve"), "sample.sampler: ddim: does not draw from the schedule 've'"),
        ({"sampler": "euler_maruyama"}, Diffusion(schedule="cosine"), "sample.sampler: euler_maruyama: the noise of"),
        ({"guidance": 2.0}, Diffusion(), "sample.guidance: 2.0 needs a network that also answers without labels"),
        ({"steps": 50}, Diffusion(steps=20), "sample.steps: 50 is more than the 20 timesteps"),
    ],
)
def test_what_cannot_be_drawn_is_refused_before_training(
    tiny: DiffusionModel, stage: dict[str, object], diffusion: Diffusion, message: str
) -> None:
    with pytest.raises(UserError) as caught:
        Recipe.parse([{"sample": stage}]).plan(replace(tiny.spec, diffusion=diffusion))
    assert message in str(caught.value)


def test_sampler_and_guidance_are_part_of_the_saved_architecture() -> None:
    network = GuidedUnet(
        image_size=8, image_channels=1, channels=(8, 8), bottleneck=8, norm_groups=4, time_dim=8, classes=2
    )
    spec = replace(
        spec_of(network, sampling_steps=4),
        sampler=SAMPLERS.parse({"predictor_corrector": {"snr": 0.1}}),
        guidance=2.5,
        diffusion=Diffusion(schedule="ve", noise_scale=10.0, time="continuous"),
    )
    assert ArchSpec.from_json(spec.to_json()) == spec
