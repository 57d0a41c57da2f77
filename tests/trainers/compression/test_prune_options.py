"""What a ratio names, which widths the rules allow, and how statistics and heads behave after pruning."""

from __future__ import annotations

import re

import pytest
import torch

from objectives import costs
from tests.conftest import build
from trainers.compression.channels import coupled_groups, removal_indices
from trainers.errors import UserError
from trainers.models.arch_spec import ArchSpec
from trainers.models.building import assembled
from trainers.models.diffusion_model import DiffusionModel
from trainers.models.group_norm import FlexibleGroupNorm
from trainers.models.networks.unet import Unet
from trainers.models.tracing import spec_of
from trainers.recipe import Recipe
from trainers.run import Run

WIDE = Unet(image_size=8, image_channels=1, channels=(16, 32), norm_groups=4, attention=(False, True), head_dim=8)


def planned(spec: ArchSpec, **options: object) -> dict[str, int]:
    """Group name -> width after pruning with random scores."""
    recipe = Recipe.parse([{"prune": {"criterion": "random", **options}}])
    return {group.name: group.width for group in coupled_groups(recipe.plan(spec))}


@pytest.fixture(scope="module")
def wide() -> ArchSpec:
    return spec_of(WIDE, sampling_steps=4)


def widths(spec: ArchSpec) -> dict[str, int]:
    return {group.name: group.width for group in coupled_groups(spec)}


def test_a_block_names_its_groups_and_no_other(wide: ArchSpec) -> None:
    before, after = widths(wide), planned(wide, ratio={"mid": 0.5})
    changed = {name for name in before if after[name] != before[name]}
    # The outer width of the middle is that of down_1, which produces it first.
    assert changed == {
        "mid_block.resnets.0.conv1",
        "mid_block.resnets.1.conv1",
        "mid_block.attentions.0.to_q",
    }
    assert all(after[name] == before[name] // 2 for name in changed)


@pytest.mark.parametrize(
    ("macro_block", "expected"),
    [
        ("I", {"time_embedding.linear_1", "time_embedding.linear_2", "conv_in"}),
        ("D0", {"down_blocks.0.resnets.0.conv1", "down_blocks.0.downsamplers.0.conv"}),
        ("M1", {"mid_block.resnets.0.conv1", "mid_block.attentions.0.to_q"}),
        ("M2", {"mid_block.resnets.1.conv1"}),
        ("O", {"up_blocks.1.resnets.1.conv2"}),
    ],
)
def test_macro_blocks_name_what_the_thesis_draws(wide: ArchSpec, macro_block: str, expected: set[str]) -> None:
    before, after = widths(wide), planned(wide, ratio={macro_block: 0.5})
    assert {name for name in before if after[name] != before[name]} == expected


def test_every_macro_block_of_any_depth_exists() -> None:
    for depth in (1, 2, 4):
        network = Unet(image_size=8, image_channels=1, channels=(8,) * depth, norm_groups=4)
        found = {group.macro_block for group in coupled_groups(spec_of(network, sampling_steps=1))}
        levels = {f"{way}{level}" for way in "DU" for level in range(depth)}
        assert found >= (levels | {"I", "M1", "M2", "O"}) - {"D0" if depth == 1 else ""}


def test_the_closest_name_counts(wide: ArchSpec) -> None:
    after = planned(wide, ratio={"mid": 0.5, "*.conv1": 0.25, "mid_block.resnets.0.conv1": 0.0})
    assert after["mid_block.resnets.0.conv1"] == 32
    assert after["mid_block.resnets.1.conv1"] == 24
    assert after["mid_block.attentions.0.to_q"] == 16


def test_a_star_is_for_what_no_block_names(wide: ArchSpec) -> None:
    before, after = widths(wide), planned(wide, ratio={"*": 0.25, "mid": 0.5, "*.to_q": 0.0})
    assert after["mid_block.resnets.0.conv1"] == before["mid_block.resnets.0.conv1"] // 2
    assert after["mid_block.attentions.0.to_q"] == before["mid_block.attentions.0.to_q"]
    assert after["conv_in"] == before["conv_in"] * 3 // 4


def test_two_names_of_one_rank_must_agree(wide: ArchSpec) -> None:
    with pytest.raises(UserError, match=r"'down_0' and 'D0' both name down_blocks.0.resnets.0.conv1"):
        planned(wide, ratio={"down_0": 0.5, "D0": 0.25})
    assert planned(wide, ratio={"down_0": 0.5, "D0": 0.5})["down_blocks.0.resnets.0.conv1"] == 8


def test_a_key_whose_groups_all_have_a_nearer_one_is_refused(wide: ArchSpec) -> None:
    with pytest.raises(UserError) as refused:
        planned(wide, ratio={"mid": 0.3, "mid_block.*": 0.5, "*d_block*": 0.2})
    assert str(refused.value).splitlines() == [
        f"prune.ratio: {key!r} decides nothing: what it names, such as mid_block.resnets.0.conv1, is named more "
        "closely by 'mid_block.*'. Leave it out."
        for key in ("mid", "*d_block*")
    ]
    # Of two that name the same equally closely, and agree, each decides.
    assert planned(wide, ratio={"mid": 0.5, "M1": 0.5, "*": 0.25}) == planned(wide, ratio={"mid": 0.5, "*": 0.25})


def test_what_names_nothing_is_refused(wide: ArchSpec) -> None:
    with pytest.raises(UserError, match=r"no block 'D7'.*(D1|D0)"):
        planned(wide, ratio={"D7": 0.5})
    with pytest.raises(UserError, match=re.escape("no block '*.conv9'")):
        planned(wide, ratio={"*.conv9": 0.5})


@pytest.mark.parametrize("rule", ["paper", "flexible"])
@pytest.mark.parametrize("ratio", [0.1, 0.3, 0.45, 0.7])
def test_rounded_widths_are_multiples_and_never_narrower_than_asked(rule: str, ratio: float, wide: ArchSpec) -> None:
    before = widths(wide)
    free, rounded = (planned(wide, ratio=ratio, rule=rule, round_to=step) for step in (1, 8))
    assert all(width % 8 == 0 for width in rounded.values())
    assert all(free[name] <= rounded[name] < free[name] + 8 or rounded[name] == before[name] for name in before)
    assert any(rounded[name] != free[name] for name in before)


def test_a_group_left_alone_is_noted_with_the_reason(run: Run) -> None:
    model = Recipe.parse([{"prune": {"ratio": 0.5, "criterion": "random", "round_to": 16}}]).run(run)
    notes = {note["what"]: note for note in model.notes}
    assert notes["prune conv_in"]["achieved"] == 0
    assert "would not stay a multiple of 16" in notes["prune conv_in"]["note"]


@pytest.mark.parametrize("ratio", [0.1, 0.9])
def test_of_norm_groups_of_one_channel_no_ratio_can_take_any(ratio: float, run: Run) -> None:
    run.teacher = build(Unet(image_size=8, image_channels=1, channels=(8, 16), norm_groups=8))
    model = Recipe.parse([{"prune": {"ratio": ratio, "criterion": "random"}}]).run(run)
    reasons = {note["what"]: note.get("note", "") for note in model.notes}
    assert reasons["prune conv_in"] == "kept whole: 8 channels in 8 equal parts can lose none, whatever the ratio"
    few = "kept whole: 16 channels in 8 equal parts cannot lose so few"
    assert reasons["prune mid_block.resnets.0.conv1"] == (few if ratio < 0.5 else "")


def test_whole_heads_go_and_the_others_keep_their_width(run: Run) -> None:
    run.teacher = build(WIDE)
    spec = run.teacher.spec
    recipe = Recipe.parse([{"prune": {"ratio": {"*.to_q": 0.5}, "criterion": "magnitude", "heads": "drop"}}])
    model = recipe.run(run)
    assert {attention.heads for attention in spec.attentions} == {4}
    assert {attention.heads for attention in model.spec.attentions} == {2}
    assert model.spec == recipe.plan(spec)
    for attention in model.spec.attentions:
        kept = torch.tensor(model.survivors[attention.query])
        assert len(kept) == 16 and (kept.view(2, 8) // 8 == kept.view(2, 8)[:, :1] // 8).all()
        # Neighbouring heads are whole, so their weights are the teacher's, unscaled.
        weight = model.net.get_submodule(attention.query).weight
        assert torch.equal(weight, run.teacher.net.get_submodule(attention.query).weight[kept])
    # The teacher with the outputs of those heads silenced.
    state = {name: tensor.clone() for name, tensor in run.teacher.net.state_dict().items()}
    for attention in spec.attentions:
        gone = [index for index in range(32) if index not in model.survivors[attention.query]]
        state[attention.query.replace("to_q", "to_out.0") + ".weight"][:, gone] = 0
    silenced = DiffusionModel(net=assembled(spec, state), spec=spec)
    image_BCHW, timestep_B = torch.randn(2, 1, 8, 8), torch.tensor([3, 700])
    torch.testing.assert_close(
        model.predict(image_BCHW, timestep_B), silenced.predict(image_BCHW, timestep_B), rtol=1e-4, atol=1e-5
    )


def test_the_only_head_stays() -> None:
    single = spec_of(
        Unet(image_size=8, image_channels=1, channels=(8, 16), norm_groups=4, attention=(False, True)),
        sampling_steps=1,
    )
    assert planned(single, ratio={"*.to_q": 0.5}, heads="narrow")["mid_block.attentions.0.to_q"] == 8
    # One head has nothing to drop but itself, so its channels go.
    assert planned(single, ratio={"*.to_q": 0.5}, heads="drop")["mid_block.attentions.0.to_q"] == 8


def test_zeroed_statistics_are_those_of_the_sparse_network(run: Run) -> None:
    """Channels that are gone from a "zeroed" network are zeros in the sparse one, which keeps its plain norms."""
    spec = run.teacher.spec
    recipe = Recipe.parse(
        [{"prune": {"ratio": 0.4, "criterion": "random", "rule": "flexible", "statistics": "zeroed"}}]
    )
    model = recipe.run(run)
    over = [layer.norm_over for layer in model.spec.layers.values() if layer.norm_over]
    assert over and all(len(set(counted)) == 1 for counted in over)
    kept = {name: torch.tensor(indices) for name, indices in model.survivors.items()}
    state = {name: tensor.clone() for name, tensor in run.teacher.net.state_dict().items()}
    for (name, side), stays in removal_indices(coupled_groups(spec), kept, spec).items():
        layer = spec.layers[name]
        if side == "in":
            continue
        gone = torch.ones(layer.outputs, dtype=torch.bool)
        gone[stays] = False
        state[f"{name}.weight"][gone] = 0
        if layer.bias:
            state[f"{name}.bias"][gone] = 0
    sparse = DiffusionModel(net=assembled(spec, state), spec=spec)
    image_BCHW, timestep_B = torch.randn(2, 1, 8, 8), torch.tensor([3, 700])
    torch.testing.assert_close(
        model.predict(image_BCHW, timestep_B), sparse.predict(image_BCHW, timestep_B), rtol=1e-4, atol=1e-5
    )


def test_shifted_groups_are_plain_ones_of_the_channels_that_free_ranking_keeps(run: Run) -> None:
    def without(ratio: float, statistics: str) -> DiffusionModel:
        way = {"ratio": ratio, "criterion": "magnitude", "rule": "flexible", "statistics": statistics}
        return Recipe.parse([{"prune": way}]).run(run)

    shifted, proper = without(0.5, "shifted"), without(0.5, "proper")
    assert shifted.survivors == proper.survivors
    norms = {name: layer for name, layer in shifted.spec.layers.items() if layer.kind == "norm"}
    assert all(layer.norm_groups == run.teacher.spec.layers[name].norm_groups for name, layer in norms.items())
    assert any(proper.spec.layers[name] != layer for name, layer in norms.items())
    assert not any(isinstance(module, FlexibleGroupNorm) for module in shifted.net.modules())
    image_BCHW, timestep_B = torch.randn(2, 1, 8, 8), torch.tensor([3, 700])
    assert (shifted.predict(image_BCHW, timestep_B) - proper.predict(image_BCHW, timestep_B)).abs().max() > 1e-3

    # A width that as many groups would not divide is none that is pruned to.
    note = next(note for note in without(0.2, "shifted").notes if note["what"] == "prune conv_in")
    assert note["achieved"] == 0 and note["note"] == "kept whole: 8 channels would not stay a multiple of 4"


@pytest.mark.parametrize("ratio", [0.25, 0.5])
def test_sizes_after_a_second_rule_do_not_depend_on_which_channels_the_first_took(run: Run, ratio: float) -> None:
    run.teacher = build(
        Unet(image_size=8, image_channels=1, channels=(8, 16), norm_groups=4, attention=(False, True)), seed=1
    )
    stages = [("flexible", ratio), ("paper", 0.3)]
    recipe = Recipe.parse([{"prune": {"ratio": ratio, "rule": r, "criterion": "magnitude"}} for r, ratio in stages])
    planned, built = recipe.plan(run.teacher.spec), recipe.run(run).spec
    assert (costs.parameters(built), costs.macs(built)) == (costs.parameters(planned), costs.macs(planned))
    assert widths(built) == widths(planned)


def test_greedy_scores_what_is_left(run: Run) -> None:
    """After the first group lost channels, the next is scored without the weights that went with them."""
    options = {"ratio": 0.5, "criterion": "magnitude", "rule": "flexible"}
    at_once, greedy = (Recipe.parse([{"prune": {**options, "greedy": way}}]).run(run) for way in (False, True))
    assert at_once.spec.layers.keys() == greedy.spec.layers.keys()
    first = next(iter(at_once.survivors))
    assert at_once.survivors[first] == greedy.survivors[first]
    assert at_once.survivors != greedy.survivors


def test_greedy_scoring_with_gradients_is_refused(tiny: DiffusionModel) -> None:
    with pytest.raises(UserError, match=r"greedy: .*Use magnitude or random"):
        Recipe.parse([{"prune": {"ratio": 0.5, "greedy": True}}]).plan(tiny.spec)


def test_survivors_are_counted_in_the_teacher_s_channels(run: Run) -> None:
    """Two prunings one after the other: the second's indices are translated back."""
    recipe = Recipe.parse(
        [{"prune": {"ratio": {"*.conv1": 0.5}, "criterion": "random"}}, {"prune": {"ratio": {"*.conv1": 0.5}}}]
    )
    model = recipe.run(run)
    name = "mid_block.resnets.0.conv1"
    kept = list(model.survivors[name])
    assert len(kept) == 4 and kept == sorted(kept)
    teacher = run.teacher.net.get_submodule(name)
    assert torch.equal(model.net.get_submodule(name).bias, teacher.bias[kept])
