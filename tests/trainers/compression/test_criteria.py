"""Criteria: what each score is, and that a dead channel goes first."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor
from torch.testing import assert_close

from trainers.compression._importance import importance_of
from trainers.compression._scoring import group_scores
from trainers.compression.channels import coupled_groups
from trainers.compression.criteria.criterion import CRITERIA, Criterion
from trainers.compression.criteria.diff_pruning import DiffPruning
from trainers.compression.criteria.taylor import Taylor
from trainers.models.building import assembled
from trainers.models.diffusion_model import DiffusionModel
from trainers.models.sampling import from_uint8
from trainers.run import Run

WEIGHT = torch.tensor([[3.0, -4.0], [1.0, 1.0], [0.0, 0.0]])
GRADIENT = torch.tensor([[1.0, 1.0], [-2.0, 2.5], [5.0, 5.0]])


def score(criterion: Criterion, weight_CK: Tensor, gradient_CK: Tensor) -> Tensor:
    return criterion.score(weight_CK, gradient_CK, torch.Generator().manual_seed(3))


@pytest.mark.parametrize(
    ("name", "expected"),
    [("magnitude", [5.0, 2**0.5, 0.0]), ("taylor", [1.0, 0.5, 0.0]), ("diff_pruning", [7.0, 4.5, 0.0])],
)
def test_scores_are_those_of_their_formula(name: str, expected: list[float]) -> None:
    assert_close(score(CRITERIA.parse(name), WEIGHT, GRADIENT), torch.tensor(expected))


@pytest.mark.parametrize("name", [name for name in CRITERIA.names() if name != "random"])
def test_scores_follow_their_channel(name: str) -> None:
    order = torch.tensor([2, 0, 1])
    criterion = CRITERIA.parse(name)
    assert_close(score(criterion, WEIGHT[order], GRADIENT[order]), score(criterion, WEIGHT, GRADIENT)[order])


@pytest.mark.parametrize("name", [name for name in CRITERIA.names() if name != "random"])
def test_a_dead_channel_goes_first(name: str, run: Run) -> None:
    spec = run.teacher.spec
    state = {key: tensor.clone() for key, tensor in run.teacher.net.state_dict().items()}
    group = next(group for group in coupled_groups(spec) if group.name == "mid_block.resnets.0.conv1")
    dead = 5
    for member in group.members:
        weight = state[f"{member.layer}.weight"]
        if member.side == "out":
            weight[dead] = 0
            state[f"{member.layer}.bias"][dead] = 0
        else:
            weight[:, dead] = 0
    model = DiffusionModel(net=assembled(spec, state), spec=spec)
    scores = group_scores(model, run, criterion=CRITERIA.parse(name), groups=[group])[group.name]
    assert int(scores.argmin()) == dead


def test_thresholds_keep_timesteps_from_zero_upwards(run: Run) -> None:
    importance = importance_of(run.teacher, run, DiffPruning())
    ratios = importance.loss_G / importance.loss_G.max()
    kept = [importance.kept(threshold) for threshold in (0.0, 0.2, 0.5, 0.9, 0.999)]
    assert kept[0] == len(ratios) and kept == sorted(kept, reverse=True) and kept[-1] >= 1
    assert all((ratios[: importance.kept(threshold)] > threshold).all() for threshold in (0.0, 0.2))


def test_importance_is_that_of_summed_gradients(run: Run) -> None:
    """The slow way: gradients of each timestep kept apart, then Eq. 10 of the paper on their sum."""
    importance = importance_of(run.teacher, run, DiffPruning())
    generator = torch.Generator().manual_seed(0)
    picked_B = torch.randint(len(run.images.train_NCHW), (64,), generator=generator)
    image_BCHW = from_uint8(run.images.train_NCHW[picked_B])
    noise_BCHW = torch.randn(image_BCHW.shape, generator=generator)
    layer = run.teacher.net.get_submodule("mid_block.resnets.0.conv1")
    gradients = []
    for timestep in importance.timestep_G[:7].tolist():
        timestep_B = torch.full((64,), timestep)
        noisy_BCHW = run.teacher.spec.diffusion.noised(image_BCHW, noise_BCHW, timestep_B)
        loss = (run.teacher.predict(noisy_BCHW, timestep_B) - noise_BCHW).square().mean()
        gradients.append(torch.autograd.grad(loss, (layer.weight, layer.bias)))
    weight_grad, bias_grad = (torch.stack(parts).sum(dim=0) for parts in zip(*gradients, strict=True))
    expected = (layer.weight * weight_grad).abs().sum(dim=(1, 2, 3)) + (layer.bias * bias_grad).abs()
    assert_close(importance.score_GC["mid_block.resnets.0.conv1:out"][6], expected.detach(), rtol=1e-4, atol=1e-8)


def test_gradient_criteria_differ_and_are_cached_apart(run: Run) -> None:
    side = "mid_block.resnets.0.conv1:out"
    absolute = importance_of(run.teacher, run, DiffPruning()).scores(0.0)[side]
    signed = importance_of(run.teacher, run, Taylor()).scores(0.0)[side]
    assert (absolute >= signed - 1e-9).all() and not torch.allclose(absolute, signed)
