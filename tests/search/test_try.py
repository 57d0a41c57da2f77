"""Candidates tried by hand, and budgets that are raised again and again."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from search import stored
from search.by_hand import check_allowed, queue, read_candidates
from search.job import Job
from search.known import Foresight
from search.preparation import planned_teacher
from search.space import Space
from search.study import Study
from tests.devices import ONE_CORE
from tests.search.told_space import TOLD
from trainers.cache import Cache
from trainers.errors import UserError

SPACE = (
    TOLD
    + """\
budget: {trials: 4, images: {min: 300, max: 900}}
confirm: false
sampler: {random: {seed: 0}}
"""
)
PLAIN = "prune.criterion: magnitude\nprune.ratio.mid: 0.5\nprune.ratio.up_0: 0\nquantize.bits: 8\n"
OTHER = PLAIN.replace("0.5", "0.25")


@pytest.fixture
def open_study(tmp_path: Path, cache: Cache):
    def build(*overrides: str) -> Study:
        (tmp_path / "told.yaml").write_text(SPACE)
        space = Space.read(tmp_path / "told.yaml", overrides)
        foresight = Foresight(space, planned_teacher(space), ONE_CORE, {"fid": 1e6, "size_mb": 0.2})
        return Study(tmp_path / "told", space, foresight, {"values": {}, "stderr": {}})

    return build


@pytest.fixture
def candidate(tmp_path: Path, open_study):
    def read(text: str) -> dict[str, Any]:
        (tmp_path / "candidate.yaml").write_text(text)
        return read_candidates([tmp_path / "candidate.yaml"], open_study().space)[0]

    return read


def done(study: Study, job: Job) -> Any:
    """Report all that a job measures; FID falls as the model grows."""
    if job.kind == "confirm":
        first = study.records()[job.number].values["fid"]
        return study.confirm(job.number, {"fid": {"value": first + 1, "stderr": 0.1, "draws": 3}})
    size = study.foresight.of(job.candidate).costs["size_mb"]
    for rung in range(job.first_rung, job.last_rung + 1):
        images = study.space.budget.rungs[rung]
        measured = {"fid": 5 / size * (900 / images) ** 0.3, **({"size_mb": size} if images == 900 else {})}
        found = {name: {"value": value, "stderr": 0.1, "samples": 9, "by": ""} for name, value in measured.items()}
        result = {"images": images, "is_last": images == 900, "measurements": found, "seconds": {}, "notes": []}
        record = study.report(job.number, result)
    return record


def run_through(study: Study) -> list[Job]:
    jobs = []
    while (job := study.next()) is not None:
        jobs.append(job)
        done(study, job)
    assert study.is_finished()
    return jobs


def test_a_candidate_comes_first_in_full_and_beside_the_budget(open_study, candidate) -> None:
    study = open_study()
    assert queue(study, [candidate(PLAIN), candidate(OTHER)]) == (
        "by hand: trained in full beside the budget, as trial 0, 1"
    )
    first, second, *rest = run_through(study)
    assert (first.number, first.first_rung, first.last_rung) == (0, 0, 1)
    assert first.candidate == candidate(PLAIN) and second.candidate == candidate(OTHER)
    spent = sum((1 / 3, 1.0)[job.last_rung] - (0.0, 1 / 3)[job.first_rung] for job in rest)
    assert spent == pytest.approx(4 - study.left()) and study.left() < 2 / 3
    records = study.records()
    assert [record.by_hand for record in records] == [True, True] + [False] * (len(records) - 2)
    written = [json.loads(line) for line in (study.write_views().folder / "trials.jsonl").read_text().splitlines()]
    assert [line["number"] for line in written if line["by_hand"]] == [0, 1]


def test_a_finished_study_trains_exactly_these(open_study, candidate) -> None:
    before = run_through(open_study())
    study = open_study()
    assert study.is_finished()
    number, is_new = study.try_by_hand(candidate(PLAIN))
    assert is_new and not study.is_finished() and study.left() == open_study().left()
    assert [job.number for job in run_through(study)] == [number] and number > max(job.number for job in before)
    assert study.records()[number].state == "complete"


def test_asked_twice_is_tried_once_unless_it_failed(open_study, candidate) -> None:
    study = open_study()
    assert study.try_by_hand(candidate(PLAIN)) == (0, True) and study.try_by_hand(candidate(PLAIN)) == (0, False)
    job = study.next()
    assert open_study().try_by_hand(candidate(PLAIN)) == (0, False)
    study.fail(job.number, "the loss is not finite")
    again, is_new = open_study().try_by_hand(candidate(PLAIN))
    assert is_new and again == 1
    study = open_study()
    done(study, study.next())
    assert queue(study, [candidate(PLAIN)]) == "by hand: tried already, as trial 1"


@pytest.mark.parametrize("rungs", [0, 1])
def test_its_driver_may_die(open_study, candidate, rungs: int) -> None:
    """Before its first rung it is queued again, after it it goes on from there, and by hand it stays."""
    dead = open_study()
    dead.try_by_hand(candidate(PLAIN))
    job = dead.next()
    if rungs:
        done(dead, Job(number=job.number, candidate=job.candidate))
    heir = open_study()
    assert heir.adopt_orphans() == {0: "wait" if rungs else "queued"}
    assert heir.try_by_hand(candidate(PLAIN)) == (0 if rungs else 1, False)
    again = heir.next()
    assert (again.number, again.first_rung, again.last_rung) == ((0, 1, 1) if rungs else (1, 0, 1))
    assert done(heir, again).by_hand and heir.left() == 4


def test_every_mistake_in_every_file_is_told(tmp_path: Path, open_study) -> None:
    for name, text in {
        "one": PLAIN.replace("0.5", "0.9").replace("8", "7") + "prune.ratio.down_0: 0.1\n",
        "two": "prune.criterion: magnitude\nprune.criterion.diff_pruning.threshold: 0.1\n",
        "three": "- a list\n",
        "four": PLAIN,
    }.items():
        (tmp_path / name).write_text(text)
    paths = [tmp_path / name for name in ("one", "two", "three", "four")]
    with pytest.raises(UserError) as caught:
        read_candidates(paths, open_study().space)
    said = str(caught.value)
    assert "prune.ratio.mid: must be in {float: [0.0, 0.8]}, got 0.9." in said
    assert "quantize.bits: must be one of 32, 8, 4, got 7." in said and "prune.ratio.down_0" in said
    assert "quantize.bits: is missing. It must be in {choice: [32, 8, 4]}." in said and "threshold" in said
    assert "three has 1 mistake" in said and "must be a mapping from knobs to values" in said and "four" not in said


def test_what_breaks_a_constraint_is_refused_before_training(tmp_path: Path, open_study, candidate) -> None:
    broken = candidate(PLAIN.replace("up_0: 0", "up_0: 0.6"))
    with pytest.raises(UserError, match=r"breaks the constraint 'prune.ratio.mid >= prune.ratio.up_0'"):
        check_allowed([broken], [tmp_path / "candidate.yaml"], open_study().foresight)
    check_allowed([candidate(PLAIN)], [tmp_path / "candidate.yaml"], open_study().foresight)


def test_numbers_are_read_as_their_knobs_are(candidate) -> None:
    assert candidate(PLAIN)["prune.ratio.up_0"] == 0.0 and isinstance(candidate(PLAIN)["prune.ratio.up_0"], float)


def test_a_budget_may_be_raised_again_and_again(open_study) -> None:
    """Each time the rest is spent, and only what came onto the front since is measured again."""
    confirmed: set[int] = set()
    for trials in (2, 4, 7):
        study = open_study("confirm=3", f"budget.trials={trials}")
        assert not study.is_finished()
        jobs = run_through(study)
        again = {job.number for job in jobs if job.kind == "confirm"}
        assert again and not again & confirmed and study.left() < 2 / 3
        confirmed |= again
        assert {point.trial for point in study.write_views().front.points} <= confirmed
    trials = open_study()._database.trials()
    assert stored.spent(trials) == pytest.approx(7, abs=2 / 3)


def test_other_programs_find_the_objectives_by_name(open_study) -> None:
    assert open_study()._database.optuna.metric_names == ["fid", "size_mb"]
