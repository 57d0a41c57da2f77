"""A kept training state that is not this training's, or is made up, is refused before anything is trained."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file, save_file
from torch import Tensor

from tests.conftest import build
from trainers.models.networks.unet import Unet
from trainers.recipe import Recipe
from trainers.run import Run, TrainingState, UnfitStateError
from trainers.states import STATE_FILE, load_state, save_state

SMALL = {"unet": {"channels": [8, 8], "norm_groups": 4}}
PRUNE = {"prune": {"ratio": {"mid": 0.4}, "criterion": "magnitude", "rule": "flexible"}}
PLAIN = [PRUNE, {"distil": {"batch": 32, "ema": 0.9}}, {"quantize": {"bits": 8}}]
IN_8_BITS = [{"finetune": {"batch": 32, "optimizer": "adamw_8bit"}}]
IN_16_BITS = [{"quantize": {"bits": 16}}, {"finetune": {"batch": 32, "precision": "fp16"}}]
MASKED = [{"mask": {"ratio": 0.3}}, {"finetune": {"batch": 32}}]
GRADUAL = [{"gradual": {"batch": 32, "via": [{"network": SMALL}]}}]
PROGRESSIVE = [{"progressive": {"batch": 32, "halvings": 2, "start": 8, "prune": [PRUNE], "prune_steps": 2}}]
Change = Callable[[TrainingState], TrainingState]


def kept_of(recipe: list[Any], run: Run) -> TrainingState:
    first = run.up_to(96, None)
    Recipe.parse(recipe).run(first)
    assert first.kept_state is not None
    return first.kept_state


def put(ending: str, change: Callable[[Tensor], Tensor]) -> Change:
    """The first of the tensors whose names end so, changed."""

    def changed(state: TrainingState) -> TrainingState:
        name = next(name for name in state.tensors if name.endswith(ending))
        return replace(state, tensors={**state.tensors, name: change(state.tensors[name])})

    return changed


def without(ending: str) -> Change:
    def changed(state: TrainingState) -> TrainingState:
        dropped = next(name for name in state.tensors if name.endswith(ending))
        return replace(state, tensors={name: each for name, each in state.tensors.items() if name != dropped})

    return changed


def plus(name: str, value: Tensor) -> Change:
    return lambda state: replace(state, tensors={**state.tensors, name: value})


def of_another(state: TrainingState) -> TrainingState:
    other = build(Unet(image_size=8, image_channels=1, channels=(8, 8), norm_groups=4))
    return replace(state, model=other)


def short(tensor: Tensor) -> Tensor:
    return tensor.flatten()[:1].clone()


UNFIT: dict[str, tuple[list[Any], Change]] = {
    "short moment": (PLAIN, put("0.exp_avg", short)),
    "long moment": (PLAIN, put("0.exp_avg_sq", lambda tensor: torch.zeros(10_000))),
    "integer moment": (PLAIN, put("0.exp_avg", Tensor.int)),
    "moment in 64 bits": (PLAIN, put("0.exp_avg", Tensor.double)),
    "moment without end": (PLAIN, put("0.exp_avg", lambda tensor: tensor + torch.inf)),
    "no moment": (PLAIN, without("exp_avg_sq")),
    "steps for each weight": (PLAIN, put("0.step", lambda tensor: torch.zeros(3))),
    "step that is none": (PLAIN, put("0.step", lambda tensor: tensor * torch.nan)),
    "step before the first": (PLAIN, put("0.step", lambda tensor: tensor * 0 - 1)),
    "place beyond the last": (PLAIN, plus("optimizer.999.exp_avg", torch.zeros(3))),
    "place that is no number": (PLAIN, plus("optimizer.x.exp_avg", torch.zeros(3))),
    "value of another optimiser": (PLAIN, plus("optimizer.0.state1", torch.zeros(3))),
    "number of another optimiser": (PLAIN, plus("optimizer_number.0.step", torch.tensor(3))),
    "short average": (PLAIN, put("conv_in.weight", short)),
    "no average": (PLAIN, without("conv_in.weight")),
    "vector of phases": (PLAIN, put("phase", lambda tensor: torch.zeros(3))),
    "phase that is not": (PLAIN, put("phase", lambda tensor: tensor + 1)),
    "phase before the first": (GRADUAL, put("phase", lambda tensor: tensor - 1)),
    "last stage but one": (PLAIN, lambda state: replace(state, stage=0)),
    "stage before the first": (PLAIN, lambda state: replace(state, stage=-1)),
    "stage that is not": (PLAIN, lambda state: replace(state, stage=99)),
    "images beyond the last": (PLAIN, lambda state: replace(state, images=10**9)),
    "images before the first": (PLAIN, lambda state: replace(state, images=-32)),
    "another model": (PLAIN, of_another),
    "model without a teacher": (PROGRESSIVE, lambda state: replace(state, beside={})),
    "teacher of another kind": (
        PROGRESSIVE,
        lambda state: replace(state, beside={"teacher": of_another(state).model}),
    ),
    "model with a teacher": (PLAIN, lambda state: replace(state, beside={"teacher": state.model})),
    "survivors of no group": (
        PLAIN,
        lambda state: replace(state, model=replace(state.model, survivors={"conv_out": (0,)})),
    ),
    "too few survivors": (
        PLAIN,
        lambda state: replace(state, model=replace(state.model, survivors=dict.fromkeys(state.model.survivors, (0,)))),
    ),
    "short codes": (IN_8_BITS, put("state1", short)),
    "codes of 32 bits": (IN_8_BITS, lambda state: put_all(state, torch.uint8, Tensor.int)),
    "short scales": (IN_8_BITS, put("absmax1", lambda tensor: torch.zeros(0))),
    "short map": (IN_8_BITS, put("qmap1", short)),
    "number that is a vector": (IN_8_BITS, put("0.step", lambda tensor: torch.zeros(3))),
    "short weights in full": (IN_16_BITS, put("unrounded.conv_in.weight", short)),
    "loss scale of zero": (IN_16_BITS, put("loss_scale", torch.zeros_like)),
    "huge loss scale": (IN_16_BITS, put("loss_scale", lambda tensor: tensor * 1e300)),
    "one loss scale": (IN_16_BITS, put("loss_scale", short)),
    "short mask": (MASKED, put("is_kept.conv_in.weight", short)),
}


def put_all(state: TrainingState, kind: torch.dtype, change: Callable[[Tensor], Tensor]) -> TrainingState:
    tensors = {name: change(each) if each.dtype == kind else each for name, each in state.tensors.items()}
    assert any(each.dtype == kind for each in state.tensors.values())
    return replace(state, tensors=tensors)


@pytest.mark.parametrize("name", UNFIT)
def test_a_state_that_does_not_fit_is_refused(run: Run, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    recipe, change = UNFIT[name]
    state = change(kept_of(recipe, run))
    monkeypatch.setattr("trainers.distillation._loop._batch", None)
    with pytest.raises(UnfitStateError):
        Recipe.parse(recipe).run(run.up_to(256, state))


@pytest.mark.parametrize("field", ["stage", "images"])
@pytest.mark.parametrize("value", ["1", 1.5, True, None, [1], float("nan")])
def test_progress_that_is_no_number_is_refused(run: Run, tmp_path: Path, field: str, value: object) -> None:
    save_state(kept_of([{"finetune": {"batch": 96}}], run), tmp_path)
    with safe_open(tmp_path / STATE_FILE, framework="pt") as opened:
        metadata = opened.metadata()
    metadata["progress"] = json.dumps({**json.loads(metadata["progress"]), field: value})
    save_file(load_file(tmp_path / STATE_FILE), tmp_path / STATE_FILE, metadata=metadata)
    with pytest.raises(UnfitStateError, match="stage and images"):
        load_state(tmp_path)


def test_there_may_be_no_state_and_a_torn_one_is_refused(tmp_path: Path) -> None:
    assert load_state(tmp_path) is None
    (tmp_path / STATE_FILE).write_bytes(b"torn")
    with pytest.raises(UnfitStateError, match="cannot be read"):
        load_state(tmp_path)


def test_a_parameter_without_a_gradient_has_no_state_to_go_on_from(run: Run) -> None:
    """What the optimiser never moved is not held against a state."""
    from trainers.distillation._optimizers import kept_state, optimizer_of, restore_state

    moved, unmoved = (torch.nn.Parameter(torch.ones(3)) for _ in range(2))
    optimizer = optimizer_of("adamw", [moved, unmoved], learning_rate=1e-3)
    moved.grad = torch.ones(3)
    optimizer.step()
    kept = kept_state(optimizer)
    before = [parameter.detach().clone() for parameter in (moved, unmoved)]
    again = optimizer_of("adamw", [moved, unmoved], learning_rate=1e-3)
    restore_state(again, kept)
    found = kept_state(again)
    assert found.keys() == kept.keys() and all(torch.equal(kept[name], found[name]) for name in kept)
    assert all(map(torch.equal, (moved, unmoved), before)) and again.param_groups[0]["lr"] == 1e-3
