"""SSIM to the teacher: what it compares, and what it keeps."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch

from objectives import _drawn
from objectives._similarity import similarity
from objectives.ssim import Ssim
from tests.conftest import build
from trainers.cache import Cache
from trainers.models.diffusion_model import DiffusionModel
from trainers.models.sampling import draw_uint8
from trainers.run import Run


def disturbed(model: DiffusionModel, amount: float) -> DiffusionModel:
    net = model.copy_of_net()
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for parameter in net.parameters():
            parameter += amount * torch.randn(parameter.shape, generator=generator)
    return replace(model, net=net)


def test_the_teacher_is_like_itself(tiny: DiffusionModel, run: Run) -> None:
    found = Ssim(samples=20).measure(replace(tiny, net=tiny.copy_of_net()), run)
    assert found.value == pytest.approx(1) and found.stderr == pytest.approx(0, abs=1e-6)
    assert found.by == f"teacher-{tiny.fingerprint()}"


def test_it_falls_with_the_distance_from_the_teacher(tiny: DiffusionModel, run: Run) -> None:
    near, far = (Ssim(samples=40).measure(disturbed(tiny, amount), run).value for amount in (0.002, 0.05))
    assert 1 > near > far + 0.05


def test_is_the_mean_over_pairs_of_the_same_noise(tiny: DiffusionModel, run: Run) -> None:
    model = disturbed(tiny, 0.02)
    found = Ssim(samples=30, seed=4).measure(model, run)
    pair_N = similarity(draw_uint8(model, count=30, seed=4), draw_uint8(tiny, count=30, seed=4))
    assert found.value == pytest.approx(pair_N.mean().item())
    assert found.stderr == pytest.approx(pair_N.std().item() / 30**0.5) and found.samples == 30
    crossed_N = similarity(draw_uint8(model, count=30, seed=4), draw_uint8(tiny, count=30, seed=5))
    assert found.value > crossed_N.mean() + 0.05


def test_teacher_is_drawn_once_for_each_noise_and_number_of_steps(
    tiny: DiffusionModel, run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    drawn: list[int] = []
    draw = draw_uint8

    def counted(model: DiffusionModel, **options) -> torch.Tensor:  # type: ignore[no-untyped-def]
        drawn.append(model.spec.sampling_steps)
        return draw(model, **options)

    monkeypatch.setattr(_drawn, "draw_uint8", counted)
    run = replace(run, cache=Cache(tmp_path), teacher=replace(tiny, net=tiny.copy_of_net()))
    slow = replace(run.teacher, net=run.teacher.copy_of_net(), spec=tiny.spec.with_sampling_steps(6))
    student = replace(disturbed(tiny, 0.1), spec=tiny.spec.with_sampling_steps(2))
    objective = Ssim(samples=10)
    first = objective.measure(student, run)
    assert sorted(drawn) == [2, 4]
    assert objective.measure(disturbed(student, 0.0), run) == first and sorted(drawn) == [2, 2, 4]
    assert objective.measure(student, replace(run, teacher=slow)).by != first.by and sorted(drawn)[-1] == 6
    assert objective.with_noise(3).measure(student, run).value != first.value
    assert drawn.count(4) == 2


def test_another_teacher_is_another_name(tiny: DiffusionModel, run: Run) -> None:
    other = build(tiny.spec.network, seed=1)  # type: ignore[arg-type]
    objective = Ssim(samples=10)
    assert objective.measure(tiny, replace(run, teacher=other)).by != objective.measure(tiny, run).by
