"""Criteria: what each score is, that a dead channel goes first, and that one pass of gradients serves all."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest
import torch
from pydantic import ValidationError
from torch import Tensor
from torch.testing import assert_close

from tests.conftest import build
from trainers.cache import Cache
from trainers.compression import _gradients
from trainers.compression._importance import importance_of
from trainers.compression._mixing import mixed_gradients
from trainers.compression._scoring import group_scores, prepare
from trainers.compression._sides import side_matrix
from trainers.compression.channels import CoupledGroup, coupled_groups
from trainers.compression.criteria.criterion import CRITERIA, Criterion, GradientCriterion
from trainers.compression.criteria.diff_pruning import DiffPruning
from trainers.compression.criteria.magnitude import Magnitude
from trainers.compression.criteria.mixed import Mixed
from trainers.compression.criteria.taylor import Taylor
from trainers.data.pixels import from_uint8
from trainers.errors import UserError
from trainers.models.arch_spec import Layer
from trainers.models.building import assembled
from trainers.models.diffusion_model import DiffusionModel
from trainers.models.networks.unet import Unet
from trainers.recipe import Recipe
from trainers.run import Run

WEIGHT = torch.tensor([[3.0, -4.0], [1.0, 1.0], [0.0, 0.0]])
GRADIENT = torch.tensor([[1.0, 1.0], [-2.0, 2.5], [5.0, 5.0]])
INNER = "mid_block.resnets.0.conv1"
"""A group with one norm; its layers are conv1, its time embedding, norm2 and conv2."""


def score(criterion: Criterion, weight_CK: Tensor, gradient_CK: Tensor) -> Tensor:
    return criterion.score(weight_CK, gradient_CK, torch.Generator().manual_seed(3))


def quick(name: str) -> Criterion:
    """A criterion at its defaults, on few timesteps and images."""
    is_costly = CRITERIA.get(name).needs_gradient
    return CRITERIA.parse({name: {"timesteps": 4, "images": 16} if is_costly else {}})


def group_of(model: DiffusionModel, name: str) -> CoupledGroup:
    return next(group for group in coupled_groups(model.spec) if group.name == name)


def scores_of(model: DiffusionModel, run: Run, criterion: Criterion, name: str = INNER) -> Tensor:
    return group_scores(model, run, criterion=criterion, groups=[group_of(model, name)])[name]


def changed(model: DiffusionModel, **tensors: Tensor) -> DiffusionModel:
    """The model with other values in some tensors; ``__`` stands for a dot in their names."""
    state = {name: tensor.clone() for name, tensor in model.net.state_dict().items()}
    state |= {name.replace("__", "."): tensor for name, tensor in tensors.items()}
    return replace(model, net=assembled(model.spec, state))


def trained_on(model: DiffusionModel) -> DiffusionModel:
    """The model with every weight moved a little, as training would."""
    generator = torch.Generator().manual_seed(5)
    state = model.net.state_dict()
    moved = {name: value + 0.02 * torch.randn(value.shape, generator=generator) for name, value in state.items()}
    return replace(model, net=assembled(model.spec, moved))


def gradients_by_timestep(model: DiffusionModel, run: Run, timesteps: list[int], *, images: int) -> tuple[Tensor, dict]:
    """The slow way: all images at once, the gradients of each timestep kept apart. Losses, and name -> (G, ...)."""
    generator = torch.Generator().manual_seed(0)
    picked_B = torch.randint(len(run.images.train_NCHW), (images,), generator=generator)
    image_BCHW = from_uint8(run.images.train_NCHW[picked_B])
    noise_BCHW = torch.randn(image_BCHW.shape, generator=generator)
    parameters = dict(model.net.named_parameters())
    losses, gradients = [], []
    for timestep in timesteps:
        timestep_B = torch.full((images,), timestep)
        noisy_BCHW = model.spec.diffusion.noised(image_BCHW, noise_BCHW, timestep_B)
        loss = (model.predict(noisy_BCHW, timestep_B) - noise_BCHW).square().mean()
        losses.append(loss.detach())
        gradients.append(torch.autograd.grad(loss, list(parameters.values())))
    stacked = {name: torch.stack(parts) for name, parts in zip(parameters, zip(*gradients, strict=True), strict=True)}
    return torch.stack(losses), stacked


def slow_sums(model: DiffusionModel, run: Run, criterion: GradientCriterion) -> dict[str, Tensor]:
    """Gradients summed over the timesteps that the criterion keeps, in plain loops."""
    grid = torch.linspace(0, model.spec.diffusion.steps - 1, criterion.timesteps).round().long().tolist()
    losses, gradients = gradients_by_timestep(model, run, grid, images=criterion.images)
    kept = 0
    while kept < len(grid) and losses[kept] / max(losses) > criterion.threshold:
        kept += 1
    return {name: stacked[: max(kept, 1)].sum(dim=0) for name, stacked in gradients.items()}


# Formulas.


@pytest.mark.parametrize(
    ("written", "expected"),
    [
        ("magnitude", [5.0, 2**0.5, 0.0]),
        ({"magnitude": {"norm": "l1"}}, [7.0, 2.0, 0.0]),
        ("taylor", [1.0, 0.5, 0.0]),
        ("diff_pruning", [7.0, 4.5, 0.0]),
        ("mixed", [7.0, 4.5, 0.0]),
    ],
)
def test_scores_are_those_of_their_formula(written: object, expected: list[float]) -> None:
    assert_close(score(CRITERIA.parse(written), WEIGHT, GRADIENT), torch.tensor(expected))


@pytest.mark.parametrize("name", [name for name in CRITERIA.names() if name != "random"])
def test_scores_follow_their_channel(name: str) -> None:
    order = torch.tensor([2, 0, 1])
    criterion = CRITERIA.parse(name)
    assert_close(score(criterion, WEIGHT[order], GRADIENT[order]), score(criterion, WEIGHT, GRADIENT)[order])


@pytest.mark.parametrize("name", [name for name in CRITERIA.names() if name != "random"])
def test_a_dead_channel_goes_first(name: str, run: Run) -> None:
    state = {key: tensor.clone() for key, tensor in run.teacher.net.state_dict().items()}
    dead = 5
    for member in group_of(run.teacher, INNER).members:
        weight = state[f"{member.layer}.weight"]
        if member.side == "out":
            weight[dead] = 0
            state[f"{member.layer}.bias"][dead] = 0
        else:
            weight[:, dead] = 0
    model = replace(run.teacher, net=assembled(run.teacher.spec, state))
    assert int(scores_of(model, run, quick(name)).argmin()) == dead


@pytest.mark.parametrize("name", ["magnitude", "random"])
def test_options_of_gradients_are_unknown_where_none_are_read(name: str) -> None:
    with pytest.raises(ValidationError, match="threshold"):
        CRITERIA.parse({name: {"threshold": 0.1}})


@pytest.mark.parametrize("threshold", [-0.1, 1.0, 7])
@pytest.mark.parametrize("name", ["taylor", "diff_pruning", "mixed"])
def test_thresholds_are_shares_of_the_largest_loss(name: str, threshold: float) -> None:
    with pytest.raises(ValidationError, match="threshold"):
        CRITERIA.parse({name: {"threshold": threshold}})


# Rows of channels.


def test_transposed_convolutions_have_their_outputs_on_axis_one() -> None:
    layer = Layer(kind="conv_transpose", inputs=2, outputs=3, kernel=4)
    tensors = {"up.weight": torch.arange(24.0).view(2, 3, 2, 2), "up.bias": torch.tensor([-1.0, -2.0, -3.0])}
    assert side_matrix(tensors, layer, "up", "out").tolist() == [
        [0, 1, 2, 3, 12, 13, 14, 15, -1],
        [4, 5, 6, 7, 16, 17, 18, 19, -2],
        [8, 9, 10, 11, 20, 21, 22, 23, -3],
    ]
    assert side_matrix(tensors, layer, "up", "in").tolist() == [list(range(12)), list(range(12, 24))]


@pytest.mark.parametrize("kind", ["norm", "layer_norm"])
def test_norms_have_a_weight_and_a_bias_per_channel(kind: str) -> None:
    layer = Layer(kind=kind, inputs=2, outputs=2)
    tensors = {"norm.weight": torch.tensor([1.0, 2.0]), "norm.bias": torch.tensor([3.0, 4.0])}
    assert side_matrix(tensors, layer, "norm", "out").tolist() == [[1, 3], [2, 4]]
    assert side_matrix(tensors, layer, "norm", "scale").tolist() == [[1], [2]]
    assert side_matrix(tensors, replace(layer, bias=False), "norm", "out").tolist() == [[1], [2]]


def test_channels_of_an_embedding_are_its_columns() -> None:
    layer = Layer(kind="embedding", inputs=2, outputs=3, bias=False)
    tensors = {"labels.weight": torch.arange(6.0).view(2, 3)}
    assert side_matrix(tensors, layer, "labels", "out").tolist() == [[0, 3], [1, 4], [2, 5]]


# Led by the norm.


def test_a_group_with_a_norm_is_led_by_its_weights_alone(run: Run) -> None:
    gamma = torch.linspace(-3, 2, 16)
    model = changed(run.teacher, mid_block__resnets__0__norm2__weight=gamma)
    expected = gamma.abs() / gamma.abs().mean()
    assert_close(scores_of(model, run, Magnitude(led_by_norm=True)), expected)
    # Neither the norm's biases nor the layers around it count; without the option they do.
    other = changed(
        model,
        mid_block__resnets__0__norm2__bias=torch.linspace(5, 0, 16),
        mid_block__resnets__0__conv1__bias=torch.linspace(0, 5, 16),
    )
    assert_close(scores_of(other, run, Magnitude(led_by_norm=True)), expected)
    assert not torch.allclose(scores_of(other, run, Magnitude()), scores_of(model, run, Magnitude()))


def test_a_width_with_several_norms_adds_them_up(run: Run) -> None:
    state = run.teacher.net.state_dict()
    group = group_of(run.teacher, "conv_in")
    norms = [member for member in group.members if run.teacher.spec.layers[member.layer].is_norm]
    assert len(norms) > 1 and any(member.offset for member in norms)
    expected = torch.zeros(group.width)
    for member in norms:
        gamma = state[f"{member.layer}.weight"][member.offset : member.offset + group.width].abs()
        expected += gamma / gamma.mean()
    for norm in ("l1", "l2"):
        assert_close(scores_of(run.teacher, run, Magnitude(norm=norm, led_by_norm=True), "conv_in"), expected)


def test_gradient_criteria_are_led_by_the_norm_s_change_of_the_loss(run: Run) -> None:
    criterion = DiffPruning(led_by_norm=True, timesteps=3, images=20, threshold=0)
    sums = slow_sums(run.teacher, run, criterion)
    group = group_of(run.teacher, "conv_in")
    expected = torch.zeros(group.width)
    for member in group.members:
        if run.teacher.spec.layers[member.layer].is_norm:
            name = f"{member.layer}.weight"
            change = (run.teacher.net.state_dict()[name] * sums[name]).abs()
            expected += change[member.offset : member.offset + group.width]
    assert_close(scores_of(run.teacher, run, criterion, "conv_in"), expected, rtol=1e-4, atol=1e-7)


@pytest.mark.parametrize("name", [name for name in CRITERIA.names() if name != "random"])
def test_a_group_without_a_norm_is_scored_by_all_its_layers(name: str, run: Run) -> None:
    criterion = quick(name)
    query = "mid_block.attentions.0.to_q"
    as_ever, led = (scores_of(run.teacher, run, replace(criterion, led_by_norm=led), query) for led in (False, True))
    assert torch.equal(as_ever, led) and as_ever.max() > 0


# One pass of gradients.


def test_thresholds_keep_timesteps_from_zero_upwards(run: Run) -> None:
    importance = importance_of(run.teacher, run, DiffPruning(timesteps=20, images=16))
    ratios = importance.loss_G / importance.loss_G.max()
    kept = [importance.kept(threshold) for threshold in (0.0, 0.2, 0.5, 0.9, 0.999)]
    assert kept[0] == len(ratios) and kept == sorted(kept, reverse=True) and kept[-1] >= 1
    assert all((ratios[: importance.kept(threshold)] > threshold).all() for threshold in (0.0, 0.2))


def test_the_first_timestep_at_or_below_the_threshold_ends_the_prefix(run: Run) -> None:
    importance = replace(
        importance_of(run.teacher, run, quick("diff_pruning")),
        loss_G=torch.tensor([4.0, 3.0, 1.0, 2.0, 0.0]),
        score_GC={"layer:out": torch.arange(5.0)[:, None]},
    )
    kept = {threshold: importance.kept(threshold) for threshold in (0.0, 0.2, 0.25, 0.6, 0.75, 0.99)}
    assert kept == {0.0: 4, 0.2: 4, 0.25: 2, 0.6: 2, 0.75: 1, 0.99: 1}
    assert importance.scores(0.6)["layer:out"] == 1
    # Where even the first timestep is below, it still stays: there is no score without a gradient.
    assert replace(importance, loss_G=torch.tensor([1.0, 9.0])).kept(0.5) == 1


@pytest.mark.parametrize("images", [64, 20, 3])
def test_importance_is_that_of_summed_gradients(
    images: int, run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Eq. 10 of Diff-Pruning on gradients of all images at once, whatever the micro-batches were."""
    monkeypatch.setattr(_gradients, "micro_batch", lambda spec: 16)
    run = replace(run, cache=Cache(tmp_path))
    importance = importance_of(run.teacher, run, DiffPruning(timesteps=9, images=images))
    losses, gradients = gradients_by_timestep(run.teacher, run, importance.timestep_G[:7].tolist(), images=images)
    assert_close(importance.loss_G[:7], losses)
    layer = run.teacher.net.get_submodule(INNER)
    weight_grad, bias_grad = (gradients[f"{INNER}.{kind}"].sum(dim=0) for kind in ("weight", "bias"))
    expected = (layer.weight * weight_grad).abs().sum(dim=(1, 2, 3)) + (layer.bias * bias_grad).abs()
    assert_close(importance.score_GC[f"{INNER}:out"][6], expected.detach(), rtol=1e-4, atol=1e-8)


def test_the_grid_ends_at_the_last_timestep_and_is_no_finer_than_the_process(run: Run) -> None:
    assert importance_of(run.teacher, run, Taylor(timesteps=3, images=2)).timestep_G.tolist() == [0, 500, 999]
    short = replace(run.teacher.spec, diffusion=replace(run.teacher.spec.diffusion, steps=4))
    model = replace(run.teacher, spec=short)
    assert importance_of(model, run, Taylor(timesteps=50, images=2)).timestep_G.tolist() == [0, 1, 2, 3]


def test_gradient_criteria_differ_from_the_same_gradients(run: Run) -> None:
    side = f"{INNER}:out"
    absolute, signed = (
        importance_of(run.teacher, run, quick(name)).scores(0.0)[side] for name in ("diff_pruning", "taylor")
    )
    assert (absolute >= signed - 1e-9).all() and not torch.allclose(absolute, signed)


def test_one_pass_serves_every_criterion_threshold_and_trial(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls, call = [], Unet.call

    def counted(self: Unet, *arguments: object) -> Tensor:
        calls.append(1)
        return call(self, *arguments)

    monkeypatch.setattr(Unet, "call", counted)
    monkeypatch.setattr(_gradients, "micro_batch", lambda spec: 16)
    run = replace(run, cache=Cache(tmp_path))
    scores_of(run.teacher, run, Taylor(timesteps=4, images=20))
    # Two micro-batches at each of four timesteps.
    assert len(calls) == 8
    for seed, threshold in enumerate((0.0, 0.3, 0.9)):
        for criterion in (Taylor, DiffPruning):
            for led in (False, True):
                options = criterion(timesteps=4, images=20, threshold=threshold, led_by_norm=led)
                scores_of(run.teacher, replace(run, seed=seed), options)
    # Where the student is the teacher, whatever the shares of their gradients are.
    for threshold in (0.0, 0.3, 0.9):
        diff_pruning = scores_of(run.teacher, run, DiffPruning(timesteps=4, images=20, threshold=threshold))
        for gamma in (None, 0.0, 0.6):
            criterion = Mixed(timesteps=4, images=20, threshold=threshold, gamma=gamma, schedule="fixed")
            assert torch.equal(scores_of(run.teacher, run, criterion), diff_pruning)
    assert len(calls) == 8 and not list(tmp_path.glob("gradients-*"))
    scores_of(run.teacher, run, Taylor(timesteps=5, images=20))
    assert len(calls) == 18


def test_no_seed_of_a_trial_changes_the_scores(run: Run, tmp_path: Path) -> None:
    first, second = (
        importance_of(
            run.teacher, replace(run, seed=seed, cache=Cache(tmp_path / str(seed))), Taylor(timesteps=3, images=5)
        )
        for seed in (0, 1)
    )
    assert all(torch.equal(score_GC, second.score_GC[part]) for part, score_GC in first.score_GC.items())


def test_labels_reach_a_class_conditional_network(run: Run) -> None:
    model = build(Unet(image_size=8, image_channels=1, channels=(8,), norm_groups=4, classes=10))
    importance = importance_of(model, run, DiffPruning(timesteps=2, images=20))
    assert importance.score_GC["class_embedding:out"].min() > 0


@pytest.mark.parametrize(
    "criterion",
    [Taylor(), Mixed(gamma=0.5, schedule="fixed", timesteps=4, images=16), quick("mixed"), Magnitude()],
    ids=["taylor", "mixed", "teacher's gradients", "magnitude"],
)
def test_a_diverged_model_is_not_scored(criterion: Criterion, run: Run) -> None:
    bias = run.teacher.net.state_dict()[f"{INNER}.bias"].clone()
    bias[3] = math.nan
    model = changed(run.teacher, mid_block__resnets__0__conv1__bias=bias)
    with pytest.raises(FloatingPointError, match=r"(timestep 0 is|conv1 are) not finite; it has diverged"):
        scores_of(model, run, criterion)


def test_a_criterion_s_own_options_count(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(CRITERIA, "_pieces", dict(CRITERIA._pieces))

    @CRITERIA.register("power")
    @dataclass(frozen=True, kw_only=True)
    class Power(GradientCriterion):
        """abs(sum_k theta_ik * grad_ik) to some power."""

        power: int = 1

        def score(self, weight_CK: Tensor, gradient_CK: Tensor | None, generator: torch.Generator) -> Tensor:
            return (weight_CK * gradient_CK).sum(dim=1).abs() ** self.power

    options = {"timesteps": 2, "images": 4}
    taylor, first, second = (
        importance_of(run.teacher, run, criterion).scores(0.0)[f"{INNER}:out"]
        for criterion in (Taylor(**options), Power(**options), Power(power=2, **options))
    )
    assert_close(first, taylor)
    assert_close(second, taylor**2)


# Mixed with the teacher.


@pytest.fixture
def student(run: Run) -> DiffusionModel:
    """The teacher with half of its channels, trained on."""
    model = Recipe.parse([{"prune": {"ratio": 0.5, "criterion": "random"}}]).run(run)
    assert len(model.survivors[INNER]) == 8
    return trained_on(model)


def test_mixing_nothing_of_the_teacher_is_diff_pruning_of_the_student(run: Run, student: DiffusionModel) -> None:
    options = {"timesteps": 5, "images": 20, "threshold": 0.3}
    mixed = Mixed(gamma=0, schedule="fixed", **options)
    assert torch.equal(scores_of(student, run, mixed), scores_of(student, run, DiffPruning(**options)))


def test_a_trained_student_leaves_nothing_in_the_cache_of_all_trials(
    run: Run, student: DiffusionModel, tmp_path: Path
) -> None:
    run.cache = Cache(tmp_path)
    for criterion in (quick("diff_pruning"), Mixed(gamma=0, schedule="fixed", timesteps=2, images=4)):
        scores_of(student, run, criterion)
    assert list(tmp_path.iterdir()) == []
    scores_of(student, run, Mixed(gamma=0.5, schedule="fixed", timesteps=2, images=4))
    assert sorted(path.name.split("-")[0] for path in tmp_path.iterdir()) == ["gradients", "losses"]


def test_mixing_nothing_of_the_student_is_diff_pruning_of_the_teacher(run: Run) -> None:
    options = {"timesteps": 5, "images": 20, "threshold": 0.3}
    mixed = Mixed(gamma=1, schedule="fixed", **options)
    for name in (INNER, "conv_in", "mid_block.attentions.0.to_q"):
        expected = scores_of(run.teacher, run, DiffPruning(**options), name)
        assert_close(scores_of(run.teacher, run, mixed, name), expected)
    # The student's weights count, its gradients do not.
    moved = trained_on(run.teacher)
    sums = slow_sums(run.teacher, run, mixed)
    expected = sum_over_inner_group(moved, sums)
    assert_close(scores_of(moved, run, mixed), expected, rtol=1e-4, atol=1e-7)


@pytest.mark.parametrize("gamma", [0.3, 1.0])
def test_mixed_scores_of_a_pruned_student_are_those_of_the_slow_formula(
    gamma: float, run: Run, student: DiffusionModel
) -> None:
    criterion = Mixed(gamma=gamma, schedule="fixed", timesteps=5, images=20, threshold=0.3)
    teacher_sums, student_sums = (slow_sums(model, run, criterion) for model in (run.teacher, student))
    kept = {name: list(channels) for name, channels in student.survivors.items()}
    width_of = {
        (member.layer, member.side): kept[group.name]
        for group in coupled_groups(student.spec)
        for member in group.members
    }
    mixed = {}
    for name, of_student in student_sums.items():
        layer, _, kind = name.rpartition(".")
        if layer.rpartition(".")[0] != "mid_block.resnets.0":
            continue
        of_teacher = teacher_sums[name][width_of[layer, "out"]]
        if kind == "weight" and of_teacher.dim() > 1:
            of_teacher = of_teacher[:, width_of[layer, "in"]]
        mixed[name] = gamma * of_teacher + (1 - gamma) * of_student
    expected = sum_over_inner_group(student, mixed)
    assert_close(scores_of(student, run, criterion), expected, rtol=1e-4, atol=1e-7)


def sum_over_inner_group(model: DiffusionModel, gradients: dict[str, Tensor]) -> Tensor:
    """Eq. 4.2 written out for the one group ``INNER``."""
    block = "mid_block.resnets.0"
    change = {
        name: (tensor * gradients[f"{block}.{name}"]).detach().abs()
        for name, tensor in model.net.get_submodule(block).named_parameters()
    }
    return (
        change["conv1.weight"].sum(dim=(1, 2, 3))
        + change["conv1.bias"]
        + change["time_emb_proj.weight"].sum(dim=1)
        + change["time_emb_proj.bias"]
        + change["norm2.weight"]
        + change["norm2.bias"]
        + change["conv2.weight"].sum(dim=(0, 2, 3))
    )


def test_the_teacher_s_gradients_follow_every_surviving_channel(run: Run, student: DiffusionModel) -> None:
    """Of concatenations, attentions and embeddings too: a teacher whose gradients tell its weights apart."""
    criterion = Mixed(gamma=1, schedule="fixed", timesteps=2, images=4)
    pruned = Recipe.parse([{"prune": {"ratio": 0.5, "criterion": "random"}}]).run(run)
    mixed = mixed_gradients(student, run, criterion)
    sums = slow_sums(run.teacher, run, criterion)
    teacher, left = run.teacher.net.state_dict(), pruned.net.state_dict()
    compared = 0
    for name, gradient in mixed.items():
        # Each weight that is left is found in the teacher by its value; queries are rescaled by pruning.
        if ".to_q." in name or len(teacher[name].unique()) < teacher[name].numel():
            continue
        order = teacher[name].flatten().argsort()
        place = order[torch.searchsorted(teacher[name].flatten()[order], left[name].flatten())]
        assert_close(gradient.flatten(), sums[name].flatten()[place], rtol=1e-3, atol=1e-6)
        compared += 1
    assert compared > 50


def test_two_prunings_are_followed_back_to_the_teacher(run: Run) -> None:
    stages = [
        {"prune": {"ratio": {"*.conv1": 0.5}, "criterion": "random"}},
        {"prune": {"ratio": {"*.conv1": 0.5}, "criterion": {"mixed": {"timesteps": 2, "images": 4, "gamma": 0.5}}}},
    ]
    model = Recipe.parse(stages).run(run)
    assert len(model.survivors[INNER]) == 4
    mixed = mixed_gradients(model, run, Mixed(gamma=1, schedule="fixed", timesteps=2, images=4))
    sums = slow_sums(run.teacher, run, Mixed(timesteps=2, images=4))
    assert_close(mixed[f"{INNER}.bias"], sums[f"{INNER}.bias"][list(model.survivors[INNER])], rtol=1e-3, atol=1e-6)


@pytest.mark.parametrize(
    ("of_teacher", "of_student", "said"),
    [
        ({INNER: (0, 1)}, {}, "lists 2 channels"),
        ({}, {INNER: (0, 1, 2, 900)}, "the other lacks"),
        ({}, {"nowhere": (0, 1)}, "the other lacks"),
    ],
)
def test_a_stranger_s_list_of_survivors_that_cannot_be_is_one_message(
    run: Run, student: DiffusionModel, of_teacher: dict[str, Any], of_student: dict[str, Any], said: str
) -> None:
    lying = replace(run, teacher=replace(run.teacher, survivors={**run.teacher.survivors, **of_teacher}))
    with pytest.raises(UserError, match=said):
        mixed_gradients(
            replace(student, survivors={**student.survivors, **of_student}),
            lying,
            Mixed(gamma=1, schedule="fixed", timesteps=2, images=4),
        )


def test_a_teacher_that_was_pruned_itself_counts_its_own_channels(run: Run, student: DiffusionModel) -> None:
    """Survivors are numbered as in the first teacher, gradients as in the one at hand."""
    criterion = Mixed(gamma=1, schedule="fixed", timesteps=2, images=4)
    run = replace(run, teacher=student)
    again = Recipe.parse([{"prune": {"ratio": {"*.conv1": 0.5}, "criterion": "random"}}]).run(run)
    place = [student.survivors[INNER].index(channel) for channel in again.survivors[INNER]]
    assert len(place) == 4
    sums = slow_sums(student, run, criterion)
    expected = sums[f"{INNER}.bias"][place]
    assert_close(mixed_gradients(again, run, criterion)[f"{INNER}.bias"], expected, rtol=1e-3, atol=1e-6)


def test_queries_of_a_narrower_head_have_the_teachers_importance(run: Run) -> None:
    query = "mid_block.attentions.0.to_q"
    student = Recipe.parse([{"prune": {"ratio": {"*.to_q": 0.5}, "criterion": "magnitude"}}]).run(run)
    criterion = Mixed(gamma=1.0, schedule="fixed", timesteps=4, images=16)
    weight, of_teacher = f"{query}.weight", slow_sums(run.teacher, run, criterion)
    expected = (run.teacher.net.get_parameter(weight) * of_teacher[weight])[list(student.survivors[query])]
    found = student.net.get_parameter(weight) * mixed_gradients(student, run, criterion)[weight]
    assert_close(found, expected, rtol=1e-3, atol=1e-7)


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({}, [1, 0.75, 0.5, 0.25, 0]),
        ({"gamma": 0.8}, [0.8, 0.6, 0.4, 0.2, 0]),
        ({"schedule": "fixed"}, [0.8] * 5),
        ({"schedule": "fixed", "gamma": 0.2}, [0.2] * 5),
        ({"schedule": "exponential"}, [0.8, 0.377893, 0.178504, 0.084319, 0.039830]),
        ({"schedule": "exponential", "gamma": 1.0, "decay": 0.1}, [1, 0.904837, 0.818731, 0.740818, 0.670320]),
    ],
)
def test_schedules_lead_from_the_teacher_to_the_student(options: dict, expected: list[float], run: Run) -> None:
    runs = [replace(run, occurrence=occurrence, occurrences=5) for occurrence in range(5)]
    assert [CRITERIA.parse({"mixed": options}).teacher_share(run) for run in runs] == pytest.approx(expected, abs=1e-6)


def test_a_linear_schedule_of_one_pruning_is_its_beginning(run: Run) -> None:
    assert Mixed(gamma=0.7).teacher_share(replace(run, occurrence=0, occurrences=1)) == 0.7


def test_another_network_is_refused_by_mixed(run: Run) -> None:
    other = build(Unet(image_size=8, image_channels=1, channels=(8,), norm_groups=4))
    with pytest.raises(UserError, match=r"the student is another network.*Use diff_pruning"):
        group_scores(other, run, criterion=Mixed(), groups=coupled_groups(other.spec))


def test_a_student_that_does_not_know_its_channels_is_refused_by_mixed(run: Run, student: DiffusionModel) -> None:
    with pytest.raises(UserError, match=r"other widths than its list of surviving channels.*Use diff_pruning"):
        scores_of(replace(student, survivors={}), run, quick("mixed"))
    with pytest.raises(UserError, match=f"has channels of {INNER} that the other lacks"):
        scores_of(replace(student, survivors={INNER: tuple(range(9, 17))}), run, quick("mixed"))


@pytest.mark.parametrize(
    ("anew", "name"),
    [
        ({"train": {"batch": 32}}, "train"),
        ("train", "train"),
        ({"student": {"network": {"unet": {"channels": [8, 16], "norm_groups": 4}}}}, "student"),
    ],
)
def test_a_student_with_new_weights_in_the_teachers_shape_is_refused_by_mixed(run: Run, anew: Any, name: str) -> None:
    """By the plan, and by its log where only the model is at hand; not where the teacher has no share."""
    prune = {"prune": {"ratio": 0.25, "criterion": {"mixed": {"timesteps": 2, "images": 4}}}}
    with pytest.raises(UserError, match=rf"^prune\.criterion: mixed: the student has new weights since {name}"):
        Recipe.parse([anew, prune]).plan(run.teacher.spec)
    Recipe.parse([prune, anew, prune]).plan(run.teacher.spec)
    Recipe.parse([anew, {"progressive": {"start": 4, "prune": [prune]}}]).plan(run.teacher.spec)
    retrained = replace(run.teacher, log=(*run.teacher.log, {"finetune": {"batch": 32}}, anew))
    with pytest.raises(UserError, match=f"the student has new weights since {name}.*Use diff_pruning"):
        mixed_gradients(retrained, run, quick("mixed"))
    mixed_gradients(retrained, replace(run, teacher=retrained), quick("mixed"))


@pytest.mark.parametrize("criterion", [DiffPruning(timesteps=3, images=4), Mixed(timesteps=3, images=4, gamma=0.5)])
def test_what_is_prepared_is_not_computed_again(
    criterion: GradientCriterion, run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = replace(run, cache=Cache(tmp_path))
    prepare(run, criterion)

    def fail(*arguments: object) -> Tensor:
        raise AssertionError("the network was called again")

    monkeypatch.setattr(Unet, "call", fail)
    assert scores_of(run.teacher, replace(run, seed=9), criterion).max() > 0


def test_micro_batches_shrink_as_the_network_grows(run: Run) -> None:
    def width(layer: Layer) -> int:
        return layer.outputs * layer.positions

    small = run.teacher.spec
    large = small.map_layers(lambda name, layer: replace(layer, positions=1000 * layer.positions))
    assert _gradients.micro_batch(small) > _gradients.micro_batch(large) >= 1
    for spec in (small, large):
        kept = _gradients.micro_batch(spec) * sum(map(width, spec.layers.values()))
        assert 2**26 < kept <= 2**27
