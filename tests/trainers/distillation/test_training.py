"""Training: it learns, stops and goes on bit for bit, and a diverging loss is named."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch

from trainers.distillation import _loop
from trainers.distillation._loop import Batch, trained
from trainers.distillation._precision import Precision
from trainers.distillation._training import denoising_loss
from trainers.distillation.finetune import Finetune
from trainers.models import files
from trainers.models.building import assembled
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


@pytest.mark.parametrize("micro_batches", [2, 3])
def test_a_batch_in_parts_trains_as_the_whole_one(run: Run, micro_batches: int) -> None:
    recipe = Recipe.parse(RECIPE[:2])

    def trained_in(parts: int) -> DiffusionModel:
        return recipe.run(replace(run, micro_batches=parts))

    whole, apart = trained_in(1), trained_in(micro_batches)
    states = (whole.net.state_dict(), apart.net.state_dict())
    assert whole.spec == apart.spec and not same(whole, apart)
    for name, tensor in states[0].items():
        torch.testing.assert_close(states[1][name], tensor, rtol=1e-3, atol=1e-4)


def test_a_batch_in_parts_has_the_gradient_of_the_whole_one(run: Run) -> None:
    """Also of a batch that does not divide evenly."""

    def gradients(parts: int) -> list[torch.Tensor]:
        net, stage = run.teacher.copy_of_net(), Finetune(batch=17)
        whole = replace(run, micro_batches=parts)
        batch = _loop._batch(run.teacher, whole, 0, stage, _loop._uniform(run.teacher.spec))
        loss, precision = denoising_loss(run.teacher.spec, stage), Precision("fp32", run.device)
        shares = list(_loop._shares(loss, net, batch, whole, stage, precision))
        assert len(shares) == parts
        torch.stack(shares).sum().backward()
        return [parameter.grad for parameter in net.parameters() if parameter.grad is not None]

    for whole, apart in zip(gradients(1), gradients(3), strict=True):
        torch.testing.assert_close(apart, whole, rtol=1e-4, atol=1e-6)


def unbroken_and_resumed(recipe: Recipe, run: Run, folder: Path) -> tuple[DiffusionModel, DiffusionModel]:
    """Trained in one go, and stopped after 96 of 256 images and gone on with from a file."""
    unbroken = recipe.run(run)
    first = run.up_to(96, None)
    recipe.run(first)
    assert first.kept_state is not None
    save_state(first.kept_state, folder)
    return unbroken, recipe.run(run.up_to(256, load_state(folder)))


def with_zeros(run: Run, *, seed: int = 0) -> DiffusionModel:
    """The teacher with a third of the weights and biases of three layers set to zero, and the layers marked."""
    names = ("conv_in", "mid_block.resnets.0.conv1", "mid_block.attentions.0.to_q")
    state = {name: tensor.detach().clone() for name, tensor in run.teacher.net.state_dict().items()}
    generator = torch.Generator().manual_seed(seed)
    for name in names:
        for part in (f"{name}.weight", f"{name}.bias"):
            state[part] *= torch.rand(state[part].shape, generator=generator) > 1 / 3
    spec = run.teacher.spec
    spec = spec.with_layers({name: replace(spec.layers[name], zeros=1 / 3) for name in names})
    return replace(run.teacher, net=assembled(spec, state), spec=spec)


def zeros(model: DiffusionModel) -> dict[str, torch.Tensor]:
    return {name: tensor == 0 for name, tensor in model.net.state_dict().items()}


@pytest.mark.parametrize("optimizer", ["adamw", "adam", "adamw_8bit", "adam_8bit"])
@pytest.mark.parametrize("ema", [0.0, 0.9])
def test_every_optimizer_goes_on_where_it_stopped(run: Run, tmp_path: Path, optimizer: str, ema: float) -> None:
    run.teacher = with_zeros(run)
    recipe = Recipe.parse([{"distil": {"batch": 32, "optimizer": optimizer, "ema": ema}}])
    unbroken, resumed = unbroken_and_resumed(recipe, run, tmp_path)
    assert same(resumed, unbroken) and not same(unbroken, run.teacher)
    state = load_state(tmp_path)
    assert state is not None
    kept_in_8_bits = [name for name, tensor in state.tensors.items() if tensor.dtype == torch.uint8]
    assert bool(kept_in_8_bits) == optimizer.endswith("_8bit")


def test_8_bit_states_change_the_result_a_little(run: Run) -> None:
    models = [
        Recipe.parse([{"distil": {"batch": 32, "optimizer": name}}]).run(run.up_to(256, None))
        for name in ("adamw", "adamw_8bit")
    ]
    start, exact, coarse = (
        torch.cat([parameter.detach().flatten() for parameter in model.net.parameters()])
        for model in (run.teacher, *models)
    )
    assert 0 < (coarse - exact).norm() < 0.1 * (exact - start).norm()


def test_8_bit_optimizers_say_that_a_cpu_is_slow(run: Run, caplog: pytest.LogCaptureFixture) -> None:
    recipe = Recipe.parse([{"train": {"batch": 32, "optimizer": "adam_8bit"}}])
    first = run.up_to(96, None)
    recipe.run(first)
    model = recipe.run(run.up_to(256, first.kept_state))
    warnings = [record.getMessage() for record in caplog.records if "adam_8bit" in record.getMessage()]
    assert len(warnings) == 1 and "times slower" in warnings[0]
    assert [note["asked"] for note in model.notes] == ["adam_8bit"] and "times slower" in model.notes[0]["note"]


@pytest.mark.parametrize("ema", [0.0, 0.9])
def test_zeros_of_masked_layers_stay_zero(run: Run, ema: float) -> None:
    run.teacher = with_zeros(run)
    before = zeros(run.teacher)
    after = zeros(Recipe.parse([{"distil": {"batch": 32, "ema": ema}}]).run(run))
    masked = {name: layer for name, layer in run.teacher.spec.layers.items() if layer.zeros}
    for name in (f"{layer}.{part}" for layer in masked for part in ("weight", "bias")):
        assert bool(before[name].any()) and torch.equal(after[name], before[name]), name
    spec = run.teacher.spec.with_layers({name: replace(layer, zeros=0.0) for name, layer in masked.items()})
    run.teacher = replace(run.teacher, spec=spec)
    unmasked = zeros(Recipe.parse([{"distil": {"batch": 32, "ema": ema}}]).run(run))
    assert not any(bool(unmasked[f"{name}.weight"].any()) for name in masked)


def test_a_weight_that_reaches_zero_by_training_is_not_held_there(run: Run) -> None:
    """What a training holds at zero is what was zero when the stage began, also after a stop."""
    model = with_zeros(run)
    run.stage_name, run.last_image = "distil", 256

    def pulled(net: torch.nn.Module, batch: Batch) -> torch.Tensor:
        return (net.get_parameter("conv_in.weight") - 1).square().sum()

    options = Finetune(batch=32, learning_rate=1e-3)
    first = run.up_to(96, None)
    trained(model, first, loss=pulled, options=options)
    assert first.kept_state is not None
    weight = first.kept_state.model.net.get_parameter("conv_in.weight")
    place = tuple((weight != 0).nonzero()[0].tolist())
    weight.data[place] = 0
    net = trained(first.kept_state.model, run.up_to(256, first.kept_state), loss=pulled, options=options)
    assert net.get_parameter("conv_in.weight")[place] != 0
    assert bool((net.get_parameter("conv_in.weight") == 0).any())


@pytest.mark.parametrize("ema", [0.0, 0.9])
def test_16_bit_weights_are_trained_in_32_and_rounded_at_the_end(run: Run, tmp_path: Path, ema: float) -> None:
    trains = [{"train": {"batch": 32, "ema": ema}}]
    half = [{"quantize": {"bits": 16}}]
    unbroken, resumed = unbroken_and_resumed(Recipe.parse([*half, *trains]), run, tmp_path)
    assert same(resumed, unbroken)
    for tensor in unbroken.net.state_dict().values():
        assert torch.equal(tensor.half().float(), tensor)
    files.save(unbroken, tmp_path)
    assert same(files.load(tmp_path), unbroken)
    # Trained as if it were stored in 32 bits: steps of 1e-3 and less would be lost if each were rounded.
    rounded = replace(Recipe.parse(half).run(run), spec=run.teacher.spec)
    expected = Recipe.parse(trains).run(replace(run, teacher=rounded)).net.state_dict()
    assert all(torch.equal(expected[name].half(), tensor.half()) for name, tensor in unbroken.net.state_dict().items())


@pytest.mark.parametrize("storage", [{"bits": 8}, {"bits": 4, "rest": 16}, {"bits": 8, "activations": 8}])
def test_what_is_quantised_stays_and_the_rest_is_trained(run: Run, tmp_path: Path, storage: dict[str, object]) -> None:
    quantized = Recipe.parse([{"quantize": storage}]).run(run)
    recipe = Recipe.parse([{"quantize": storage}, {"distil": {"batch": 32, "ema": 0.9}}])
    unbroken, resumed = unbroken_and_resumed(recipe, run, tmp_path)
    assert same(resumed, unbroken)
    before, after = quantized.net.state_dict(), unbroken.net.state_dict()
    codes = [name for name in before if name.endswith((".code", ".scale"))]
    assert codes and all(torch.equal(before[name], after[name]) for name in codes)
    # In 16 bits, a few single biases are rounded back to where they came from.
    rest = [name for name in before if name not in codes]
    assert sum(not torch.equal(before[name], after[name]) for name in rest) > 0.9 * len(rest)


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
    trained(run.teacher, long, loss=loss, options=Finetune(batch=128, learning_rate=4e-3))
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
            options=Finetune(batch=32, learning_rate=1e-3),
        )


def test_other_seeds_train_other_students(run: Run) -> None:
    first = Recipe.parse(RECIPE).run(run)
    run.seed = 1
    assert not same(first, Recipe.parse(RECIPE).run(run))
