"""Training: it learns, stops and goes on bit for bit, and a diverging loss is named."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from trainers.distillation._loop import Batch, LoopOptions, trained
from trainers.models.diffusion_model import DiffusionModel
from trainers.recipe import Recipe
from trainers.run import Run
from trainers.states import load_state, save_state

RECIPE = [
    {"prune": {"ratio": 0.3, "criterion": "magnitude"}},
    {"distil": {"batch": 32, "weights": {"output": 0.5}, "sampling_steps": 2, "ema": 0.9}},
    {"quantize": {"bits": 8}},
]


def same(left: DiffusionModel, right: DiffusionModel) -> bool:
    states = (left.net.state_dict(), right.net.state_dict())
    return left.spec == right.spec and all(torch.equal(tensor, states[1][name]) for name, tensor in states[0].items())


@pytest.mark.parametrize("through_files", [False, True])
def test_a_resumed_training_matches_an_unbroken_one(run: Run, tmp_path: Path, through_files: bool) -> None:
    unbroken = Recipe.parse(RECIPE).run(run)
    first = run.up_to(96, None)
    interim = Recipe.parse(RECIPE).run(first)
    state = first.kept_state
    assert state is not None and state.images == 96 and interim.spec == unbroken.spec and not same(interim, unbroken)
    if through_files:
        save_state(state, tmp_path)
        state = load_state(tmp_path)
    resumed = Recipe.parse(RECIPE).run(run.up_to(256, state))
    assert same(resumed, unbroken)


def test_a_state_cut_short_leaves_the_older_one_whole(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whichever write the power goes at, what is loaded is one state and not parts of two."""
    recipe, states = Recipe.parse(RECIPE), []
    for images in (96, 160):
        part = run.up_to(images, states[-1] if states else None)
        recipe.run(part)
        states.append(part.kept_state)
    save_state(states[0], tmp_path)
    allowed: list[int] = []
    replace = Path.replace

    def cut(path: Path, target: Path) -> Path:
        if not allowed:
            raise OSError("the power is gone")
        allowed.pop()
        return replace(path, target)

    monkeypatch.setattr(Path, "replace", cut)
    for writes in range(3):
        allowed[:] = range(writes)
        try:
            save_state(states[1], tmp_path)
        except OSError:
            whole = states[0]
        else:
            whole = states[1]
        found = load_state(tmp_path)
        assert found is not None and found.images == whole.images and same(found.model, whole.model)
        assert all(torch.equal(tensor, found.tensors[name]) for name, tensor in whole.tensors.items())


def test_two_training_stages_share_the_budget_and_resume(run: Run) -> None:
    recipe = Recipe.parse([{"train": {"batch": 32, "part": 1}}, {"distil": {"batch": 32, "part": 3}}])
    assert list(recipe.image_spans(256)) == [(0, 64), (64, 256)]
    unbroken = recipe.run(run)
    for stop in (32, 64, 128):
        first = run.up_to(stop, None)
        recipe.run(first)
        assert same(recipe.run(run.up_to(256, first.kept_state)), unbroken), stop


def test_distillation_lowers_the_loss_by_far(run: Run) -> None:
    """A quarter of the first loss: a wrong sign, a frozen net or a constant answer cannot get there."""
    losses: list[float] = []

    def loss(net: torch.nn.Module, batch: Batch) -> torch.Tensor:
        predicted = run.teacher.spec.network.call(net, batch.noisy_BCHW, batch.timestep_B, batch.label_B)
        value = (predicted - batch.noise_BCHW).square().mean()
        losses.append(float(value.detach()))
        return value

    long = run.up_to(128 * 120, None)
    long.budget_images = 128 * 120
    long.stage_name, long.first_image, long.last_image = "train", 0, 128 * 120
    trained(run.teacher, long, loss=loss, options=LoopOptions(batch=128, learning_rate=4e-3))
    assert sum(losses[-10:]) / 10 < 0.35 * losses[0]


def test_training_leaves_the_teacher_as_it_was(run: Run) -> None:
    before = run.teacher.fingerprint()
    Recipe.parse([{"distil": {"batch": 32, "weights": {"output": 1.0}}}]).run(run)
    assert run.teacher.fingerprint() == before


def test_a_loss_that_is_not_a_number_is_named(run: Run) -> None:
    run.stage_name, run.last_image = "distil", 64
    with pytest.raises(FloatingPointError, match="distil: the loss is not finite after 0 images"):
        trained(
            run.teacher,
            run,
            loss=lambda net, batch: next(net.parameters()).sum() * float("nan"),
            options=LoopOptions(batch=32, learning_rate=1e-3),
        )


def test_other_seeds_train_other_students(run: Run) -> None:
    first = Recipe.parse(RECIPE).run(run)
    run.seed = 1
    assert not same(first, Recipe.parse(RECIPE).run(run))
