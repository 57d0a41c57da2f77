"""The main job as a user runs it, on real digits: search, views, best, export, full training, and going on."""

from __future__ import annotations

import json
import os
import re
import sqlite3
import statistics
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from search.front import hypervolume, non_dominated
from search.run import main as run_command
from search.space import Space
from trainers.models import files


def lines(study: Path) -> list[dict]:
    return [json.loads(line) for line in (study / "trials.jsonl").read_text().splitlines()]


def in_state(study: Path, *states: str) -> list[dict]:
    return [line for line in lines(study) if line["state"] in states]


def counted(line: dict) -> dict[str, float]:
    """Values with those measured again in the place of the first ones."""
    return {**line["values"], **{name: again["value"] for name, again in line["confirmed"].items()}}


def command(*words: str | Path) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])}
    return subprocess.run(
        [sys.executable, "-m", *map(str, words)], capture_output=True, text=True, env=environment, check=False
    )


def test_views_agree_with_the_database(study: Path) -> None:
    trials = {line["number"]: line for line in lines(study)}
    complete = {number for number, line in trials.items() if line["state"] == "complete"}
    assert len(complete) >= 3
    with sqlite3.connect(study / "study.db") as database:
        rows = database.execute(
            "select t.number, v.objective, v.value from trials t join trial_values v on t.trial_id = v.trial_id"
        ).fetchall()
    names = [objective["name"] for objective in json.loads((study / "front.json").read_text())["objectives"]]
    assert names == ["fid", "size_mb", "macs_g", "latency_ms"]
    assert {row[0] for row in rows} == complete
    for number, objective, value in rows:
        assert trials[number]["values"][names[objective]] == value


def test_the_front_is_what_nothing_else_beats(study: Path) -> None:
    front = json.loads((study / "front.json").read_text())
    names = [objective["name"] for objective in front["objectives"]]
    confirmed = [line for line in in_state(study, "complete") if line["confirmed"]]
    values_NM = np.array([[counted(line)[name] for name in names] for line in confirmed])
    expected = {line["number"] for line, on in zip(confirmed, non_dominated(values_NM), strict=True) if on}
    assert {point["trial"] for point in front["points"]} == expected and expected
    reference = np.array(front["reference"])
    assert front["hypervolume"] == pytest.approx(hypervolume(values_NM / reference, np.ones(4)), abs=1e-5)
    assert front["finished"] and front["knee"] in expected


def test_costs_in_the_results_are_those_of_the_stored_models(study: Path) -> None:
    from objectives.costs import macs, stored_bytes

    for line in lines(study):
        if line["state"] == "complete":
            model = files.load(study / line["path"])
            assert line["values"]["size_mb"] == stored_bytes(model.spec) / 1e6
            assert line["values"]["macs_g"] == macs(model.spec) / 1e9
            assert sum(tensor.nbytes for tensor in files.packed(model)[0].values()) == stored_bytes(model.spec)


def test_constraints_hold_and_rejected_trials_cost_no_budget(study: Path) -> None:
    for line in lines(study):
        holds = line["candidate"]["prune.ratio.mid"] >= line["candidate"]["prune.ratio.up_0"]
        assert holds == (line["state"] in ("complete", "stopped"))
        assert holds or "prune.ratio.mid >= prune.ratio.up_0" in line["reason"]


def test_trial_folders_are_whole(study: Path) -> None:
    for line in lines(study):
        if line["state"] == "complete":
            names = {path.name for path in (study / line["path"]).iterdir()}
            assert {"recipe.yaml", "measurements.json", "samples.webp", "model.safetensors", "log.txt"} <= names
            assert line["by"]["fid"].startswith("digits") and line["samples"]["fid"] == 200
            assert [rung["images"] for rung in line["rungs"]] == [1_000] and line["images"] == 3_000
            assert line["stderr"]["fid"] > 0 and line["stderr"]["size_mb"] == 0


def test_weak_trials_stopped_early_and_can_go_on(study: Path) -> None:
    complete, stopped = in_state(study, "complete"), in_state(study, "stopped")
    assert len(complete) + len(stopped) > 5 and 4 < len(complete) + len(stopped) / 3 <= 5.001
    for line in stopped:
        assert line["reason"] == "stopped at 1,000 of 3,000 images: others promised more"
        assert line["rungs"] == [{"images": 1_000, "values": {"fid": line["values"]["fid"]}}]
        assert {path.name for path in (study / line["path"]).iterdir()} == {"training.safetensors"}
    on_front = {point["trial"] for point in json.loads((study / "front.json").read_text())["points"]}
    assert not on_front & {line["number"] for line in stopped}


def test_the_front_was_measured_again(study: Path) -> None:
    confirmed = {line["number"]: line["confirmed"] for line in in_state(study, "complete") if line["confirmed"]}
    on_front = {point["trial"] for point in json.loads((study / "front.json").read_text())["points"]}
    assert on_front <= set(confirmed)
    for number, again in confirmed.items():
        assert set(again) == {"fid", "latency_ms"} and again["fid"]["draws"] == again["latency_ms"]["draws"] == 2
        first = lines(study)[number]
        assert again["fid"]["value"] != first["values"]["fid"] and again["fid"]["stderr"] > 0
        # 200 samples, drawn with other noise: the same model's value within a few of its errors.
        assert again["fid"]["value"] == pytest.approx(first["values"]["fid"], abs=6 * first["stderr"]["fid"])


def test_training_is_what_makes_the_front_good(study: Path) -> None:
    """The same candidates without training are worse; a search that trains nothing measures the same FID twice."""
    import torch

    from objectives.fid import Fid
    from trainers.cache import Cache
    from trainers.data.digits import Digits
    from trainers.run import Run

    space = Space.read("tiny.yaml")
    images, cache = Digits().load(), Cache(Path(os.environ["SLIMFRONT_CACHE"]))
    cpu = torch.device("cpu")
    teacher = space.teacher.obtain(images, cache=cache, device=cpu, on_progress=lambda progress: None)
    points = json.loads((study / "front.json").read_text())["points"]
    assert points
    ratios = []
    for point in points:
        run = Run(
            seed=0,
            device=cpu,
            images=images,
            teacher=teacher,
            cache=cache,
            budget_images=3_000,
            until_images=0,
        )
        untrained = space.fill(point["candidate"]).run(run)
        fid = Fid(samples=200, extractor="labels").measure(untrained, run).value
        ratios.append(point["values"]["fid"] / fid)
    # Which points these are depends on the machine; of models that are hardly pruned most gain 4 to 5 %, some none.
    assert statistics.fmean(ratios) < 0.98


def test_best_answers_as_json_and_the_answer_fits(study: Path) -> None:
    confirmed = [line for line in in_state(study, "complete") if line["confirmed"]]
    sizes = sorted(line["values"]["size_mb"] for line in confirmed)
    done = command("search.best", study, "--max", f"size_mb={sizes[1]}", "--json")
    assert done.returncode == 0, done.stderr
    answer = json.loads(done.stdout)
    assert answer["values"]["size_mb"] <= sizes[1]
    fitting = [line for line in confirmed if line["values"]["size_mb"] <= sizes[1]]
    assert answer["values"]["fid"] == min(counted(line)["fid"] for line in fitting)
    assert set(answer) >= {"trial", "values", "stderr", "candidate", "runner_up", "nearest_miss", "tied"}


def test_the_report_opens_offline(study: Path) -> None:
    done = command("search.explore", study)
    assert done.returncode == 0 and done.stdout.strip() == str(study / "report.html")
    page = (study / "report.html").read_text()
    assert "Plotly" in page and "data:image/webp;base64," in page and "cdn" not in page[:20_000]


def test_a_finished_study_is_reported_not_repeated(study: Path, capsys: pytest.CaptureFixture[str]) -> None:
    before = lines(study)
    assert run_command(Path("tiny.yaml"), workers=0) == 0
    assert lines(study) == before
    assert "the study is finished" in capsys.readouterr().out


def test_more_trials_continue_a_study_on_ray(study: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Two workers of Ray Tune train two more full trainings' worth of the study that this process began."""
    before = in_state(study, "complete")
    assert run_command(Path("tiny.yaml"), workers=2, trials=7) == 0
    complete, stopped = in_state(study, "complete"), in_state(study, "stopped")
    assert len(complete) > len(before) and 6 < len(complete) + len(stopped) / 3 <= 7.001
    values = {line["number"]: line["values"] for line in complete}
    assert all(values[line["number"]] == line["values"] for line in before)
    assert len({json.dumps(line["candidate"], sort_keys=True) for line in complete}) == len(complete)
    out = capsys.readouterr().out
    assert "next:" in out and "search.export" in out and "was not training, compressing or measuring" in out


def test_the_same_seed_gives_the_same_trials(study: Path) -> None:
    """Digit for digit, in the process without Ray; latency is a clock's and excepted."""
    found, less = [], ["budget.images={min: 250, max: 750}"]
    for name in ("twin", "other_twin"):
        assert run_command(Path("tiny.yaml"), workers=0, trials=2, name=name, set_=less) == 0
        found.append([line for line in lines(Path("studies/runs") / name) if line["state"] in ("complete", "stopped")])
    assert len(found[0]) >= 3
    for first, twin in zip(*found, strict=True):
        assert (first["candidate"], first["state"]) == (twin["candidate"], twin["state"])
        rungs = ([*line["rungs"], {"images": line["images"], "values": line["values"]}] for line in (first, twin))
        for left, right in zip(*rungs, strict=True):
            assert left["images"] == right["images"] and left["values"]["fid"] == right["values"]["fid"]


def test_ray_and_this_process_take_the_same_decisions(study: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Without a clock among the objectives: the same trials, candidates and rungs in the same order."""
    events, results = {}, {}
    for workers in (0, 1):
        name = f"workers_{workers}"
        options = ["objectives=[{fid: {extractor: labels, samples: 200}}, size_mb]", "limits={fid: 100_000}"]
        options += ["budget.images={min: 250, max: 750}"]
        assert run_command(Path("tiny.yaml"), workers=workers, trials=2, name=name, set_=options) == 0
        said = capsys.readouterr().out.splitlines()
        # What stands in brackets is the time left.
        events[workers] = [
            line.split(" [")[0] for line in said if re.match(r"trial \d+ (starts|goes on|reached|is)", line)
        ]
        kept = ("number", "state", "reason", "candidate", "values", "stderr", "images", "rungs", "confirmed")
        results[workers] = [{key: line[key] for key in kept} for line in lines(Path("studies/runs") / name)]
    assert events[0] == events[1] and results[0] == results[1]
    assert {line["state"] for line in results[0]} >= {"complete", "stopped"} and "measured again" in events[0][-1]


def test_trials_of_a_dead_driver_are_queued_again_or_kept(study: Path) -> None:
    """A trial that was at its beginning is tried again; one whose folder is whole counts as it was measured."""
    import torch

    from objectives.device_model import calibrated
    from search.known import Foresight
    from search.preparation import planned_teacher
    from search.study import Study
    from trainers.cache import Cache

    space = Space.read("tiny.yaml", ["budget.trials=20", "halving=false"])
    device = calibrated(torch.device("cpu"), Cache(Path(os.environ["SLIMFRONT_CACHE"])), threads=1)
    limits = json.loads((study / "front.json").read_text())["limits"]
    teacher = json.loads((study / "teacher" / "measurements.json").read_text())
    foresight = Foresight(space, planned_teacher(space), device, limits)
    dead = Study(study, space, foresight, teacher)
    running, finished = dead.next(), dead.next()
    assert running is not None and finished is not None
    complete = next(line for line in lines(study) if line["state"] == "complete")
    (study / "trials" / f"{finished.number:04d}").mkdir()
    measured = json.loads((study / complete["path"] / "measurements.json").read_text())
    # A folder that holds another candidate is one of an earlier study.
    measured["candidate"] = dict(finished.candidate)
    (study / "trials" / f"{finished.number:04d}" / "measurements.json").write_text(json.dumps(measured))
    left = dead.left()

    heir = Study(study, space, foresight, teacher)
    assert heir.adopt_orphans() == {running.number: "queued", finished.number: "finished"}
    assert heir.left() == pytest.approx(left + 1)
    again = heir.next()
    assert again is not None and again.candidate == running.candidate
