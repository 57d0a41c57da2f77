"""Coupled groups and pruning: sizes to the last parameter, and a pruned network equals the masked one."""

from __future__ import annotations

import pytest
import torch

from tests.conftest import build
from tests.trainers.compression.silenced import silenced
from trainers.compression._asked import Rules, loss_of
from trainers.compression._pruning import kept_channels, without
from trainers.compression.channels import coupled_groups
from trainers.errors import UserError
from trainers.models.arch_spec import ArchSpec
from trainers.models.building import assembled
from trainers.models.diffusion_model import DiffusionModel
from trainers.models.networks.unet import Unet
from trainers.models.tracing import spec_of
from trainers.recipe import Recipe
from trainers.run import Run

CIFAR10 = Unet(
    image_size=32, image_channels=3, channels=(128, 256, 256, 256), attention=(False, True, False, False), layers=2
)


def parameters(spec: ArchSpec) -> int:
    return sum(layer.parameters for layer in spec.layers.values())


def test_published_networks_have_their_published_sizes() -> None:
    teacher = spec_of(CIFAR10, sampling_steps=1000)
    assert parameters(teacher) == 35_746_307
    assert sum(layer.macs for layer in teacher.layers.values()) == 6_053_953_536
    mini = Unet(image_size=32, image_channels=3, channels=(128, 256), attention=(False, True), layers=2)
    assert parameters(spec_of(mini, sampling_steps=500)) == 15_930_883


def test_diff_pruning_at_three_tenths_has_its_published_size() -> None:
    pruned = Recipe.parse([{"prune": {"ratio": 0.3}}]).plan(spec_of(CIFAR10, sampling_steps=100))
    assert parameters(pruned) == 19_868_058


def test_every_width_but_the_images_is_in_one_group(tiny: DiffusionModel) -> None:
    groups = coupled_groups(tiny.spec)
    covered: dict[tuple[str, str], list[int]] = {}
    for group in groups:
        for member in group.members:
            covered.setdefault((member.layer, member.side), []).extend(
                range(member.offset, member.offset + group.width)
            )
    for name, layer in tiny.spec.layers.items():
        for side, width in (("in", layer.inputs), ("out", layer.outputs)):
            if (layer.kind == "norm" and side == "in") or (name, side) in {("conv_in", "in"), ("conv_out", "out")}:
                continue
            if (name, side) == ("time_embedding.linear_1", "in"):
                continue  # the sinusoids of the timestep
            assert sorted(covered[name, side]) == list(range(width)), (name, side)


@pytest.mark.parametrize("rule", ["paper", "flexible"])
@pytest.mark.parametrize("head_dim", [None, 8])
@pytest.mark.parametrize("seed", [0, 1, 2])
def test_a_pruned_network_equals_the_masked_one(rule: str, head_dim: int | None, seed: int) -> None:
    network = Unet(
        image_size=8, image_channels=2, channels=(8, 16), norm_groups=4, attention=(True, True), head_dim=head_dim
    )
    model = build(network, seed=seed)
    generator = torch.Generator().manual_seed(seed)
    groups = coupled_groups(model.spec)
    rules = Rules(rule=rule, round_to=1, heads="narrow", keeps_count=rule == "paper")
    kept = {
        group.name: kept_channels(torch.rand(group.width, generator=generator), loss_of(group, 0.5, rules))
        for group in groups
    }
    # Under the paper's rule norm groups of concatenations shift; only the survivors' grouping differs, so compare with
    # the flexible grouping there.
    spec, state = without(model.spec, model.net.state_dict(), groups, kept, keeps_count=False)
    pruned = DiffusionModel(net=assembled(spec, state), spec=spec)
    assert parameters(spec) < 0.5 * parameters(model.spec)
    image_BCHW = torch.randn(2, 2, 8, 8, generator=generator)
    timestep_B = torch.tensor([3, 700])
    with torch.no_grad():
        torch.testing.assert_close(
            pruned.predict(image_BCHW, timestep_B),
            silenced(model, kept).predict(image_BCHW, timestep_B),
            rtol=1e-4,
            atol=1e-5,
        )


@pytest.mark.parametrize("rule", ["paper", "flexible"])
@pytest.mark.parametrize("criterion", ["magnitude", "random", "taylor", {"diff_pruning": {"threshold": 0.1}}])
@pytest.mark.parametrize("ratio", [0.3, {"mid": 0.5, "up_1": 0.4}])
def test_planned_and_pruned_sizes_agree(run: Run, rule: str, criterion: object, ratio: object) -> None:
    recipe = Recipe.parse([{"prune": {"ratio": ratio, "rule": rule, "criterion": criterion}}])
    planned, model = recipe.plan(run.teacher.spec), recipe.run(run)
    built = {name: (layer.inputs, layer.outputs) for name, layer in model.spec.layers.items()}
    assert built == {name: (layer.inputs, layer.outputs) for name, layer in planned.layers.items()}
    assert sum(parameter.numel() for parameter in model.net.parameters()) == parameters(planned)
    assert parameters(planned) < parameters(run.teacher.spec)
    assert torch.isfinite(model.predict(torch.randn(1, 1, 8, 8), torch.tensor([5]))).all()


def test_nothing_asked_changes_nothing(run: Run) -> None:
    recipe = Recipe.parse([{"prune": {"ratio": 0.0}}, {"group": {"groups": 1}}, {"quantize": {"bits": 32}}])
    model = recipe.run(run)
    image_BCHW, timestep_B = torch.randn(2, 1, 8, 8), torch.tensor([3, 700])
    assert torch.equal(model.predict(image_BCHW, timestep_B), run.teacher.predict(image_BCHW, timestep_B))


def test_what_was_asked_and_achieved_is_noted(run: Run) -> None:
    model = Recipe.parse([{"prune": {"ratio": {"down_0": 0.1, "mid": 0.5}, "criterion": "magnitude"}}]).run(run)
    notes = {note["what"]: note for note in model.notes}
    # 8 channels in 4 norm groups cannot lose a tenth.
    assert notes["prune conv_in"]["achieved"] == 0 and "kept whole" in notes["prune conv_in"]["note"]
    assert notes["prune mid_block.resnets.0.conv1"]["achieved"] == 0.5


def test_an_unknown_block_is_refused_with_a_suggestion(tiny: DiffusionModel) -> None:
    with pytest.raises(UserError, match=r"no block 'midd'.*Did you mean 'mid'"):
        Recipe.parse([{"prune": {"ratio": {"midd": 0.5}}}]).plan(tiny.spec)


def test_pruning_after_grouping_is_refused(tiny: DiffusionModel) -> None:
    with pytest.raises(UserError, match="Put prune before group"):
        Recipe.parse([{"group": {"groups": 2}}, {"prune": {"ratio": 0.5}}]).plan(tiny.spec)
