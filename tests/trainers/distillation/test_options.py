"""Options of the training stages: each has its effect, and those with a number have just that."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import nn

from tests.trainers.distillation.analytic import ideal
from trainers.distillation._loop import _batch, _Rate, _uniform
from trainers.distillation._precision import Precision
from trainers.distillation._teaching import Teaching
from trainers.distillation.distil import Distil
from trainers.distillation.finetune import Finetune
from trainers.errors import UserError
from trainers.models.diffusion import Diffusion
from trainers.models.fresh import fresh
from trainers.models.networks.guided_unet import GuidedUnet
from trainers.models.networks.unet import Unet
from trainers.models.tracing import spec_of
from trainers.recipe import Recipe
from trainers.run import Run

STUDENT = {"student": {"network": {"unet": {"channels": [8, 8], "norm_groups": 4}}}}
FEATURES = {"weights": {"noise": 1.0, "feature": 1.0}, "extractor": "labels"}


@pytest.mark.parametrize(
    ("stage", "options", "changed"),
    [
        ("distil", {}, {"error_weight": "truncated_snr"}),
        ("distil", {"weights": {"output": 1.0}}, {"error_weight": "snr_plus_one"}),
        ("distil", {}, {"weights": {"block": 1.0}}),
        ("distil", {}, {"weights": {"noise": 1.0, "output": 1.0}}),
        ("distil", FEATURES, {"feature_of": "output"}),
        ("finetune", {}, {"error_weight": "truncated_snr"}),
        ("finetune", {}, {"clip": 0.01}),
        ("finetune", {}, {"warmup_images": 0}),
        ("progressive", {"start": 8}, {"error_weight": "truncated_snr"}),
        ("gradual", {"via": [STUDENT["student"]]}, {"via": [{**STUDENT["student"], "images": 3.0}]}),
    ],
)
def test_no_option_is_without_effect(run: Run, stage: str, options: dict[str, Any], changed: dict[str, Any]) -> None:
    def trained(given: dict[str, Any]) -> str:
        recipe = Recipe.parse([STUDENT, {stage: {"batch": 32, "learning_rate": 1e-3, **given}}])
        return recipe.run(run.up_to(256, None)).fingerprint()

    assert trained(options) != trained({**options, **changed})


@pytest.mark.parametrize(
    ("prediction", "weighting"), [("epsilon", "plain"), ("x", "truncated_snr"), ("v", "truncated_snr")]
)
def test_halving_weights_noise_alike_at_all_timesteps_and_images_by_their_signal(
    run: Run, prediction: str, weighting: str
) -> None:
    """Of predicted noise, weights of the image's error would leave nothing but the last timesteps to learn."""
    run.teacher = replace(
        run.teacher,
        spec=replace(run.teacher.spec, diffusion=Diffusion(prediction=prediction)),  # type: ignore[arg-type]
    )

    def halved(**given: str) -> str:
        recipe = Recipe.parse([{"progressive": {"start": 8, "batch": 32, **given}}])
        return recipe.run(run.up_to(256, None)).fingerprint()

    assert halved() == halved(error_weight=weighting)


@pytest.mark.parametrize("stage", ["distil", "gradual"])
def test_weights_that_leave_nothing_to_learn_are_refused(run: Run, stage: str) -> None:
    with pytest.raises(UserError, match=rf"{stage}\.weights: all are 0, so there is nothing to learn"):
        Recipe.parse([{stage: {"weights": {"noise": 0.0}}}]).plan(run.teacher.spec)


@pytest.mark.parametrize("weights", [{"output": 1.0}, {"feature": 1.0}, {"block": 1.0}])
def test_a_teacher_that_needs_labels_is_refused_beside_a_student_without(weights: dict[str, float]) -> None:
    """By the plan, before anything is trained; between any two of those that learn from each other."""

    unet = Unet(image_size=8, image_channels=1, channels=(8, 8), norm_groups=4, classes=10)

    def planned(stage: str, **options: Any) -> None:
        Recipe.parse([STUDENT, {stage: options}]).plan(spec_of(unet, sampling_steps=4))

    labelled = {"network": {"unet": {"channels": [8, 8], "norm_groups": 4, "classes": 10}}}
    said = "the student learns images without labels"
    planned("distil")
    with pytest.raises(UserError, match=rf"^distil\.weights: {said}"):
        planned("distil", weights=weights)
    with pytest.raises(UserError, match=rf"^gradual\.via: item 0: weights: {said}"):
        planned("gradual", weights=weights, via=[STUDENT["student"]])
    with pytest.raises(UserError, match=rf"^gradual\.weights: {said}"):
        planned("gradual", weights=weights, via=[labelled])


def test_blocks_are_compared_only_where_there_are_some_in_common(run: Run) -> None:
    student = {"student": {"network": {"guided_unet": {"channels": [8, 8], "bottleneck": 8, "heads": 2}}}}
    Recipe.parse([STUDENT, {"distil": {"weights": {"block": 1.0}}}]).plan(run.teacher.spec)
    with pytest.raises(UserError, match=r"^distil\.weights\.block: student and teacher have no block in common"):
        Recipe.parse([student, {"distil": {"weights": {"block": 1.0}}}]).plan(run.teacher.spec)


def test_the_learning_rate_rises_and_falls_as_asked() -> None:
    def rates(decay: str, warmup_images: int) -> list[float]:
        options = Finetune(batch=10, learning_rate=2.0, decay=decay, warmup_images=warmup_images)  # type: ignore[arg-type]
        return [_Rate(options, 100, 180).after(seen) for seen in (100, 120, 140, 160, 170)]

    assert rates("none", 40) == pytest.approx([0.5, 1.5, 2.0, 2.0, 2.0])
    assert rates("linear", 0) == pytest.approx([2.0, 1.5, 1.0, 0.5, 0.25])
    assert rates("cosine", 0) == pytest.approx([2.0, 1 + 0.5**0.5, 1.0, 1 - 0.5**0.5, 2 * math.sin(math.pi / 16) ** 2])


def test_timesteps_of_continuous_time_lie_between_whole_ones() -> None:
    spec = ideal(Diffusion(steps=10), variance=1.0, sampling_steps=1).spec
    between = replace(spec, diffusion=Diffusion(steps=10, time="continuous"))
    whole_B, timestep_B = (_uniform(one)(4000, torch.Generator().manual_seed(0)) for one in (spec, between))
    assert whole_B.dtype == torch.long and whole_B.unique().tolist() == list(range(10))
    assert float((timestep_B % 1 != 0).float().mean()) > 0.99
    assert -1 < float(timestep_B.min()) < -0.95 and 8.95 < float(timestep_B.max()) <= 9
    assert float(timestep_B.mean()) == pytest.approx(4.0, abs=0.2)


def test_labels_are_dropped_in_the_share_that_is_asked_for(run: Run) -> None:
    network = GuidedUnet(image_size=8, image_channels=1, classes=10, channels=(8, 8), bottleneck=8, heads=2, time_dim=8)
    model = fresh(spec_of(network, sampling_steps=4), seed=0, device=run.device)
    batches = [
        _batch(model, run, 0, Finetune(batch=2000, label_dropout=share), _uniform(model.spec)) for share in (0.0, 0.2)
    ]
    labels = [batch.label_B for batch in batches]
    assert labels[0] is not None and labels[1] is not None
    is_dropped_B = labels[1] == -1
    assert float(is_dropped_B.float().mean()) == pytest.approx(0.2, abs=0.03)
    assert torch.equal(labels[0][~is_dropped_B], labels[1][~is_dropped_B]) and int(labels[0].min()) == 0


def test_guidance_is_refused_where_new_weights_never_answer_without_a_label() -> None:
    network = GuidedUnet(image_size=8, image_channels=1, classes=10, channels=(8, 8), bottleneck=8, heads=2, time_dim=8)
    guided = replace(spec_of(network, sampling_steps=4), guidance=3.0)

    def planned(*recipe: Any) -> float:
        return Recipe.parse(list(recipe)).plan(guided).guidance

    dropping = {"label_dropout": 0.1}
    student = {
        "student": {"network": {"guided_unet": {"channels": [8, 8], "bottleneck": 8, "heads": 2, "classes": 10}}}
    }
    assert planned("distil") == planned({"train": dropping}) == planned(student, {"distil": dropping}, "finetune") == 3
    assert planned("train", {"sample": {"guidance": 1}}) == 1
    for recipe in (["train"], [{"finetune": dropping}, "train", "finetune"], [{"train": dropping}, student, "distil"]):
        with pytest.raises(
            UserError, match=r"^(train|student): gives the model new weights.* which guidance leads away"
        ):
            planned(*recipe)


def test_the_scale_of_fp16_goes_on_where_it_stopped_and_an_overflow_is_no_step() -> None:
    weight = nn.Parameter(torch.ones(3))
    optimizer = torch.optim.SGD([weight], lr=1.0)
    precision = Precision("fp16", torch.device("cpu"))
    first = float(precision.kept_state()["loss_scale"][0])
    # Times the scale, this gradient is infinite in float32; the loss itself is not.
    assert precision.step([(weight * 1e37).sum()], optimizer, [weight], clip=1.0) is not None
    assert weight.tolist() == [1, 1, 1]
    assert precision.step([weight.sum()], optimizer, [weight], clip=1.0) is not None
    torch.testing.assert_close(weight.detach(), torch.full((3,), 1 - 3**-0.5))
    kept = precision.kept_state()
    assert kept["loss_scale"].tolist() == [first / 2, 1]
    again = Precision("fp16", torch.device("cpu"))
    again.restore_state(kept)
    assert torch.equal(again.kept_state()["loss_scale"], kept["loss_scale"])


def test_a_gradient_that_no_scale_makes_finite_ends_a_training_in_fp16() -> None:
    weight = nn.Parameter(torch.zeros(3))
    precision, optimizer = Precision("fp16", torch.device("cpu")), torch.optim.SGD([weight], lr=1.0)
    steps = [precision.step([weight.sqrt().sum()], optimizer, [weight], clip=1.0) for _ in range(40)]
    assert steps[0] is not None and steps[-1] is None and weight.tolist() == [0, 0, 0]


@pytest.mark.parametrize("prediction", ["epsilon", "x", "v"])
def test_a_teacher_sees_the_same_image_and_noise_at_its_own_noise_level(run: Run, prediction: str) -> None:
    """Also beside a student whose betas are its own, so that equal times are not equally noisy."""
    theirs = Diffusion(steps=32, prediction=prediction, beta_end=0.3)  # type: ignore[arg-type]
    teacher = ideal(theirs, variance=0.25, sampling_steps=4)
    student = replace(teacher.spec, diffusion=replace(theirs, steps=16))
    batch = _batch(replace(teacher, spec=student), run, 0, Distil(batch=16), _uniform(student))
    teaching = Teaching.of(Distil(), student, teacher, run)
    at_B = 2 * batch.timestep_B + 1
    noisy_BCHW = theirs.noised(batch.image_BCHW, batch.noise_BCHW, at_B)
    answer_BCHW = teacher.predict(noisy_BCHW, at_B)
    if prediction == "v":
        image_BCHW = theirs.image_of(answer_BCHW, noisy_BCHW, at_B)
        answer_BCHW = student.diffusion.prediction_of(image_BCHW, batch.noisy_BCHW, batch.timestep_B)
    torch.testing.assert_close(teaching.answer(batch), answer_BCHW)
