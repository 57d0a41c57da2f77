"""Trials whose machines share no folder: files travel through a place that all of them reach."""

from __future__ import annotations

import io
import json
import re
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from rich.console import Console
from safetensors.torch import load_file

from search import checkpoints
from search.checkpoints import Checkpoints, check_reachable
from search.drive import carried_out, keep, plan_of
from search.evaluate import Workshop
from search.known import Foresight
from search.live import PlainWatcher, Tally
from search.session import Session
from search.space import Space, SpaceError
from search.study import Study
from tests.devices import ONE_CORE
from tests.search.told_space import TOLD
from trainers.cache import Cache
from trainers.data.dataset import Images
from trainers.distillation import _loop
from trainers.errors import UserError
from trainers.models.diffusion_model import DiffusionModel
from trainers.states import STATE_FILE

SPACE = """\
teacher: {from: somewhere}
recipe:
  - prune: {criterion: magnitude, ratio: {mid: {float: [0.0, 0.8]}}}
  - distil: {batch: 64, sampling_steps: 2, learning_rate: 1e-3}
objectives: [{fid: {extractor: labels, samples: 40}}, size_mb]
limits: {fid: 100_000}
budget: {trials: 1, images: {min: 128, max: 384}}
sampler: {random: {seed: 2}}
confirm: 1
"""
RESULTS = {"measurements.json", "model.safetensors", "recipe.yaml", "samples.webp", "log.txt"}


@pytest.fixture
def shop(tmp_path: Path, tiny: DiffusionModel, digits: Images, cache: Cache) -> Workshop:
    (tmp_path / "tiny.yaml").write_text(SPACE)
    objectives = Space.read(tmp_path / "tiny.yaml").objectives
    return Workshop(tiny, digits, objectives, cache, torch.device("cpu"))


def study_in(folder: Path, shop: Workshop, *overrides: str) -> Study:
    (folder / "tiny.yaml").write_text(SPACE)
    space = Space.read(folder / "tiny.yaml", overrides)
    foresight = Foresight(space, shop.teacher.spec, ONE_CORE, {"fid": 1e5})
    return Study(folder / "study", space, foresight, {"values": {}, "stderr": {}})


def carried_on(study: Study, shop: Workshop, machines: Path) -> list[dict[str, Any]]:
    """Each job of the study on a machine of its own; what was told."""
    told = []
    for number in range(20):
        job = study.next()
        if job is None:
            return told
        plan = plan_of(study, job)
        if plan.checkpoints:
            plan = replace(plan, folder=str(machines / f"machine{number}" / "study" / study.trial_path(job.number)))
        for result in carried_out(plan, shop):
            assert "failed" not in result, result
            told.append({key: result[key] for key in ("images", "measurements", "confirmed") if key in result})
            if job.kind == "confirm":
                study.confirm(job.number, result["confirmed"])
            else:
                study.report(job.number, result, seconds=result.pop("busy_seconds"))
    raise AssertionError("it does not end")


@pytest.mark.parametrize("kind", ["file", "memory"])
def test_a_trial_goes_on_on_other_machines_as_on_one(
    tmp_path: Path, shop: Workshop, monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
    # In place of a store that fsspec alone reaches.
    monkeypatch.setattr(checkpoints, "_SCHEMES", ("file", "memory"))
    together, apart = tmp_path / "together", tmp_path / "apart"
    together.mkdir(), apart.mkdir()
    place = f"file://{tmp_path}/copies" if kind == "file" else "memory://copies"
    alone = carried_on(study_in(together, shop), shop, tmp_path)
    study = study_in(apart, shop, f"checkpoints={place}")
    assert carried_on(study, shop, tmp_path) == alone
    assert [each.get("images") for each in alone] == [128, 384, None]
    # Three machines had a part in it, and the study's folder has what the trial left; no state is kept.
    assert len(list(tmp_path.glob("machine*"))) == 3
    trial = apart / "study" / study.trial_path(0)
    assert {file.name for file in trial.iterdir()} == RESULTS
    same = together / "study" / study.trial_path(0)
    ours, theirs = (load_file(folder / "model.safetensors") for folder in (trial, same))
    assert ours.keys() == theirs.keys() and all(torch.equal(ours[name], theirs[name]) for name in ours)
    assert STATE_FILE not in Checkpoints(study.checkpoints_uri(0)).get(tmp_path / "fetched")


def test_a_result_that_the_driver_did_not_hear_of_is_fetched(tmp_path: Path, shop: Workshop) -> None:
    place = f"checkpoints=file://{tmp_path}/copies"
    study = study_in(tmp_path, shop, place, "budget.images=384")
    job = study.next()
    assert job is not None
    plan = replace(plan_of(study, job), folder=str(tmp_path / "machine" / "study" / study.trial_path(0)))
    (result,) = carried_out(plan, shop)
    again = study_in(tmp_path, shop, place, "budget.images=384")
    assert again.adopt_orphans() == {0: "finished"}
    assert again.records()[0].values["fid"] == result["measurements"]["fid"]["value"]


def test_a_result_of_an_earlier_study_of_this_name_is_not_taken(tmp_path: Path, shop: Workshop) -> None:
    place = f"checkpoints=file://{tmp_path}/copies"
    first = study_in(tmp_path, shop, place, "budget.images=384")
    carried_on(first, shop, tmp_path)
    shutil.rmtree(first.folder)
    second = study_in(tmp_path, shop, place, "budget.images=384", "sampler={random: {seed: 9}}")
    assert second.next() is not None
    assert study_in(tmp_path, shop, place, "budget.images=384").adopt_orphans() == {0: "queued"}


def test_a_machine_that_does_not_see_the_study_says_so(tmp_path: Path, shop: Workshop) -> None:
    study = study_in(tmp_path, shop)
    job = study.next()
    assert job is not None
    plan = replace(plan_of(study, job), folder=str(tmp_path / "elsewhere" / "study" / study.trial_path(0)))
    (result,) = carried_out(plan, shop)
    assert "does not see the study's folder" in result["failed"] and "--set checkpoints=s3://" in result["failed"]


def test_the_log_of_a_failure_elsewhere_lies_in_the_study_s_folder(
    tmp_path: Path, shop: Workshop, monkeypatch: pytest.MonkeyPatch
) -> None:
    study = study_in(tmp_path, shop, f"checkpoints=file://{tmp_path}/copies", "budget.images=384")
    job = study.next()
    assert job is not None
    monkeypatch.setattr(_loop._Rate, "after", lambda rate, seen: float("nan"))
    plan = replace(plan_of(study, job), folder=str(tmp_path / "machine" / "study" / study.trial_path(0)))
    (result,) = carried_out(plan, shop)
    keep(
        study,
        job,
        json.loads(json.dumps(result)),
        PlainWatcher(Tally(study, workers=1, expected_seconds=1.0), Console(file=io.StringIO())),
    )
    (record,) = study.records()
    assert record.kind == "diverged" and "Traceback" in (study.folder / record.path / "log.txt").read_text()


def test_files_come_whole_and_stay_in_the_folder(tmp_path: Path) -> None:
    copies, folder = Checkpoints(f"file://{tmp_path}/copies/one"), tmp_path / "one"
    folder.mkdir()
    (folder / "log.txt").write_text("old")
    copies.put(folder)
    (tmp_path / "copies" / "one" / ".log.txt.part").write_text("cut short")
    (folder / "log.txt").write_text("new")
    assert copies.get(tmp_path / "two") == ["log.txt"]
    assert [file.name for file in (tmp_path / "two").iterdir()] == ["log.txt"]
    assert Checkpoints(f"file://{tmp_path}/copies/none").get(tmp_path / "three") == []
    copies.drop("log.txt")
    copies.drop("log.txt")
    assert copies.get(tmp_path / "four") == []


@pytest.mark.parametrize(("uri", "said"), [("file:///proc/nothing", "cannot be used"), ("nosuch://a/b", "nosuch")])
def test_a_place_that_cannot_be_used_is_said_beforehand(uri: str, said: str) -> None:
    with pytest.raises(UserError, match=said):
        check_reachable(uri, is_named=True)


@pytest.mark.parametrize(
    "uri",
    [
        "bucket/studies",
        "s3://me:secret@bucket/studies",
        "s3://me:secret@[bucket",
        "3",
        "s3://",
        "S3://bucket/studies",
        "memory://copies",
        "reference://copies",
        "https://example.org/studies",
        "sftp://example.org/studies",
        "simplecache::s3://bucket/studies",
        "az://bucket/studies::reference://x",
    ],
)
def test_a_space_names_a_place_without_a_password(tmp_path: Path, uri: str) -> None:
    (tmp_path / "tiny.yaml").write_text(f"{SPACE}checkpoints: {uri}\n")
    with pytest.raises(SpaceError, match="checkpoints") as error:
        Space.read(tmp_path / "tiny.yaml")
    assert "secret" not in str(error.value)


@pytest.mark.parametrize("scheme", ["s3", "gs", "gcs", "abfs", "abfss", "az", "hdfs", "file"])
def test_a_space_may_name_each_of_the_usual_stores(tmp_path: Path, scheme: str) -> None:
    (tmp_path / "tiny.yaml").write_text(f"{SPACE}checkpoints: {scheme}://bucket/studies\n")
    assert Space.read(tmp_path / "tiny.yaml").checkpoints == f"{scheme}://bucket/studies"


def test_nothing_is_written_where_only_a_space_says(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    uri = (tmp_path / "else where").as_uri()
    (tmp_path / "told.yaml").write_text(f"{TOLD}checkpoints: {uri}\n")
    with pytest.raises(UserError, match=r"only the space names file:///.*add --set checkpoints=file:///") as error:
        Session(tmp_path / "told.yaml", workers=0).go()
    assert [path.name for path in tmp_path.iterdir()] == ["told.yaml"]
    # What it says to add is all that it takes.
    override = re.search(r"--set (checkpoints=\S+) to the command", str(error.value))
    assert override is not None
    space = Space.read(tmp_path / "told.yaml", [override[1]])
    check_reachable(space.checkpoints, is_named=space.is_named("checkpoints"))
    assert (tmp_path / "else where").is_dir()
    space = Space.read(tmp_path / "told.yaml", ["checkpoints=null"])
    check_reachable(space.checkpoints, is_named=space.is_named("checkpoints"))


def test_only_what_can_be_a_file_s_name_everywhere_comes_from_there(tmp_path: Path) -> None:
    there, here = tmp_path / "there", tmp_path / "here"
    there.mkdir()
    here.mkdir()
    for name in ("model.safetensors", ".part", "a\\..\\b", "NUL", "a\x1b[2J", "log.", "a b"):
        (there / name).write_text(name)
    assert Checkpoints(there.as_uri()).get(here) == ["model.safetensors"]
    assert [path.name for path in here.iterdir()] == ["model.safetensors"]
