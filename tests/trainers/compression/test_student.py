"""A new network in the teacher's place: whose process it has, and how it is drawn."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from trainers.errors import UserError
from trainers.models.arch_spec import ArchSpec
from trainers.models.diffusion import Diffusion
from trainers.models.diffusion_model import DiffusionModel
from trainers.models.networks.guided_unet import GuidedUnet
from trainers.models.networks.unet import Unet
from trainers.models.tracing import spec_of
from trainers.recipe import Recipe

SMALL = {"channels": [8, 8], "norm_groups": 4}


def planned(spec: ArchSpec, *, network: dict[str, object], **options: object) -> ArchSpec:
    return Recipe.parse([{"student": {"network": network, **options}}]).plan(spec)


def test_its_process_is_as_noisy_as_the_teachers_or_has_betas_of_its_own(tiny: DiffusionModel) -> None:
    short, own = (
        planned(tiny.spec, network={"unet": SMALL}, timesteps=250, own_betas=own).diffusion for own in (False, True)
    )
    last = torch.tensor([249])
    teachers = tiny.spec.diffusion.alpha_sigma(torch.tensor([999]))[1]
    torch.testing.assert_close(short.alpha_sigma(last)[1], teachers, atol=1e-3, rtol=0)
    assert (own.steps, own.beta_start, own.beta_end) == (250, 1e-4, 0.02)
    assert float(own.alpha_sigma(last)[1]) < 0.97 < float(teachers)


@pytest.mark.parametrize(
    ("options", "diffusion"), [({}, Diffusion()), ({"timesteps": 250}, Diffusion(schedule="cosine"))]
)
def test_betas_of_its_own_are_refused_where_they_change_nothing(
    tiny: DiffusionModel, options: dict[str, object], diffusion: Diffusion
) -> None:
    with pytest.raises(UserError, match=r"student\.own_betas: changes nothing without timesteps"):
        planned(replace(tiny.spec, diffusion=diffusion), network={"unet": SMALL}, own_betas=True, **options)


@pytest.mark.parametrize(("size", "theirs"), [({"image_channels": 3}, 1), ({"image_size": 16}, 8)])
def test_it_sees_the_images_that_the_teacher_sees(tiny: DiffusionModel, size: dict[str, int], theirs: int) -> None:
    ((name, own),) = size.items()
    said = f"{name} is {own}, the teacher's {theirs}"
    with pytest.raises(UserError, match=rf"student\.network: {said}"):
        planned(tiny.spec, network={"unet": {**SMALL, **size}})
    with pytest.raises(UserError, match=rf"gradual\.via: item 0: {said}"):
        Recipe.parse([{"gradual": {"via": [{"network": {"unet": {**SMALL, **size}}}]}}]).plan(tiny.spec)


def test_what_is_between_must_answer_without_labels_where_they_are_dropped() -> None:
    options = {"channels": (8, 8), "bottleneck": 8, "heads": 2, "time_dim": 16, "classes": 10}
    spec = spec_of(GuidedUnet(image_size=8, image_channels=1, **options), sampling_steps=4)
    via = [{"network": {"unet": {**SMALL, "classes": 10}}}]
    with pytest.raises(UserError, match=r"gradual\.via: item 0: label_dropout: 0\.1 needs a network"):
        Recipe.parse([{"gradual": {"via": via, "label_dropout": 0.1}}]).plan(spec)


def test_what_is_between_goes_from_the_teacher_and_not_from_the_student() -> None:
    """It has the teacher's classes, or none; those of the student say nothing about it."""
    spec = spec_of(Unet(image_size=8, image_channels=1, channels=(8, 8), norm_groups=4, classes=10), sampling_steps=4)
    student = {"student": {"network": {"unet": SMALL}}}
    for classes in (0, 10):
        via = [{"network": {"unet": {**SMALL, "classes": classes}}}]
        Recipe.parse([student, {"gradual": {"via": via}}]).plan(spec)
    with pytest.raises(UserError, match=r"gradual\.via: item 0: classes is 3, expected 10, or 0 for none"):
        via = [{"network": {"unet": {**SMALL, "classes": 3}}}]
        Recipe.parse([student, {"gradual": {"via": via}}]).plan(spec)


def test_guidance_goes_on_only_where_the_student_also_answers_without_labels() -> None:
    teacher = GuidedUnet(
        image_size=8, image_channels=1, classes=10, channels=(8, 8), bottleneck=8, heads=2, time_dim=16
    )
    spec = replace(spec_of(teacher, sampling_steps=4), guidance=3.0)
    labelled = {"guided_unet": {"channels": [8, 8], "bottleneck": 8, "heads": 2, "time_dim": 8, "classes": 10}}
    assert planned(spec, network=labelled).evaluations == 8
    for network in ({"unet": {**SMALL, "classes": 10}}, {"unet": SMALL}):
        made = planned(spec, network=network)
        assert (made.guidance, made.evaluations, made.drawing_mistakes()) == (1.0, 4, [])
