"""Times that were measured on different devices are never compared."""

from __future__ import annotations

from contextlib import nullcontext
from pathlib import Path
from typing import Any

import pytest
import torch
from rich.console import Console

from search.devices import Stranger, timed_by, warning
from search.job import Job
from search.known import Foresight
from search.preflight import check_gpus
from search.preparation import planned_teacher
from search.searching import Searching
from search.space import Space
from search.study import Study
from search.workers import worker_count
from tests.devices import ONE_CORE
from tests.search.told_space import TOLD
from trainers.cache import Cache
from trainers.errors import UserError
from trainers.resources import Resources

HERE, THERE = "cuda: L4", "cuda: T4"
OBJECTIVES = "objectives=[{fid: {extractor: labels}}, size_mb, latency_ms]"


@pytest.fixture
def study(tmp_path: Path, cache: Cache) -> Study:
    (tmp_path / "told.yaml").write_text(f"{TOLD}budget: {{trials: 2, images: 100}}\nsampler: {{random: {{seed: 3}}}}\n")
    space = Space.read(tmp_path / "told.yaml", [OBJECTIVES])
    limits = {"fid": 50.0, "size_mb": 10.0, "latency_ms": 1e6}
    measured = {"fid": {"by": "labels"}, "size_mb": {"by": ""}, "latency_ms": {"by": HERE}}
    teacher = {"values": {}, "stderr": {}, "measurements": measured}
    return Study(tmp_path / "told", space, Foresight(space, planned_teacher(space), ONE_CORE, limits), teacher)


def measured_on(device: str, *, fid: float, latency_ms: float) -> dict[str, Any]:
    values = {"fid": (fid, "labels"), "size_mb": (0.1, ""), "latency_ms": (latency_ms, device)}
    return {
        "images": 100,
        "is_last": True,
        "measurements": {
            name: {"value": value, "stderr": 0.1, "samples": 9, "by": by} for name, (value, by) in values.items()
        },
        "seconds": {},
        "notes": [],
        "device": device,
    }


def jobs(study: Study) -> list[Job]:
    first, second = study.next(), study.next()
    assert first is not None and second is not None
    return [first, second]


def test_a_time_of_another_device_is_kept_but_not_compared(study: Study) -> None:
    ours, theirs = jobs(study)
    study.report(ours.number, measured_on(HERE, fid=30, latency_ms=9.0))
    # Better in everything, were times of two devices comparable.
    record = study.report(theirs.number, measured_on(THERE, fid=20, latency_ms=1.0))
    assert record.state == "complete" and record.values["latency_ms"] == 1.0 and record.by["latency_ms"] == THERE
    views = study.write_views()
    assert [point.trial for point in views.front.points] == [ours.number]
    assert [trial.number for trial in views.eligible] == [ours.number] and len(views.complete) == 2
    found = views.front.elsewhere
    assert found == [Stranger(trial=theirs.number, objective="latency_ms", device=THERE)]
    assert f"1 trials ({theirs.number}) measured latency_ms on {THERE}, the teacher on {HERE}" in warning(
        found, study.times
    )
    # The sampler learns its FID, and in the place of its time what is foretold for the study's device.
    told = study._database.trial(theirs.number).values
    foretold = study.foresight.of(theirs.candidate).costs["latency_ms"]
    assert told == [20, 0.1, foretold] and foretold != 1.0
    again = study.next()
    assert again is not None and (again.kind, again.number) == ("confirm", ours.number)


def test_a_second_time_of_another_device_does_not_count(study: Study) -> None:
    ours, theirs = jobs(study)
    for job in (ours, theirs):
        study.report(job.number, measured_on(HERE, fid=30, latency_ms=9.0))
    measured = {
        name: {"value": value, "stderr": 0.1, "draws": 3} for name, value in (("fid", 31.0), ("latency_ms", 1.0))
    }
    by_there = {**measured, "latency_ms": {**measured["latency_ms"], "by": THERE}}
    assert study.confirm(ours.number, by_there).confirmed == {"fid": measured["fid"]}
    by_here = {**measured, "latency_ms": {**measured["latency_ms"], "by": HERE}}
    assert study.confirm(theirs.number, by_here).confirmed == measured
    alone = {"latency_ms": by_there["latency_ms"]}
    assert study.confirm(ours.number, alone).confirmed == {"fid": measured["fid"]}


def test_only_times_belong_to_a_device(study: Study) -> None:
    assert timed_by(study.teacher, study.space.named_objectives) == {"latency_ms": HERE}
    assert timed_by({"values": {}}, study.space.named_objectives) == {}


# GPUs


@pytest.mark.parametrize(("gpu", "count"), [(1, 4), (0.5, 8), (0.4, 8), (0.3, 12), (2, 2), (3, 1)])
def test_as_many_trials_as_fit_on_the_devices(monkeypatch: pytest.MonkeyPatch, gpu: float, count: int) -> None:
    monkeypatch.setattr("os.cpu_count", lambda: 64)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 4)
    assert worker_count(None, Resources(gpu=gpu), address=None) == count


@pytest.mark.parametrize(("gpu", "workers", "given"), [(1, 8, 4), (0.4, 12, 4), (0.5, 3, 2), (2, 1, 2), (0, 8, 0)])
def test_ray_is_told_of_no_device_that_is_not_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, gpu: float, workers: int, given: int
) -> None:
    """It would number them, and trials would be placed where there is none."""
    from search import tune

    started: dict[str, Any] = {}
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 4)
    monkeypatch.setattr(tune, "start", lambda **given: started.update(given))
    monkeypatch.setattr(tune, "search_on_ray", lambda *args, **options: None)
    (tmp_path / "told.yaml").write_text(f"{TOLD}resources: {{gpu: {gpu}}}\n")
    space = Space.read(tmp_path / "told.yaml")
    view: Any = nullcontext()
    Searching(space=space, folder=tmp_path, console=Console(quiet=True), workers=workers, address=None).run(
        None,
        None,
        view,  # type: ignore[arg-type]
    )
    assert (started["gpus"], started["cpus"]) == (given, workers)


def test_the_driver_needs_the_device_that_its_workers_have(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "told.yaml").write_text(f"{TOLD}resources: {{gpu: 0.5}}\n")
    space = Space.read(tmp_path / "told.yaml")
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(UserError, match=r"trials ask for 0.5 GPU each, and this machine has none. The teacher is"):
        check_gpus(space, address="auto")
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    check_gpus(space, address="auto")
