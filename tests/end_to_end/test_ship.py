"""From a study to a model that is shipped: best, export, full training, a fresh process, and measured again."""

from __future__ import annotations

import json
import os
import shlex
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

from search.best import main as best
from search.space import Space
from search.validate import main as validate
from trainers.full import main as full
from trainers.models import files

MEASURE_AGAIN = """
import json, os, sys, torch
from pathlib import Path
from objectives.fid import Fid
from objectives.macs import MacsG
from objectives.size import SizeMb
from trainers.cache import Cache
from trainers.data.digits import Digits
from trainers.models import files
from trainers.run import Run

torch.set_num_threads(1)
model, cpu = files.load(sys.argv[1]), torch.device("cpu")
cache = Cache(Path(os.environ["SLIMFRONT_CACHE"]))
run = Run(seed=1, device=cpu, images=Digits().load(), teacher=model, cache=cache, budget_images=1, until_images=1)
fid = Fid(samples=200, extractor="labels", seed=9).measure(model, run)
print(json.dumps({"fid": fid.value, "stderr": fid.stderr, "by": fid.by,
                  "size_mb": SizeMb().measure(model, run).value, "macs_g": MacsG().measure(model, run).value}))
"""


def fresh_process(*words: str | Path) -> str:
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])}
    done = subprocess.run([sys.executable, *map(str, words)], capture_output=True, text=True, env=environment)
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.fixture
def one_thread() -> Iterator[None]:
    """Full training sets the threads that the space names."""
    before = torch.get_num_threads()
    yield
    torch.set_num_threads(before)


@pytest.mark.usefixtures("one_thread")
def test_the_round_trip_keeps_costs_and_quality(study: Path, capsys: pytest.CaptureFixture[str]) -> None:
    front = json.loads((study / "front.json").read_text())
    (knee,) = (point for point in front["points"] if point["trial"] == front["knee"])
    bound = f"size_mb={knee['values']['size_mb'] * 1.001}"
    assert best(study, maxima=[bound]) == 0
    said = capsys.readouterr().out
    (offered,) = (line.removeprefix("Export: ") for line in said.splitlines() if line.startswith("Export: "))
    fresh_process(*shlex.split(offered.replace("my-student", "shipped-student"))[1:])
    lineage = json.loads(Path("shipped-student/lineage.json").read_text())
    assert f"--trial {lineage['trial']} " in offered and lineage["data"] and lineage["measured_with"]["torch"]
    assert lineage["teacher"] == front["teacher"]["values"] and lineage["confirmed"]["fid"]["draws"] == 2
    space = Space.read("shipped-student/recipe.yaml", ["teacher.from=shipped-student/teacher"])
    assert space.knobs == () and space.budget.trials == 1

    assert full(Path("shipped-student"), images=5_000) == 0
    said = capsys.readouterr().out
    assert "before" in said and "after" in said and "as in the trial: size_mb" in said and ", macs_g" in said
    record = json.loads(Path("shipped-student/model/measurements.json").read_text())["measurements"]
    exported = json.loads(Path("shipped-student/measurements.json").read_text())["measurements"]
    assert files.load("shipped-student/model").spec.network == files.load("shipped-student").spec.network

    again = json.loads(fresh_process("-c", MEASURE_AGAIN, "shipped-student/model"))
    for cost in ("size_mb", "macs_g"):
        assert again[cost] == record[cost]["value"] == exported[cost]["value"]
    assert again["by"] == record["fid"]["by"]
    apart = (again["stderr"] ** 2 + record["fid"]["stderr"] ** 2) ** 0.5
    # Other noise, so another value, but of the same model.
    assert 0 < abs(again["fid"] - record["fid"]["value"]) < 4 * apart

    assert (Path("shipped-student/model") / "denoiser.pt2").is_file()
    assert "3 images" in fresh_process("shipped-student/model/generate.py", 3)
    assert Path("generated.webp").stat().st_size > 0


@pytest.mark.usefixtures("one_thread")
def test_points_of_the_front_are_trained_in_full_and_compared(
    study: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("PYTHONPATH", str(Path(__file__).parents[2]))
    assert validate(study, points=2, images=1_000, workers=1, json=True) == 0
    found = json.loads(capsys.readouterr().out)
    front = {point["trial"]: point for point in json.loads((study / "front.json").read_text())["points"]}
    fids = sorted(point["values"]["fid"] for point in front.values())
    assert [point["short"]["value"] for point in found["points"]] == [fids[0], fids[-1]]
    for point in found["points"]:
        folder = study / "validation" / f"trial-{point['trial']:04d}" / "1000-images"
        record = json.loads((folder / "measurements.json").read_text())
        assert point["full"]["value"] == record["measurements"]["fid"]["value"] and record["images"] == 1_000
        assert point["changed"] == []
        assert not (folder / "denoiser.pt2").exists() and "denoiser" not in (folder / "model_card.md").read_text()
    assert json.loads((study / "validation" / "validation.json").read_text()) == found
    page = (study / "validation" / "validation.html").read_text()
    assert "data:image/webp;base64," in page and "FID after short and full training" in page
    # What is there is not trained again.
    monkeypatch.setattr(subprocess, "Popen", None)
    assert validate(study, points=2, images=1_000, workers=1) == 0
    assert "FID comes to" in capsys.readouterr().out
