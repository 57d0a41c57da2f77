"""Saved models come back bit for bit, also in a fresh process, and nothing else is accepted."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
import torch

from trainers.errors import UserError
from trainers.models import files
from trainers.models.arch_spec import ArchSpec
from trainers.recipe import Recipe
from trainers.run import Run

COMPRESSED = [
    {"prune": {"ratio": 0.4, "rule": "flexible", "criterion": "magnitude"}},
    {"group": {"groups": 2}},
    {"distil": {"sampling_steps": 3}},
    {"quantize": {"bits": 4}},
]
FRESH = """
import sys, torch
torch.set_num_threads(1)  # as the tests: sums are split by thread
from trainers.models import files
model = files.load(sys.argv[1])
image, timestep = torch.load(sys.argv[2], weights_only=True)
with torch.no_grad():
    torch.save(model.predict(image, timestep), sys.argv[3])
"""


def test_a_compressed_model_loads_in_a_fresh_process(run: Run, tmp_path: Path) -> None:
    model = Recipe.parse(COMPRESSED).run(run)
    files.save(model, tmp_path / "model")
    inputs = (torch.randn(2, 1, 8, 8), torch.tensor([3, 700]))
    torch.save(inputs, tmp_path / "inputs")
    subprocess.run(
        [sys.executable, "-c", FRESH, tmp_path / "model", tmp_path / "inputs", tmp_path / "output"], check=True
    )
    with torch.no_grad():
        expected = model.predict(*inputs)
    assert torch.equal(torch.load(tmp_path / "output", weights_only=True), expected)
    loaded = files.load(tmp_path / "model")
    assert loaded.spec == model.spec and len(loaded.log) == len(COMPRESSED) and loaded.spec.sampling_steps == 3


def test_a_spec_survives_its_json(run: Run) -> None:
    spec = Recipe.parse(COMPRESSED).run(run).spec
    assert ArchSpec.from_json(spec.to_json()) == spec


@pytest.mark.parametrize("damage", ["truncated", "not safetensors", "other metadata", "absent"])
def test_anything_else_is_one_clear_error(run: Run, tmp_path: Path, damage: str) -> None:
    path = tmp_path / files.FILE
    files.save(run.teacher, path)
    if damage == "truncated":
        path.write_bytes(path.read_bytes()[:1000])
    elif damage == "not safetensors":
        path.write_bytes(b"PK\x03\x04 a pickle, say")
    elif damage == "other metadata":
        from safetensors.torch import save_file

        save_file({"weight": torch.zeros(3)}, path)
    else:
        path.unlink()
    with pytest.raises(UserError, match=r"model\.safetensors"):
        files.load(tmp_path)
