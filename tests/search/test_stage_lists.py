"""A choice between whole ways to make a model: lists of stages that have a name."""

from __future__ import annotations

from pathlib import Path

import pytest

from search.preflight import telling_late
from search.space import Space
from search.space_error import SpaceError

WAYS = """
teacher: {network: {unet: {channels: [16, 32], norm_groups: 4}}}
recipe:
  - choice:
      - null
      - smaller:
          - choice:
              - prune: {ratio: {float: [0.1, 0.5]}}
              - student: {network: {unet: {channels: {choice: [[8, 8], [8, 16]]}, norm_groups: 4}}}
          - group
          - distil: {learning_rate: {float: [1e-4, 1e-3], log: true}}
          - distil: {batch: {int: [8, 64]}}
      - progressive: {halvings: {int: [1, 3]}}
  - quantize: {bits: {choice: [8, 4]}}
objectives: [fid, size_mb]
constraints: ["recipe.0.smaller.distil_2.batch >= 16"]
"""


def read(folder: Path, text: str = WAYS, *overrides: str) -> Space:
    path = folder / "space.yaml"
    path.write_text(text)
    return Space.read(path, overrides)


def test_each_way_has_its_own_stages_and_knobs(tmp_path: Path) -> None:
    space = read(tmp_path)
    within = ("recipe.0", "smaller")
    assert {knob.path: knob.condition for knob in space.knobs} == {
        "recipe.0": (),
        "recipe.0.smaller.0": (within,),
        "recipe.0.smaller.0.prune.ratio": (within, ("recipe.0.smaller.0", "prune")),
        "recipe.0.smaller.0.student.network.unet.channels": (within, ("recipe.0.smaller.0", "student")),
        "recipe.0.smaller.distil.learning_rate": (within,),
        "recipe.0.smaller.distil_2.batch": (within,),
        "recipe.0.progressive.halvings": (("recipe.0", "progressive"),),
        "quantize.bits": (),
    }
    made = {tuple(space.fill(candidate).names()) for candidate in space.corners()}
    assert made == {
        ("quantize",),
        ("prune", "group", "distil", "distil_2", "quantize"),
        ("student", "group", "distil", "distil_2", "quantize"),
        ("progressive", "quantize"),
    }
    asked: list[str] = []
    space.candidate(lambda knob: asked.append(knob.path) or knob.extremes()[min(1, len(knob.extremes()) - 1)])
    assert asked == [
        *("recipe.0", "recipe.0.smaller.0", "recipe.0.smaller.0.student.network.unet.channels"),
        *("recipe.0.smaller.distil.learning_rate", "recipe.0.smaller.distil_2.batch", "quantize.bits"),
    ]


def test_constraints_and_overrides_reach_into_a_way(tmp_path: Path) -> None:
    space = read(tmp_path, WAYS, "recipe.0.smaller.distil_2.batch=12", "recipe.0.smaller.0.prune.ratio=0.25")
    candidate = space.candidate(lambda knob: knob.extremes()[min(1, len(knob.extremes()) - 1)])
    assert space.fill(candidate).stages[3].batch == 12  # type: ignore[attr-defined]
    assert space.violations(candidate, {})[0] > 0
    assert "recipe.0.smaller.0.prune.ratio" not in {knob.path for knob in space.knobs}


def test_another_stage_in_a_way_is_another_space(tmp_path: Path) -> None:
    before = read(tmp_path).fingerprint()
    assert read(tmp_path, WAYS.replace("          - group\n", "")).fingerprint() != before
    assert read(tmp_path, WAYS + "name: other\n").fingerprint() == before


def test_two_ways_can_hold_one_stage(tmp_path: Path) -> None:
    drawing = """
  - choice:
      - ode: [sample: {sampler: ddim}]
      - quick: [sample: {sampler: dpm_solver, steps: {choice: [4, 8]}}]
"""
    space = read(tmp_path, WAYS.replace("\nobjectives", drawing + "objectives"))
    assert "recipe.2.quick.sample.steps" in {knob.path for knob in space.knobs}


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("- group\n", "- grupe\n", r"recipe\.0\.smaller.*grupe"),
        ("batch: {int: [8, 64]}", "bach: 3", r"recipe\.0\.smaller\.distil_2.*bach"),
        ("- group\n", "- null\n", r"recipe\.0\.smaller\.1: must be a stage"),
        ("- group\n", "- {float: [0, 1]}\n", r"recipe\.0\.smaller\.1: must be a stage or a choice of stages"),
        ("          - group\n", "          - group\n" * 31, r"recipe\.0\.smaller: has 34 stages, at most 30"),
        ("- progressive:", "- smaller:", r"recipe\.0: has two choices called 'smaller'.*or name them"),
    ],
)
def test_a_mistake_in_a_way_is_told_with_its_place(tmp_path: Path, old: str, new: str, said: str) -> None:
    assert old in WAYS
    with pytest.raises(SpaceError, match=said):
        read(tmp_path, WAYS.replace(old, new, 1))


def test_ways_are_not_without_end(tmp_path: Path) -> None:
    way = "      - way_{}: [{}]\n"
    many = "".join(way.format(index, ", ".join(["group"] * 30)) for index in range(4))
    with pytest.raises(SpaceError, match="has 126 stages in its lists together, at most 100"):
        read(tmp_path, WAYS.replace("      - null\n", many))


def test_stages_that_say_little_of_their_end_are_named_where_weak_trials_are_stopped(tmp_path: Path) -> None:
    looked_at = "budget.images={min: 1_000, max: 9_000}"
    assert telling_late(read(tmp_path, WAYS, looked_at)) == ["progressive"]
    assert telling_late(read(tmp_path, WAYS, looked_at, "halving=false")) == []
    assert telling_late(read(tmp_path, WAYS, "budget.images=9_000")) == []
    between = "via: {choice: [[], [{network: {unet: {channels: [8, 8]}}}]]}"
    for recipe, expected in (
        ("[{progressive: {halvings: {int: [0, 1]}}}, train]", []),
        ("[{progressive: {prune: [{prune: {ratio: {float: [0.1, 0.5]}}}]}}]", ["progressive"]),
        ("[distil, {gradual: {}}]", []),
        (f"[distil, {{gradual: {{{between}}}}}]", ["gradual"]),
    ):
        text = f"recipe: {recipe}\nbudget: {{images: {{min: 1_000, max: 9_000}}}}\n"
        assert telling_late(read(tmp_path, f"teacher: {{network: ncsn}}\n{text}")) == expected
