"""Exports with damaged checkpoint, log or lineage are trained in full, or refused with one message.

15 of them by default; ``SLIMFRONT_FUZZ=2000`` tries more, ``SLIMFRONT_FUZZ_SEED=x`` others.
"""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path
from random import Random
from typing import Any

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file, save_file
from torch import Tensor

from tests.fuzz.mutations import damaged, mutated
from tests.fuzz.watch import at_most
from trainers.cache import Cache
from trainers.errors import UserError
from trainers.full import main
from trainers.full_training import FullTraining
from trainers.models import files
from trainers.models.diffusion_model import DiffusionModel

SEED = os.environ.get("SLIMFRONT_FUZZ_SEED", "")
CASES = int(os.environ.get("SLIMFRONT_FUZZ", "15"))
PRUNE = "{prune: {ratio: {mid: 0.4}, criterion: magnitude, rule: flexible}}"
RECIPES = {
    "distil": f"[{PRUNE}, {{distil: {{batch: 8, ema: 0.9}}}}, {PRUNE}]",
    "progressive": f"[{{progressive: {{batch: 8, halvings: 2, start: 8, prune: [{PRUNE}], prune_steps: 1}}}}]",
}
JOB = """\
name: tiny
data: {name: digits}
teacher: {from: teacher, sampling_steps: 4}
objectives: [size_mb]
budget: {images: 64}
recipe: """
LINEAGE = {
    "study": "tiny",
    "trial": 3,
    "seed": 5,
    "space": "x",
    "teacher": {"size_mb": 0.2},
    "teacher_from": "",
    "confirmed": {"size_mb": {"value": 0.1, "stderr": 0.0, "draws": 2}},
}


def write_job(folder: Path, teacher: DiffusionModel, recipe: str) -> None:
    """What export writes, and what a full training had written after half its images when it was killed."""
    files.save(teacher, folder / "teacher")
    (folder / "recipe.yaml").write_text(JOB + recipe + "\n")
    (folder / "lineage.json").write_text(json.dumps(LINEAGE))
    end = FullTraining._log

    def die(training: FullTraining, *rest: Any, **named: Any) -> None:
        end(training, *rest, **named)
        raise KeyboardInterrupt

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(FullTraining, "_log", die)
        main(folder, every=32, exchange=False)
    assert len([*folder.rglob("training.safetensors")]) == 1


def damage(folder: Path, generator: Random) -> None:
    """The checkpoint in another state, and sometimes the log or the lineage."""
    (state,) = folder.rglob("training.safetensors")
    if generator.random() < 0.8:
        damage_state(state, generator)
    if generator.random() < 0.4:
        (folder / "lineage.json").write_text(json.dumps(mutated(LINEAGE, generator)))
    log = folder / "model" / "progress.jsonl"
    match generator.randrange(8):
        case 0:
            log.write_bytes(damaged(log.read_bytes(), generator))
        case 1:
            log.write_text(json.dumps(mutated(json.loads(log.read_text()), generator)))
        case 2:
            log.unlink()
            os.mkfifo(log)


def damage_state(state: Path, generator: Random) -> None:
    """Bytes flipped; or tensors or metadata changed, in a file that is whole."""
    if generator.random() < 0.1:
        state.write_bytes(damaged(state.read_bytes(), generator))
        return
    with safe_open(state, framework="pt") as opened:
        metadata = opened.metadata()
    tensors = load_file(state)
    for _ in range(generator.choice((0, 1, 1, 3))):
        name = generator.choice(sorted(tensors))
        if generator.random() < 0.5:  # the less numerous ones as often
            name = generator.choice([each for each in sorted(tensors) if each.startswith("training:")])
        damage_tensor(tensors, name, generator)
    for _ in range(generator.choice((0, 1))):
        key = generator.choice(sorted(metadata))
        try:
            metadata[key] = json.dumps(mutated(json.loads(metadata[key]), generator))
        except ValueError:  # not all of it is JSON
            metadata[key] = "x"
    save_file(tensors, state, metadata=metadata)


def damage_tensor(tensors: dict[str, Tensor], name: str, generator: Random) -> None:
    value = tensors[name]
    match generator.randrange(7):
        case 0:
            del tensors[name]
        case 1:
            tensors[name] = value.to(generator.choice((torch.int32, torch.float64, torch.float16, torch.bool)))
        case 2:
            tensors[name] = value.flatten()[: generator.choice((0, 1, 3))].clone()
        case 3:
            tensors[name] = torch.zeros(generator.choice((1, 3, 100_000)))
        case 4:
            odd = (0.0, -1.0, 1e30, float("nan"), float("inf"))
            tensors[name] = torch.full_like(value.float(), generator.choice(odd)).to(value.dtype)
        case 5:
            tensors[name] = tensors[generator.choice(sorted(tensors))].clone()
        case 6:
            renamed = name.replace("optimizer.0", generator.choice(("optimizer.999", "optimizer.x", "optimizer")))
            tensors[renamed + generator.choice(("", "x"))] = value.clone()


@pytest.mark.parametrize("kind", RECIPES)
def test_damaged_exports_are_trained_or_refused(
    kind: str, tiny: DiffusionModel, cache: Cache, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SLIMFRONT_CACHE", str(cache.folder))
    write_job(tmp_path / "whole", tiny, RECIPES[kind])
    trained = 0
    for number in range(CASES):
        folder = tmp_path / "job"
        shutil.copytree(tmp_path / "whole", folder)
        damage(folder, Random(f"{kind} {number}{SEED}"))
        try:
            with at_most(30):
                assert main(folder, every=32, exchange=False) == 0
            files.load(folder / "model")
            trained += 1
        except UserError as error:
            assert str(error).strip() and len(str(error)) < 5_000
        except BaseException as error:
            raise AssertionError(f"{kind} {number}{SEED}: {type(error).__name__}: {error}") from error
        shutil.rmtree(folder)
    assert trained > CASES / 2
