"""What each training stage learns, against answers known in closed form, and that it goes on where it stopped."""

from __future__ import annotations

import math
from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from tests.conftest import build
from tests.trainers.distillation.analytic import ideal, ideal_by_class, untrained
from trainers.cache import Cache
from trainers.compression import _gradients
from trainers.compression.criteria.mixed import Mixed
from trainers.distillation import _gradual, _loop
from trainers.distillation._losses import block_distance, feature_distance, squared_error, two_steps_in_one
from trainers.distillation._precision import checkpointed
from trainers.distillation._progressive import teacher_step
from trainers.distillation._training import taught
from trainers.errors import UserError
from trainers.models.diffusion import Diffusion
from trainers.models.diffusion_model import DiffusionModel
from trainers.models.network import Network
from trainers.models.networks.guided_unet import GuidedUnet
from trainers.models.networks.latent_unet import LatentUnet
from trainers.models.networks.ncsn import Ncsn
from trainers.models.networks.unet import Unet
from trainers.models.sampling import draw
from trainers.models.tracing import spec_of
from trainers.recipe import Recipe
from trainers.run import Run
from trainers.states import load_state, save_state

SMALL = {"unet": {"channels": [8, 8], "norm_groups": 4}}
PRUNE = {"prune": {"ratio": {"down_0": 0.25, "mid": 0.375}, "rule": "flexible", "criterion": "magnitude"}}
MIXED = {"prune": {"ratio": {"mid": 0.375}, "criterion": {"mixed": {"timesteps": 4, "images": 8}}}}
STUDENT = {"student": {"network": SMALL, "timesteps": 500}}
BATCH = {"batch": 32, "learning_rate": 1e-3}
#: What trains, by name; every stage in several of its ways.
RECIPES: dict[str, list[Any]] = {
    "train": [{"train": {**BATCH, "ema": 0.9}}],
    "train a pruned one": [PRUNE, {"train": BATCH}],
    "finetune": [PRUNE, {"finetune": {**BATCH, "error_weight": "truncated_snr"}}],
    "distil": [STUDENT, {"distil": {**BATCH, "weights": {"output": 1.0, "feature": 0.1}, "extractor": "labels"}}],
    "distil blocks": [PRUNE, {"distil": {**BATCH, "weights": {"block": 1.0}}}],
    "gradual": [
        STUDENT,
        {"gradual": {**BATCH, "weights": {"output": 1.0}, "via": [{"network": SMALL, "timesteps": 800}], "ema": 0.9}},
    ],
    "gradual through two": [
        STUDENT,
        # Fewer timesteps than the teacher is drawn in.
        {"gradual": {**BATCH, "via": [{"network": SMALL, "timesteps": 3}, {"network": SMALL, "images": 0.5}]}},
    ],
    "progressive": [{"progressive": {**BATCH, "halvings": 2, "start": 8, "ema": 0.9}}],
    "progressive with pruning": [
        PRUNE,
        {
            "progressive": {
                **BATCH,
                "halvings": 2,
                "start": 8,
                "prune": [{"prune": {**PRUNE["prune"], "rule": "paper"}}],
                "prune_steps": 2,
            }
        },
        {"quantize": {"bits": 8}},
    ],
    "progressive with pruning by iteration": [
        {"progressive": {**BATCH, "halvings": 2, "start": 8, "prune": [PRUNE], "prune_of": "iteration"}}
    ],
    "progressive with mixed gradients": [
        {"progressive": {**BATCH, "halvings": 2, "start": 8, "prune": [MIXED], "prune_steps": 2}}
    ],
    "bf16": [{"finetune": {**BATCH, "precision": "bf16"}}],
    "fp16": [{"finetune": {**BATCH, "precision": "fp16"}}],
    "checkpointing": [{"finetune": {**BATCH, "checkpointing": True}}],
}


def same(left: DiffusionModel, right: DiffusionModel) -> bool:
    states = (left.net.state_dict(), right.net.state_dict())
    return (left.spec, left.log, left.notes) == (right.spec, right.log, right.notes) and all(
        torch.equal(tensor, states[1][name]) for name, tensor in states[0].items()
    )


@pytest.mark.parametrize("name", RECIPES)
def test_a_resumed_stage_matches_an_unbroken_one(run: Run, tmp_path: Path, name: str) -> None:
    """Stopped twice, at images that lie in different phases of the stages that have some, and through files."""
    recipe = Recipe.parse(RECIPES[name])
    run.budget_images = 384
    unbroken = recipe.run(run.up_to(384, None))
    state = None
    for stop in (64, 160, 288):
        part = run.up_to(stop, state)
        interim = recipe.run(part)
        assert interim.spec.layers.keys() == unbroken.spec.layers.keys() and not same(interim, unbroken)
        assert interim.spec.sampling_steps == unbroken.spec.sampling_steps
        assert part.kept_state is not None
        save_state(part.kept_state, tmp_path)
        state = load_state(tmp_path)
    assert same(recipe.run(run.up_to(384, state)), unbroken)


def test_a_state_of_progressive_holds_the_models_that_it_trains_with_and_no_other(run: Run) -> None:
    """In a later iteration too, whose ratios are shares of a model that no longer teaches."""
    run.budget_images = 64
    part = run.up_to(64, None)
    Recipe.parse(RECIPES["progressive with pruning"]).run(part)
    assert part.kept_state is not None and int(part.kept_state.tensors["phase"]) >= 3
    assert part.kept_state.beside.keys() == {"teacher"}


@pytest.mark.parametrize("prediction", ["epsilon", "x", "v"])
@pytest.mark.parametrize("schedule", ["linear", "cosine"])
def test_a_student_learns_the_ideal_denoiser_of_gaussian_images(run: Run, schedule: str, prediction: str) -> None:
    """From the teacher's answers alone, within 0.02 of its scale at every timestep."""
    diffusion = Diffusion(steps=16, schedule=schedule, prediction=prediction, beta_end=0.5)  # type: ignore[arg-type]
    teacher = ideal(diffusion, variance=0.25, sampling_steps=16)
    recipe = Recipe.parse(
        [{"distil": {"weights": {"noise": 0.0, "output": 1.0}, "learning_rate": 0.05, "warmup_images": 0}}]
    )
    run = replace(run, teacher=teacher, budget_images=128 * 300, until_images=128 * 300)
    student = recipe.stages[0].apply(untrained(diffusion, sampling_steps=16), aimed(run))
    error_T = (student.net.get_parameter("scale") - teacher.net.get_parameter("scale")).detach().abs()
    assert float(error_T.max()) < 0.02 * float(teacher.net.get_parameter("scale").detach().abs().max())


@pytest.mark.parametrize("prediction", ["epsilon", "x", "v"])
def test_a_student_of_fewer_timesteps_learns_the_teacher_at_mapped_ones(run: Run, prediction: str) -> None:
    """With half the timesteps its best denoiser is the ideal one of the shortened process."""
    theirs = Diffusion(steps=32, schedule="cosine", prediction="epsilon")
    ours = replace(theirs.shortened(16), prediction=prediction)  # type: ignore[arg-type]
    teacher = ideal(theirs, variance=0.25, sampling_steps=16)
    recipe = Recipe.parse(
        [{"distil": {"weights": {"noise": 0.0, "output": 1.0}, "learning_rate": 0.05, "warmup_images": 0}}]
    )
    run = replace(run, teacher=teacher, budget_images=128 * 300, until_images=128 * 300)
    student = recipe.stages[0].apply(untrained(ours, sampling_steps=16), aimed(run))
    expected_T = ideal(ours, variance=0.25, sampling_steps=16).net.get_parameter("scale")
    error_T = (student.net.get_parameter("scale") - expected_T).detach().abs()
    # At the last timestep the cosine schedule leaves no signal, and no prediction of noise tells the image there.
    assert float(error_T[:-1].max()) < 0.02


@pytest.mark.parametrize("prediction", ["epsilon", "x", "v"])
@pytest.mark.parametrize("schedule", ["linear", "cosine"])
def test_one_step_to_the_target_goes_as_far_as_two_of_the_teacher(schedule: str, prediction: str) -> None:
    diffusion = Diffusion(schedule=schedule, prediction=prediction, is_clipped=False)  # type: ignore[arg-type]
    teacher = ideal(diffusion, variance=0.25, sampling_steps=8)
    grid = [*diffusion.timesteps(8).tolist(), -1]
    noisy_BCHW = torch.randn(3, 1, 8, 8, generator=torch.Generator().manual_seed(0))
    for first, between, end in zip(grid[:-2:2], grid[1::2], grid[2::2], strict=True):
        start_B, between_B, end_B = (torch.full((3,), timestep) for timestep in (first, between, end))
        halfway_BCHW = teacher_step(teacher, noisy_BCHW, start_B, between_B, None)
        later_BCHW = teacher_step(teacher, halfway_BCHW, between_B, end_B, None)
        alpha, sigma = diffusion.alpha_sigma(start_B)
        alpha_end, sigma_end = diffusion.alpha_sigma(end_B)
        image_BCHW = two_steps_in_one(noisy_BCHW, later_BCHW, start=(alpha, sigma), end=(alpha_end, sigma_end))
        reached_BCHW = alpha_end * image_BCHW + sigma_end * (noisy_BCHW - alpha * image_BCHW) / sigma
        torch.testing.assert_close(reached_BCHW, later_BCHW, atol=1e-4, rtol=1e-4)
        noisy_BCHW = later_BCHW


@pytest.mark.parametrize("schedule", ["linear", "cosine"])
def test_halving_keeps_what_an_exact_teacher_draws(run: Run, schedule: str) -> None:
    """16 steps become 4; what is drawn from the same noise moves by less than 2 % of its size."""
    diffusion = Diffusion(steps=64, schedule=schedule, prediction="x", is_clipped=False, beta_end=0.2)  # type: ignore[arg-type]
    teacher = ideal(diffusion, variance=0.25, sampling_steps=16)
    recipe = Recipe.parse([{"progressive": {"halvings": 2, "learning_rate": 0.05, "warmup_images": 0}}])
    run = replace(run, teacher=teacher, budget_images=128 * 800, until_images=128 * 800)
    student = recipe.run(run)
    assert student.spec.sampling_steps == 4
    noise_BCHW = torch.randn(64, 1, 8, 8, generator=torch.Generator().manual_seed(1))
    expected_BCHW, untaught_BCHW = draw(teacher, noise_BCHW), draw(few(teacher, 4), noise_BCHW)
    found_BCHW = draw(student, noise_BCHW)
    assert relative(found_BCHW, expected_BCHW) < 0.02 < 0.5 * relative(untaught_BCHW, expected_BCHW)


def test_halving_keeps_what_a_teacher_draws_with_guidance_and_draws_without(run: Run) -> None:
    """In one forward pass a step where the teacher takes two."""
    diffusion = Diffusion(steps=64, schedule="cosine", prediction="x", is_clipped=False)
    variances = [*torch.linspace(0.05, 0.5, 10).tolist(), 0.25]
    teacher = ideal_by_class(diffusion, variances=variances, sampling_steps=8)
    teacher = replace(teacher, spec=replace(teacher.spec, guidance=2.0))
    recipe = Recipe.parse([{"progressive": {"halvings": 2, "learning_rate": 0.05, "warmup_images": 0}}])
    run = replace(run, teacher=teacher, budget_images=128 * 800, until_images=128 * 800)
    student = recipe.run(run)
    assert student.spec == recipe.plan(teacher.spec)
    assert (teacher.spec.evaluations, student.spec.evaluations) == (16, 2)
    noise_BCHW, label_B = torch.randn(64, 1, 8, 8, generator=torch.Generator().manual_seed(1)), torch.arange(64) % 10
    expected_BCHW = draw(teacher, noise_BCHW, label_B)
    unguided = replace(teacher, spec=replace(teacher.spec, guidance=1.0))
    assert relative(draw(student, noise_BCHW, label_B), expected_BCHW) < 0.02
    assert relative(draw(unguided, noise_BCHW, label_B), expected_BCHW) > 0.1
    assert Recipe.parse([{"progressive": {"halvings": 0}}]).plan(teacher.spec).guidance == 2.0
    # In the first iteration the teacher draws with guidance, in the second it is a student.
    short = replace(run, budget_images=1024, until_images=1024)
    for stop, guidance in ((256, 2.0), (768, 1.0)):
        part = short.up_to(stop, None)
        recipe.run(part)
        assert part.kept_state is not None and part.kept_state.beside["teacher"].spec.guidance == guidance
        assert same(recipe.run(short.up_to(1024, part.kept_state)), recipe.run(short.up_to(1024, None)))


@pytest.mark.parametrize(
    ("prune_of", "ratio", "lost"),
    [
        # Shares of the first teacher's widths add up.
        ("original", {"down_0": 2 * 0.25, "mid": 2 * 0.375}, 12 / 16),
        # 6 of 16 channels, then 3 of the 10 that are left.
        ("iteration", {"down_0": 1 - 0.75**2, "mid": 1 - 0.625**2}, 9 / 16),
    ],
)
def test_pruning_in_parts_ends_where_pruning_at_once_does(
    run: Run, prune_of: str, ratio: dict[str, float], lost: float
) -> None:
    options = {**BATCH, "halvings": 2, "start": 8, "prune": [PRUNE], "prune_steps": 2, "prune_of": prune_of}
    model = Recipe.parse([{"progressive": options}]).run(run)
    once = Recipe.parse([{"prune": {**PRUNE["prune"], "ratio": ratio}}]).plan(run.teacher.spec)
    widths = {name: layer.outputs for name, layer in model.spec.layers.items()}
    assert widths == {name: layer.outputs for name, layer in once.layers.items()}
    achieved = {note["what"]: note["achieved"] for note in model.notes}
    name = "progressive: prune mid_block.resnets.0.conv1"
    assert achieved[name] == pytest.approx(lost, abs=1e-5) and len(achieved) == len(model.notes)


@pytest.mark.parametrize(
    ("prune_of", "ratio"), [("original", {"mid": 0.5, "down_0": 0.2}), ("iteration", {"mid": 0.4375, "down_0": 0.19})]
)
def test_what_all_prunings_were_asked_is_told_as_of_one(run: Run, prune_of: str, ratio: dict[str, float]) -> None:
    """Not what is left of it in whole channels; and a group that loses none says why."""
    prune = {"ratio": {"mid": 0.25, "down_0": 0.1}, "criterion": "magnitude"}
    options = {**BATCH, "halvings": 2, "start": 8, "prune": [{"prune": prune}], "prune_of": prune_of}
    model = Recipe.parse([{"progressive": options}]).run(run.up_to(0, None))
    once = Recipe.parse([{"prune": {**prune, "ratio": ratio}}]).run(run)
    assert [{**note, "what": note["what"].removeprefix("progressive: ")} for note in model.notes] == list(once.notes)
    assert {note["asked"]: note.get("note") for note in model.notes} == {
        ratio["mid"]: None,
        ratio["down_0"]: "kept whole: 8 channels in 4 equal parts cannot lose so few",
    }


@pytest.mark.parametrize(
    ("schedule", "expected"),
    [
        ("exponential", [0.8, 0.8, 0.8 * math.exp(-0.75), 0.8 * math.exp(-0.75)]),
        ("linear", [1.0, 0.0, 1.0, 0.0]),
    ],
)
def test_the_teachers_share_falls_from_iteration_to_iteration_or_within_each(
    run: Run, monkeypatch: pytest.MonkeyPatch, schedule: str, expected: list[float]
) -> None:
    """The step of the thesis' Eq. A.1 is the iteration; the linear schedule begins again in each."""
    shares: dict[str, float] = {}
    share_of = Mixed.teacher_share

    def watched(criterion: Mixed, run: Run) -> float:
        return shares.setdefault(run.stage_name, share_of(criterion, run))

    monkeypatch.setattr(Mixed, "teacher_share", watched)
    criterion = {"mixed": {"timesteps": 4, "images": 8, "schedule": schedule}}
    prune = {"prune": {"ratio": {"mid": 0.375}, "rule": "flexible", "criterion": criterion}}
    Recipe.parse([{"progressive": {**BATCH, "halvings": 2, "start": 8, "prune": [prune], "prune_steps": 2}}]).run(run)
    assert list(shares.values()) == pytest.approx(expected)


def test_the_gradients_of_each_iteration_s_teacher_are_taken_once(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    passes, running_sums = Counter[str](), _gradients.running_sums

    def watched(model: DiffusionModel, *arguments: Any) -> Any:
        passes[model.fingerprint()] += 1
        return running_sums(model, *arguments)

    monkeypatch.setattr(_gradients, "running_sums", watched)
    run.cache, run.budget_images = Cache(tmp_path), 128
    criterion = {"mixed": {"timesteps": 2, "images": 8, "gamma": 0.5, "schedule": "fixed"}}
    prune = {"prune": {"ratio": {"mid": 0.375}, "rule": "flexible", "criterion": criterion}}
    Recipe.parse([{"progressive": {**BATCH, "halvings": 2, "start": 8, "prune": [prune], "prune_steps": 2}}]).run(run)
    # Two teachers and, at each of four prunings, a student.
    assert list(passes.values()) == [1] * 6
    # Only the first teacher is that of other trials, too.
    assert sorted(path.name.split("-")[0] for path in tmp_path.iterdir()) == ["gradients", "losses"]


def test_iterations_cannot_take_all_of_the_first_teachers_channels(run: Run) -> None:
    options = {"start": 8, "halvings": 3, "prune": [PRUNE]}
    with pytest.raises(UserError) as caught:
        Recipe.parse([{"progressive": options}]).plan(run.teacher.spec)
    assert "would lose 1.125 of its channels in 3 iterations together, and must lose less than 1. " in str(caught.value)
    Recipe.parse([{"progressive": {**options, "prune_of": "iteration"}}]).plan(run.teacher.spec)


def test_trained_from_scratch_forgets_the_teacher_and_finetuned_does_not(run: Run) -> None:
    def distance(kind: str) -> float:
        made = Recipe.parse([{kind: {"batch": 32, "learning_rate": 1e-4}}]).run(run.up_to(256, None))
        before, after = run.teacher.net.state_dict(), made.net.state_dict()
        return float(sum((after[name] - before[name]).square().sum() for name in before))

    assert distance("train") > 20 * distance("finetune") > 0


def test_block_distance_sees_where_and_not_how_much_nor_how_wide() -> None:
    output = torch.randn(4, 6, 5, 5, generator=torch.Generator().manual_seed(0))
    assert float(block_distance([output], [3 * output.repeat(1, 2, 1, 1)])) < 1e-10
    assert float(block_distance([output], [output.flip(3)])) > 0.1


def test_features_are_learned_through_the_image(run: Run) -> None:
    """With nothing but features to learn, students come nearer to the teacher's features."""
    from trainers.models.extractor import label_extractor

    student = build(Unet(image_size=8, image_channels=1, channels=(8, 8), norm_groups=4), seed=3)
    options = {"weights": {"noise": 0.0, "feature": 1.0}, "extractor": "labels", "learning_rate": 2e-3, "batch": 64}
    run = aimed(replace(run, budget_images=64 * 100, until_images=64 * 100))
    taught = Recipe.parse([{"distil": options}]).stages[0].apply(student, run)
    features = label_extractor(run.images, run.cache).net.features
    generator = torch.Generator().manual_seed(0)
    noisy_BCHW = torch.randn(64, 1, 8, 8, generator=generator)
    timestep_B = torch.randint(1000, (64,), generator=generator)

    def of(model: DiffusionModel) -> Tensor:
        with torch.no_grad():
            answer_BCHW = model.predict(noisy_BCHW, timestep_B)
            return features(model.spec.diffusion.image_of(answer_BCHW, noisy_BCHW, timestep_B).clamp(-1, 1))

    before, after = ((of(model) - of(run.teacher)).square().mean() for model in (student, taught))
    assert float(after) < 0.6 * float(before)


def test_checkpointing_changes_nothing_but_the_memory(run: Run) -> None:
    made = [
        Recipe.parse([{"finetune": {**BATCH, "checkpointing": wanted}}]).run(run.up_to(256, None))
        for wanted in (False, True)
    ]
    states = [model.net.state_dict() for model in made]
    for name, tensor in states[0].items():
        torch.testing.assert_close(tensor, states[1][name], atol=1e-6, rtol=1e-5)


@pytest.mark.parametrize(
    "network",
    [
        Unet(image_size=8, image_channels=1, channels=(8, 8), norm_groups=4),
        GuidedUnet(image_size=8, image_channels=1, channels=(8, 8), bottleneck=8, heads=2, time_dim=16),
        LatentUnet(image_size=8, image_channels=1, channels=(8, 8), heads=2, context=8),
    ],
)
def test_checkpointing_computes_the_blocks_of_each_network_again(network: Network) -> None:
    """In several parts: one alone would be kept whole while it is computed again."""
    net = network.build()
    inputs = (torch.randn(2, 1, 8, 8), torch.tensor([3, 5]), None)
    calls: list[nn.Module] = []
    convolutions = [module for module in net.modules() if isinstance(module, nn.Conv2d)]
    for module in convolutions:
        module.register_forward_hook(lambda module, inputs, output: calls.append(module))
    with checkpointed(net, is_wanted=True):
        assert sum("forward" in vars(module) for module in net.modules()) >= 3
        network.call(net, *inputs).sum().backward()
    again = len(calls) - len(convolutions)
    assert 0.7 * len(convolutions) < again <= len(convolutions)
    assert not any("forward" in vars(module) for module in net.modules())


def test_checkpointing_is_refused_where_there_are_no_blocks(run: Run) -> None:
    network = Ncsn(image_size=8, image_channels=1, channels=(8, 8), embedding=8)
    with pytest.raises(UserError, match=r"finetune\.checkpointing: this network has no blocks"):
        Recipe.parse([{"finetune": {"checkpointing": True}}]).plan(spec_of(network, sampling_steps=4))


@pytest.mark.parametrize("size", [400.0, 1e-5])
def test_losses_of_16_bit_answers_are_taken_in_float32(size: float) -> None:
    """Where their squares would be infinite or zero."""
    output = size * torch.randn(4, 6, 5, 5, generator=torch.Generator().manual_seed(0))
    half, other = output.half(), output.flip(3).half()
    for loss in (squared_error, feature_distance):
        torch.testing.assert_close(loss(half, other), loss(half.float(), other.float()))
        assert 0 < float(loss(half, other)) < float("inf")
    assert 0.1 < float(block_distance([half], [other])) < float("inf")


def test_phases_together_see_no_more_images_than_the_stage(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[int] = []
    batch = _loop._batch

    def counted(*given: Any) -> _loop.Batch:
        seen.append(given[2])
        return batch(*given)

    monkeypatch.setattr(_loop, "_batch", counted)
    for name in ("progressive with pruning", "gradual through two"):
        seen.clear()
        Recipe.parse(RECIPES[name]).run(run.up_to(256, None))
        assert seen == list(range(0, 256, 32)), name


def test_an_average_goes_on_from_the_weights_in_training_at_each_pruning(run: Run) -> None:
    """A slow average of an iteration begins at its last pruning, and takes back no more than was learned since."""

    def moved(ema: float) -> float:
        options = {**BATCH, "start": 8, "prune": [{"prune": {"ratio": 0.0}}], "prune_steps": 2, "ema": ema}
        made = Recipe.parse([{"progressive": options}]).run(run.up_to(384, None))
        return float(
            sum((new - old).square().sum() for new, old in zip(*map(parameters, (made, run.teacher)), strict=True))
        )

    run.budget_images = 384
    assert moved(0.999) > 0.2 * moved(0.0)


def test_models_in_between_learn_from_the_one_before(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each phase's teacher is what the last one trained, and parts of the images are as asked."""
    pairs: list[tuple[str, str]] = []
    phases: list[tuple[int, int]] = []

    def watched(model: DiffusionModel, run: Run, stage: Any, *, teacher: DiffusionModel, phase: Any) -> nn.Module:
        net = taught(model, run, stage, teacher=teacher, phase=phase)
        pairs.append((teacher.fingerprint(), replace(model, net=net).fingerprint()))
        phases.append((phase.first_image, phase.last_image))
        return net

    monkeypatch.setattr(_gradual, "taught", watched)
    run.budget_images = 320
    Recipe.parse(RECIPES["gradual through two"]).run(run.up_to(320, None))
    assert [teacher for teacher, _ in pairs] == [run.teacher.fingerprint(), pairs[0][1], pairs[1][1]]
    assert phases == [(0, 128), (128, 192), (192, 320)]


def test_bf16_learns_nearly_the_same(run: Run) -> None:
    start, exact, coarse = (
        torch.cat([parameter.detach().flatten() for parameter in model.net.parameters()])
        for model in (
            run.teacher,
            *(
                Recipe.parse([{"finetune": {**BATCH, "precision": p}}]).run(run.up_to(256, None))
                for p in ("fp32", "bf16")
            ),
        )
    )
    assert 0 < float((coarse - exact).norm()) < 0.5 * float((exact - start).norm())


def test_labels_are_dropped_for_networks_that_can_do_without(run: Run) -> None:
    options = {"finetune": {"batch": 32, "label_dropout": 0.1}}
    with pytest.raises(UserError, match=r"finetune\.label_dropout: 0\.1 needs a network that also answers without"):
        Recipe.parse([options]).plan(run.teacher.spec)
    network = GuidedUnet(
        image_size=8, image_channels=1, classes=10, channels=(8, 8), bottleneck=8, heads=2, time_dim=16, norm_groups=4
    )
    run.teacher = guided(network)
    plain = Recipe.parse([{"finetune": {"batch": 32}}]).run(run.up_to(256, None))
    dropped = Recipe.parse([options]).run(run.up_to(256, None))
    assert not same(plain, dropped)


def aimed(run: Run) -> Run:
    """A run as the recipe hands it to its first stage."""
    run.stage_name, run.last_image = "distil", run.budget_images
    return run


def guided(network: GuidedUnet) -> DiffusionModel:
    from trainers.models.fresh import fresh
    from trainers.models.tracing import spec_of

    return fresh(spec_of(network, sampling_steps=4), seed=0, device=torch.device("cpu"))


def parameters(model: DiffusionModel) -> list[Tensor]:
    return [parameter.detach() for parameter in model.net.parameters()]


def few(model: DiffusionModel, steps: int) -> DiffusionModel:
    return replace(model, spec=model.spec.with_sampling_steps(steps))


def relative(found: Tensor, expected: Tensor) -> float:
    return float((found - expected).norm() / expected.norm())
