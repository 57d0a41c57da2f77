"""A study: what is asked meets every limit, what is told is kept for good, and nothing else costs budget."""

from __future__ import annotations

import json
import random
from pathlib import Path

import optuna
import pytest
import torch

from objectives.device_model import calibrated
from search.known import Foresight
from search.lease import StudyHeldError, held
from search.preparation import planned_teacher
from search.samplers.sampler import SAMPLERS
from search.space import Space
from search.study import Asked, Study
from trainers.cache import Cache
from trainers.errors import UserError

SPACE = """\
name: told
teacher: {network: {unet: {channels: [8, 16], norm_groups: 4}}}
recipe:
  - prune:
      criterion: {choice: [{diff_pruning: {threshold: {float: [0.0, 0.1]}}}, magnitude]}
      ratio: {mid: {float: [0.0, 0.8]}, up_0: {float: [0.0, 0.6]}}
  - quantize: {bits: {choice: [32, 8, 4]}}
objectives: [{fid: {extractor: labels}}, size_mb]
constraints: ["prune.ratio.mid >= prune.ratio.up_0"]
budget: {trials: 14, images: 1_000}
"""


@pytest.fixture
def open_study(tmp_path: Path, cache: Cache):
    def build(*overrides: str, limits: dict[str, float] | None = None) -> Study:
        (tmp_path / "told.yaml").write_text(SPACE)
        space = Space.read(tmp_path / "told.yaml", overrides)
        device = calibrated(torch.device("cpu"), cache, threads=1)
        foresight = Foresight(space, planned_teacher(space), device, limits or {"fid": 50.0, "size_mb": 0.2})
        return Study(tmp_path / "told", space, foresight, {"values": {}, "stderr": {}})

    return build


def results(study: Study, asked: Asked, *, fid: float | None = None) -> list[dict]:
    """What a trial would measure: the true size, and an FID that falls with it."""
    size = study.foresight.of(asked.candidate).costs["size_mb"]
    measured = {"fid": 5 / size if fid is None else fid, "size_mb": size}
    return [
        {
            "images": 1_000,
            "is_last": True,
            "measurements": {
                name: {"value": value, "stderr": 0.1, "samples": 9, "by": "x"} for name, value in measured.items()
            },
            "seconds": {"prune": 0.5},
            "notes": [],
        }
    ]


@pytest.mark.parametrize("name", SAMPLERS.names())
def test_every_sampler_runs_a_study_to_its_end(open_study, name: str) -> None:
    # Optuna's Gaussian process takes seconds for each suggestion after its random ones.
    sampler = "{gp: {startup_trials: 4}}" if name == "gp" else name
    study = open_study(f"sampler={sampler}", "budget.trials=6")
    while (asked := study.ask()) is not None:
        assert asked.candidate["prune.ratio.mid"] >= asked.candidate["prune.ratio.up_0"]
        assert study.foresight.of(asked.candidate).costs["size_mb"] <= 0.2
        study.tell(asked.number, results(study, asked))
    records = study.records()
    assert sum(record.state == "complete" for record in records) == 6 and study.is_finished()
    assert {record.state for record in records} <= {"complete", "rejected"}
    views = study.write_views()
    assert [trial.number for trial in views.trials] == [record.number for record in records]
    # FID falls with size, so every distinct size within the limits is on the front.
    sizes = {round(record.values["size_mb"], 9) for record in records if record.state == "complete"}
    within = {size for size in sizes if 5 / size <= 50.0}
    assert {round(point.values["size_mb"], 9) for point in views.front.points} == within


def test_limits_reach_the_sampler_as_constraints(open_study) -> None:
    study = open_study()
    asked = study.ask()
    study.tell(asked.number, results(study, asked, fid=75.0))
    storage = f"sqlite:///{(study.folder / 'study.db').resolve()}"
    (trial,) = [
        trial
        for trial in optuna.load_study(study_name="told", storage=storage).get_trials()
        if trial.state == optuna.trial.TrialState.COMPLETE
    ]
    assert trial.constraints["fid"] == pytest.approx(0.5) and trial.constraints["size_mb"] <= 0
    assert study.write_views().front.points == []


def test_failed_trials_have_a_reason_and_cost_budget(open_study) -> None:
    study = open_study("budget.trials=2")
    asked = study.ask()
    study.fail(asked.number, "FloatingPointError: the loss is not finite")
    assert study.left() == 1
    missing = study.ask()
    broken = results(study, missing)
    del broken[0]["measurements"]["fid"]
    assert study.tell(missing.number, broken).reason == "objective fid was not measured"
    assert study.ask() is None and study.is_finished()
    assert [record.state for record in study.records() if record.state != "rejected"] == ["failed", "failed"]


def test_a_narrow_region_is_found(open_study) -> None:
    """A limit that a few candidates in a hundred meet: the study still asks for those alone."""
    wide, generator = open_study(), random.Random(1)
    known = [wide.foresight.of(wide.space.random_candidate(generator)) for _ in range(500)]
    sizes = sorted(answer.costs["size_mb"] for answer in known if not answer.reasons)
    narrow = sizes[len(known) // 50]
    study = open_study("sampler={random: {seed: 1}}", limits={"fid": 1e6, "size_mb": narrow})
    for _ in range(3):
        asked = study.ask()
        assert study.foresight.of(asked.candidate).costs["size_mb"] <= narrow
        study.tell(asked.number, results(study, asked))


def test_a_region_that_is_empty_is_an_error(open_study) -> None:
    with pytest.raises(UserError, match="random candidates meets the limits"):
        open_study(limits={"size_mb": 0.001}).ask()


def test_reopening_goes_on_and_does_not_repeat(open_study) -> None:
    first = open_study("sampler={random: {seed: 3}}")
    candidates = []
    for _ in range(3):
        asked = first.ask()
        first.tell(asked.number, results(first, asked))
        candidates.append(asked.candidate)
    again = open_study("sampler={random: {seed: 3}}")
    assert [record.candidate for record in again.records() if record.state == "complete"] == candidates
    assert again.left() == 11 and again.ask().candidate not in candidates


def test_views_are_rebuilt_from_the_database(open_study) -> None:
    study = open_study()
    asked = study.ask()
    study.tell(asked.number, results(study, asked))
    study.write_views()
    before = {name: (study.folder / name).read_bytes() for name in ("front.json", "trials.jsonl")}
    (study.folder / "front.json").write_text("{ torn")
    (study.folder / "trials.jsonl").unlink()
    open_study().write_views()
    assert (study.folder / "trials.jsonl").read_bytes() == before["trials.jsonl"]
    rebuilt, kept = (json.loads(text) for text in ((study.folder / "front.json").read_text(), before["front.json"]))
    assert rebuilt["points"] == kept["points"] and rebuilt["hypervolume"] == kept["hypervolume"]
    assert len(study.table()) == len(study.records())


def test_a_study_has_one_driver(tmp_path: Path) -> None:
    with held(tmp_path), pytest.raises(StudyHeldError, match="held by another driver"), held(tmp_path):
        pass
    with held(tmp_path):
        pass


def test_a_file_in_the_database_s_place_is_refused(open_study, tmp_path: Path) -> None:
    (tmp_path / "told").mkdir()
    (tmp_path / "told" / "study.db").write_bytes(b"not a database" * 100)
    with pytest.raises(UserError, match="not a usable database"):
        open_study()
