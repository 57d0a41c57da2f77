"""Promises that hold for every recipe of compressions on every network, tried on random ones.

200 recipes by default; ``SLIMFRONT_EXAMPLES=2000`` tries more.
"""

from __future__ import annotations

import copy
import os
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pydantic import ValidationError
from safetensors.torch import load, save
from torch import Tensor, nn

from objectives import costs
from tests.trainers.compression import tiny
from tests.trainers.compression.silenced import silenced
from tests.trainers.compression.tiny import TINY, teacher_of
from trainers.cache import Cache
from trainers.compression._norm_groups import sizes_of
from trainers.compression._pruning import without
from trainers.compression.channels import coupled_groups
from trainers.data.dataset import Images
from trainers.errors import UserError
from trainers.models.arch_spec import ArchSpec
from trainers.models.building import assembled
from trainers.models.diffusion_model import DiffusionModel
from trainers.models.files import packed, unpacked
from trainers.recipe import Recipe
from trainers.run import Run

EXAMPLES = int(os.environ.get("SLIMFRONT_EXAMPLES", "200"))
SETTINGS = settings(
    max_examples=EXAMPLES,
    deadline=None,
    derandomize=True,
    suppress_health_check=[HealthCheck.too_slow],
)


@pytest.fixture(scope="module", autouse=True)
def shared(digits: Images, cache: Cache) -> None:
    """Not an argument of the tests: hypothesis would print it with every example."""
    SHARED.update(images=digits, cache=cache)


SHARED: dict[str, Any] = {}


def run_of(kind: str) -> Run:
    return tiny.run_of(kind, **SHARED)


def ratios(kind: str) -> st.SearchStrategy[Any]:
    spec = teacher_of(kind).spec
    blocks = sorted({group.block for group in coupled_groups(spec)})
    names = [group.name for group in coupled_groups(spec)]
    ratio = st.floats(0.0, 0.9).map(lambda value: round(value, 2))
    return st.one_of(
        ratio,
        st.dictionaries(st.sampled_from(blocks), ratio, min_size=1, max_size=3),
        st.dictionaries(st.sampled_from([*names, "*conv1"]), ratio, min_size=1, max_size=3),
    )


def prunings(kind: str, rules: Sequence[str] = ("paper", "flexible")) -> st.SearchStrategy[Any]:
    few = {"timesteps": 2, "images": 2}
    criteria = ["random", {"magnitude": {"norm": "l1"}}, "magnitude", {"magnitude": {"led_by_norm": True}}]
    gradients = [{name: few} for name in ("taylor", "diff_pruning")]
    return st.fixed_dictionaries(
        {"ratio": ratios(kind), "criterion": st.sampled_from([*criteria, *gradients])},
        optional={
            "rule": st.sampled_from(rules),
            "statistics": st.sampled_from(["proper", "zeroed", "shifted"]),
            "heads": st.sampled_from(["narrow", "drop"]),
            "round_to": st.sampled_from([1, 2, 4]),
            "greedy": st.booleans(),
        },
    ).map(lambda options: {"prune": {"rule": rules[0], **options}})


MASKS = st.fixed_dictionaries(
    {"ratio": st.floats(0.0, 0.95), "method": st.sampled_from(["l1", "random"])},
    optional={"scope": st.sampled_from(["global", "middle", "end"]), "rank": st.sampled_from(["together", "each"])},
).map(lambda options: {"mask": options})
GROUPS = st.fixed_dictionaries(
    {"groups": st.sampled_from([1, 2, 4, "max"])}, optional={"init": st.sampled_from(["dense", "scratch"])}
).map(lambda options: {"group": options})
QUANTIZATIONS = st.fixed_dictionaries(
    {"bits": st.sampled_from([32, 16, 8, 4])},
    optional={
        "format": st.sampled_from(["nf4", "fp4"]),
        "layers": st.sampled_from(["all", "linear"]),
        "rest": st.sampled_from([32, 16]),
        "activations": st.sampled_from([32, 8]),
        "where": st.sampled_from(["*", "down_0", "time"]),
        "dequantise_once": st.booleans(),
    },
).map(lambda options: {"quantize": options})
HALVES = st.just({"quantize": {"bits": 16}})
RECONSTRUCTIONS = st.just({"reconstruct": {"images": 4}})


@st.composite
def recipes(draw: st.DrawFn) -> tuple[str, list[Any]]:
    """A network and compressions, mostly in an order that is allowed."""
    kind = draw(st.sampled_from(sorted(TINY)))
    if draw(st.integers(0, 3)) == 0:
        # Whether the first leaves norm groups even is chance, which the second must not build upon.
        first, second = draw(prunings(kind, ["flexible"])), draw(prunings(kind, ["paper"]))
        first["prune"]["ratio"] = draw(st.sampled_from([0.25, 0.5]))
        return kind, [first, second]
    stages = [HALVES, prunings(kind), MASKS, prunings(kind), GROUPS, MASKS]
    stages += [RECONSTRUCTIONS, QUANTIZATIONS, QUANTIZATIONS]
    chosen = [draw(stage) for stage in stages if draw(st.booleans())]
    return kind, draw(st.permutations(chosen)) if draw(st.integers(0, 4)) == 0 else chosen


def inputs(spec: ArchSpec) -> tuple[Tensor, Tensor, Tensor | None]:
    generator = torch.Generator().manual_seed(5)
    image_BCHW = torch.randn(2, 1, 8, 8, generator=generator)
    label_B = torch.tensor([0, 2]) if spec.network.classes else None
    return image_BCHW, torch.tensor([3, 700]), label_B


def answer(model: DiffusionModel) -> Tensor:
    with torch.no_grad():
        return model.predict(*inputs(model.spec))


def exact_answer(model: DiffusionModel) -> Tensor:
    """In double precision."""
    image_BCHW, *others = inputs(model.spec)
    with torch.no_grad():
        return replace(model, net=copy.deepcopy(model.net).double()).predict(image_BCHW.double(), *others)


def sizes_only(spec: ArchSpec) -> ArchSpec:
    """What is known before channels are scored and zeros are counted."""
    return spec.map_layers(lambda name, layer: replace(layer, norm_groups=0, norm_over=(), zeros=0.0))


def counted_macs(model: DiffusionModel) -> int:
    """Multiply-accumulates of one image, counted while the network runs."""
    total = 0

    def count(module: nn.Module, arguments: tuple[Tensor, ...], output: Tensor) -> None:
        nonlocal total
        weight = module.weight
        elements = weight.numel() if isinstance(weight, Tensor) else torch.Size(weight.shape).numel()
        name = type(module).__name__
        if "Conv" in name:
            applied = arguments[0] if "Transpose" in name else output
            total += elements * applied.shape[-1] * applied.shape[-2]
        else:
            total += elements * output.numel() // output.shape[-1]

    names = [name for name, layer in model.spec.layers.items() if layer.is_product]
    hooks = [model.net.get_submodule(name).register_forward_hook(count) for name in names]
    image_BCHW, timestep_B, label_B = inputs(model.spec)
    with torch.no_grad():
        model.predict(image_BCHW[:1], timestep_B[:1], None if label_B is None else label_B[:1])
    for hook in hooks:
        hook.remove()
    return total


def shares_of_zeros(model: DiffusionModel) -> dict[str, float]:
    """Of each convolution and linear layer, the share of its weights and biases that is zero."""
    products = [name for name, layer in model.spec.layers.items() if layer.is_product]
    values = {name: nn.utils.parameters_to_vector(model.net.get_submodule(name).parameters()) for name in products}
    return {name: int((held == 0).sum()) / held.numel() for name, held in values.items()}


@SETTINGS
@given(recipes())
def test_what_is_planned_is_built_saved_and_loaded_or_refused(made: tuple[str, list[Any]]) -> None:
    kind, written = made
    run = run_of(kind)
    try:
        recipe = Recipe.parse(written)
        planned = recipe.plan(run.teacher.spec)
    except (ValidationError, UserError) as refusal:
        assert str(refusal).strip()
        return
    model = recipe.run(run)
    assert sizes_only(model.spec) == sizes_only(planned)
    built = sum(parameter.numel() for parameter in model.net.parameters())
    coded = sum(
        torch.Size(module.shape).numel() for module in model.net.modules() if type(module).__name__ == "QuantizedWeight"
    )
    assert built + coded == costs.parameters(planned)
    assert counted_macs(model) == costs.macs(planned)
    if all(layer.bits == 32 for layer in model.spec.layers.values()):
        assert shares_of_zeros(model) == {
            name: layer.zeros for name, layer in model.spec.layers.items() if layer.is_product
        }
    state, metadata = packed(model)
    assert sum(tensor.nbytes for tensor in state.values()) == costs.stored_bytes(planned)
    loaded = unpacked(load(save(state)), metadata)
    first = answer(model)
    assert torch.isfinite(first).all()
    assert loaded.spec == model.spec and torch.equal(answer(loaded), first)


@st.composite
def single_prunings(draw: st.DrawFn) -> tuple[str, dict[str, Any]]:
    kind = draw(st.sampled_from(sorted(TINY)))
    return kind, draw(prunings(kind))


@SETTINGS
@given(single_prunings())
def test_the_pruned_network_is_the_one_with_silent_channels(made: tuple[str, dict[str, Any]]) -> None:
    kind, stage = made
    teacher = teacher_of(kind)
    recipe = Recipe.parse([stage])
    try:
        recipe.plan(teacher.spec)
    except UserError:
        return
    model = recipe.run(run_of(kind))
    kept = {name: torch.tensor(channels) for name, channels in model.survivors.items()}
    statistics = stage["prune"].get("statistics", "proper") if stage["prune"]["rule"] == "flexible" else ""
    if statistics != "zeroed":
        model = with_own_norm_groups(model, teacher, kept, everywhere=statistics == "shifted")
    sparse = silenced(teacher, kept, is_zeroed=statistics == "zeroed")
    # Deep in a network of random weights, single precision is too coarse for it.
    torch.testing.assert_close(exact_answer(model), exact_answer(sparse), rtol=0, atol=1e-8)


def with_own_norm_groups(
    model: DiffusionModel, teacher: DiffusionModel, kept: dict[str, Tensor], *, everywhere: bool
) -> DiffusionModel:
    """``model`` as delivered, but where channels fell into another group of a norm, each is in its own again.

    Unless ``everywhere``, they may only do so where several coupled groups meet, in a concatenation.
    """
    groups = coupled_groups(teacher.spec)
    own, _ = without(teacher.spec, teacher.net.state_dict(), groups, kept, keeps_count=False)
    norms = {name: layer for name, layer in model.spec.layers.items() if layer.kind == "norm"}
    shifted = {name: own.layers[name] for name in norms if sizes_of(own.layers[name]) != sizes_of(norms[name])}
    meeting = Counter(member.layer for group in groups for member in group.members)
    assert everywhere or all(meeting[name] > 1 for name in shifted)
    if not shifted:
        return model
    spec = model.spec.with_layers(shifted)
    return replace(model, spec=spec, net=assembled(spec, model.net.state_dict()))


@pytest.mark.parametrize("kind", sorted(TINY))
def test_an_identity_compression_is_the_teacher_bit_for_bit(kind: str) -> None:
    run = run_of(kind)
    stages = [{"prune": {"ratio": 0.0}}, {"mask": {"ratio": 0.0}}, {"group": {"groups": 1}}, {"quantize": {"bits": 32}}]
    model = Recipe.parse(stages).run(run)
    assert model.spec == run.teacher.spec and torch.equal(answer(model), answer(run.teacher))
    assert len(model.log) == 4


def test_enough_recipes_are_allowed() -> None:
    """The properties above say nothing of recipes that are refused."""
    counts = {"allowed": 0, "refused": 0}

    @settings(max_examples=100, deadline=None, derandomize=True, suppress_health_check=[HealthCheck.too_slow])
    @given(recipes())
    def count(made: tuple[str, list[Any]]) -> None:
        kind, written = made
        try:
            Recipe.parse(written).plan(teacher_of(kind).spec)
            counts["allowed"] += bool(written)
        except (ValidationError, UserError):
            counts["refused"] += 1

    count()
    assert counts["allowed"] > 50 and counts["refused"] > 2
