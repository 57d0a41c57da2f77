"""Going on with a finished study: candidates by hand, a start from it, whoever looks on, and the same from Python."""

from __future__ import annotations

import json
import shutil
import sqlite3
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import pytest

from objectives.fid import Fid
from objectives.objective import Measurement
from search import Study
from search.run import main as run_command
from trainers.cache import Cache
from trainers.errors import UserError
from trainers.models.diffusion_model import DiffusionModel
from trainers.provenance import versions
from trainers.run import Run

BY_HAND = """\
prune.rule: flexible
prune.criterion: magnitude
prune.ratio.mid: 0.4
prune.ratio.up_0: 0.4
distil.sampling_steps: 5
quantize.bits: 8
"""


@pytest.fixture
def copied(home: Path, cache: Cache, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The finished study in a folder of its own, which is the working directory."""
    shutil.copytree(home / "studies", tmp_path / "studies")
    shutil.copyfile(home / "tiny.yaml", tmp_path / "tiny.yaml")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("SLIMFRONT_CACHE", str(cache.folder))
    (tmp_path / "candidate.yaml").write_text(BY_HAND)
    return Path("studies/runs/tiny")


def lines(study: Path) -> list[dict]:
    return [json.loads(line) for line in (study / "trials.jsonl").read_text().splitlines()]


@pytest.mark.parametrize("workers", [0, 2])
def test_a_candidate_is_tried_once_on_a_finished_study(
    copied: Path, capsys: pytest.CaptureFixture[str], workers: int
) -> None:
    before = lines(copied)
    options = {"try_": [Path("candidate.yaml")], "set_": ["tracker=tensorboard"]}
    assert run_command(Path("tiny.yaml"), workers=workers, **options) == 0
    said = capsys.readouterr().out
    (new,) = [line for line in lines(copied) if line["number"] not in {line["number"] for line in before}]
    assert f"by hand: trained in full beside the budget, as trial {new['number']}" in said
    assert new["by_hand"] and new["state"] == "complete" and new["images"] == 3_000 and len(new["rungs"]) == 1
    assert new["candidate"] == {
        "prune.rule": "flexible",
        "prune.criterion": "magnitude",
        "prune.ratio.mid": 0.4,
        "prune.ratio.up_0": 0.4,
        "distil.sampling_steps": 5,
        "quantize.bits": 8,
    }
    assert list((copied / "tensorboard").rglob("events.out.tfevents.*"))
    after = (copied / "trials.jsonl").read_text()
    if workers == 0:
        assert run_command(Path("tiny.yaml"), workers=0, **options) == 0
        assert f"tried already, as trial {new['number']}" in capsys.readouterr().out
        assert (copied / "trials.jsonl").read_text() == after


def test_a_study_begins_with_another_ones_results(copied: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Other bits and a shifted range; in two runs, of which the second finds the other study gone."""
    changed = ["quantize.bits={choice: [8, 4]}", "prune.ratio.mid={float: [0.3, 0.9]}", f"from_study={copied}"]
    first = Study.run("tiny.yaml", name="shifted", trials=1, overrides=changed)
    said = capsys.readouterr().out
    assert f"results of {copied} (" in said and "of 7 knobs shared" in said
    copied.rename("gone")
    second = Study.run("tiny.yaml", name="shifted", trials=2, overrides=changed)
    numbers = list(first.table().index)
    assert list(second.table().index)[: len(numbers)] == numbers and len(second.table()) > len(numbers)
    exported = second.export(int(second.front().index[0]), "student")
    assert (exported / "recipe.yaml").is_file() and (exported / "model.safetensors").is_file()
    assert json.loads((second.views.folder / "from_study.json").read_text())[0]["path"] == str(copied)


def test_trials_of_other_versions_are_told_apart(copied: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with closing(sqlite3.connect(copied / "study.db")) as database, database:
        was = f'"torch": "{versions()["torch"]}"'
        changed = database.execute(
            "UPDATE trial_user_attributes SET value_json = replace(value_json, ?, ?)", (was, '"torch": "1.0"')
        )
        assert changed.rowcount
    assert run_command(Path("tiny.yaml"), workers=0) == 0
    said = capsys.readouterr().out
    assert "ran elsewhere, and what follows may differ from it: torch 1.0, now " in said


def test_failures_that_are_all_alike_pause_the_study(
    copied: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    measure, calls = Fid.measure, []

    def measured(self: Fid, model: DiffusionModel, run: Run) -> Measurement:
        calls.append(model)
        found = measure(self, model, run)
        # The first is of the teacher.
        return found if len(calls) == 1 else replace(found, value=float("nan"))

    with monkeypatch.context() as broken:
        broken.setattr(Fid, "measure", measured)
        assert run_command(Path("tiny.yaml"), workers=0, name="broken") == 4
    study = Path("studies/runs/broken")
    said = capsys.readouterr().err
    assert "paused: 5 times in a row it ended alike (diverged)" in said and "objective fid is nan" in said
    assert "python -m search.run tiny.yaml --name broken --workers 0" in said
    failed = [line for line in lines(study) if line["state"] == "failed" and line["kind"] == "diverged"]
    assert len(failed) == 5 and len(calls) == 6
    # The cause is put right; every trial still counts as it ended.
    assert run_command(Path("tiny.yaml"), workers=0, name="broken", trials=3) == 0
    assert [line for line in lines(study) if line["number"] in {each["number"] for each in failed}] == failed
    assert any(line["state"] == "complete" for line in lines(study))


def test_mistakes_are_found_before_anything_is_computed(copied: Path) -> None:
    before = (copied / "trials.jsonl").read_text()
    Path("candidate.yaml").write_text(BY_HAND.replace("0.4", "0.95"))
    with pytest.raises(UserError, match=r"candidate.yaml has 2 mistakes"):
        Study.run("tiny.yaml", candidates=["candidate.yaml"])
    with pytest.raises(UserError, match=r"tracker: mlflow needs the package 'mlflow', which is not installed"):
        Study.run("tiny.yaml", overrides=["tracker=mlflow"])
    with pytest.raises(UserError, match="nowhere does not exist"):
        Study.run("tiny.yaml", name="other", overrides=["from_study=studies/nowhere"])
    assert (copied / "trials.jsonl").read_text() == before and not Path("studies/runs/other").exists()
