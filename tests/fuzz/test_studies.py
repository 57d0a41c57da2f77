"""Damaged studies and models: each is opened and answered from, or refused with one message; nothing else happens.

60 of each by default; ``SLIMFRONT_FUZZ=2000`` tries more, ``SLIMFRONT_FUZZ_SEED=x`` others.
"""

from __future__ import annotations

import json
import os
import shutil
import struct
from pathlib import Path
from random import Random
from typing import Any

import pytest

from search.best import best, knee_of
from search.contrast.contrast import Contrast
from search.exported import export
from search.kept_study import KeptStudy
from search.report.page import page
from tests.fuzz.mutations import damaged, mutated
from tests.fuzz.watch import at_most
from tests.search.study_folder import study_folder
from trainers.errors import UserError
from trainers.job import Job
from trainers.model_folder import ModelFolder
from trainers.models import files
from trainers.models.diffusion_model import DiffusionModel

SEED = os.environ.get("SLIMFRONT_FUZZ_SEED", "")
CASES = int(os.environ.get("SLIMFRONT_FUZZ", "60"))
ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def whole(tmp_path_factory, tiny) -> Path:
    """A study with its space, and with a model and measurements of every trial that has a folder."""
    folder = study_folder(tmp_path_factory.mktemp("whole") / "study", trials=16, confirmed=True)
    shutil.copyfile(ROOT / "spaces" / "pruning_ratios.yaml", folder / "space.yaml")
    files.save(tiny, folder / "teacher")
    for place in (folder / "trials").iterdir():
        files.save(tiny, place)
        (place / "measurements.json").write_text(json.dumps({"measurements": {}, "seed": 3, "data": "0123"}))
        (place / "recipe.yaml").write_text("recipe: []\n")
    return folder


def ask(folder: Path, generator: Random) -> None:
    """What commands do with a study that they were given."""
    study = KeptStudy.open(folder)
    views = study.views
    study.table()
    study.front()
    names = [objective.name for objective in views.front.objectives]
    steps = [
        lambda: page(views),
        lambda: knee_of(views),
        lambda: best(views, {names[-1]: 0.5}),
        lambda: study.figure(),
        lambda: Contrast.of([views, views]),
        lambda: export(views, views.complete[0], folder.parent / "out") if views.complete else None,
    ]
    for step in generator.sample(steps, k=2):
        try:
            step()
        except UserError as error:
            assert str(error).strip()


def damage_study(folder: Path, generator: Random) -> None:
    """One file of a study in another state."""
    kind = generator.randrange(6)
    named = [path for path in sorted(folder.rglob("*")) if path.is_file()]
    if kind <= 1:
        path = folder / "front.json"
        path.write_text(json.dumps(mutated(json.loads(path.read_text()), generator)))
    elif kind <= 3:
        path = folder / "trials.jsonl"
        lines = path.read_text().splitlines()
        at = generator.randrange(len(lines))
        lines[at] = json.dumps(mutated(json.loads(lines[at]), generator))
        path.write_text("\n".join(lines))
    elif kind == 4:
        path = generator.choice([folder / name for name in ("front.json", "trials.jsonl", "space.yaml")] + named)
        path.write_bytes(damaged(path.read_bytes(), generator))
    else:
        one, other = generator.choice(named), generator.choice(named)
        one.write_bytes(other.read_bytes())


def test_damaged_studies_are_answered_from_or_refused(whole, tmp_path):
    opened = 0
    for number in range(CASES):
        generator = Random(f"study {number}{SEED}")
        folder = tmp_path / "home" / "study"
        shutil.copytree(whole, folder)
        damage_study(folder, generator)
        try:
            with at_most(10):
                ask(folder, generator)
            opened += 1
        except UserError as error:
            assert str(error).strip()
        except BaseException as error:
            raise AssertionError(f"study {number}: {type(error).__name__}: {error}") from error
        assert {path.name for path in (tmp_path / "home").iterdir()} <= {"study", "out"}
        shutil.rmtree(tmp_path / "home")
    assert 0 < opened < CASES


def damaged_model(content: bytes, generator: Random) -> bytes:
    """A model's file with its bytes, or the description in its header, changed."""
    if generator.random() < 0.3:
        return damaged(content, generator)
    (length,) = struct.unpack("<Q", content[:8])
    header: dict[str, Any] = json.loads(content[8 : 8 + length])
    if generator.random() < 0.3:
        found = mutated(header, generator)
    else:
        key = generator.choice(("spec", "spec", "spec", "log", "notes"))
        written = json.dumps(mutated(json.loads(header["__metadata__"][key]), generator))
        found = {**header, "__metadata__": {**header["__metadata__"], key: written}}
    raw = json.dumps(found).encode()
    return struct.pack("<Q", len(raw)) + raw + content[8 + length :]


def test_damaged_models_load_or_are_refused(tiny: DiffusionModel, tmp_path):
    files.save(tiny, tmp_path / "whole")
    content = (tmp_path / "whole" / files.FILE).read_bytes()
    path = tmp_path / files.FILE
    loaded = 0
    for number in range(CASES):
        path.write_bytes(damaged_model(content, Random(f"model {number}{SEED}")))
        try:
            with at_most(10):
                files.load(tmp_path)
            loaded += 1
        except UserError as error:
            assert str(error).strip()
        except BaseException as error:
            raise AssertionError(f"model {number}: {type(error).__name__}: {error}") from error
    assert loaded < CASES


RECIPE: dict[str, Any] = {
    "name": "x-trial-1",
    "data": "digits",
    "teacher": {"from": "teacher", "sampling_steps": 4},
    "recipe": [{"prune": {"ratio": {"mid": 0.3}, "criterion": "magnitude"}}, {"distil": {"sampling_steps": 4}}],
    "objectives": ["fid", "size_mb"],
    "budget": {"trials": 1, "images": 1_000},
    "resources": {"cpu": 1, "gpu": 0},
}
LINEAGE = {"study": "x", "trial": 1, "seed": 3, "teacher": {"fid": 3.0}, "confirmed": {}}
RECORD = {"measurements": {"fid": {"value": 3.0, "stderr": 0.1, "samples": 64, "by": "labels"}}, "seed": 3}


def test_damaged_exports_are_read_or_refused(tiny: DiffusionModel, tmp_path):
    files.save(tiny, tmp_path / "teacher")
    read = 0
    for number in range(CASES):
        generator = Random(f"export {number}{SEED}")
        for name, content in (("recipe.yaml", RECIPE), ("lineage.json", LINEAGE), ("measurements.json", RECORD)):
            found = mutated(content, generator) if generator.random() < 0.4 else content
            raw = json.dumps(found).encode()
            (tmp_path / name).write_bytes(damaged(raw, generator) if generator.random() < 0.2 else raw)
        try:
            with at_most(10):
                job = Job.read(tmp_path)
                ModelFolder(tmp_path / "model", tmp_path, job).trial()
                job.recipe.mistakes(job.teacher.planned_for(job.data))
            read += 1
        except UserError as error:
            assert str(error).strip()
        except BaseException as error:
            raise AssertionError(f"export {number}: {type(error).__name__}: {error}") from error
    assert 0 < read < CASES
