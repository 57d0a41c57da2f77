"""What every stage promises: planned costs are the built ones, the input model stays as it is, options round-trip."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from trainers.recipe import Recipe
from trainers.run import Run
from trainers.stage import STAGES

# One telling use of each stage; a new stage must be added here, or the first test fails.
EXAMPLES: dict[str, Any] = {
    "distil": {"batch": 64, "sampling_steps": 3, "weights": {"output": 0.5}},
    "finetune": {"batch": 64},
    "gradual": {"batch": 64, "via": [{"network": {"unet": {"channels": [8, 8], "norm_groups": 4}}, "timesteps": 500}]},
    "group": {"groups": 2},
    "mask": {"ratio": 0.5},
    "progressive": {"batch": 64, "prune": [{"prune": {"ratio": 0.4, "rule": "flexible", "criterion": "magnitude"}}]},
    "prune": {"ratio": 0.4, "rule": "flexible", "criterion": "magnitude"},
    "quantize": {"bits": 4},
    "reconstruct": {"images": 32},
    "sample": {"steps": 3, "sampler": {"dpm_solver": {"order": 1}}},
    "student": {"network": {"unet": {"channels": [8, 8], "norm_groups": 4}}},
    "train": {"batch": 64},
}
# What a stage needs before it, to have something to do.
BEFORE: dict[str, list[Any]] = {"reconstruct": [{"prune": EXAMPLES["prune"]}]}


def recipe_of(name: str) -> Recipe:
    return Recipe.parse([*BEFORE.get(name, []), {name: EXAMPLES[name]}])


def test_every_stage_has_an_example() -> None:
    assert STAGES.names() == sorted(EXAMPLES)


@pytest.mark.parametrize("name", sorted(EXAMPLES))
def test_planned_and_built_architectures_agree(name: str, run: Run) -> None:
    before = run.teacher.fingerprint()
    recipe = recipe_of(name)
    planned, model = recipe.plan(run.teacher.spec), recipe.run(run)
    assert model.spec.known_ahead() == planned.known_ahead()
    assert run.teacher.fingerprint() == before
    changed = model.fingerprint() != before
    assert changed
    assert len(model.log) == len(recipe.stages) and Recipe.parse(list(model.log)) == recipe
    assert torch.isfinite(model.predict(torch.randn(1, 1, 8, 8), torch.tensor([3]))).all()


@pytest.mark.parametrize("name", sorted(EXAMPLES))
def test_a_stage_is_repeatable(name: str, run: Run) -> None:
    recipe = recipe_of(name)
    assert recipe.run(run.up_to(256, None)).fingerprint() == recipe.run(run.up_to(256, None)).fingerprint()


@pytest.mark.parametrize("name", sorted(EXAMPLES))
def test_written_options_are_read_again(name: str) -> None:
    stage = STAGES.parse({name: EXAMPLES[name]})
    assert STAGES.parse(STAGES.written(stage)) == stage
    assert Recipe.parse(Recipe((stage,)).written()) == Recipe((stage,))
