"""``--dry-run``: exact costs of published networks without training, data or Ray; what excludes everything is named."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from search.rehearsal import Rehearsal
from search.run import main
from tests.devices import ONE_CORE
from tests.search.study_folder import study_folder
from trainers.errors import UserError

CIFAR10_TEACHER = """
data: {name: cifar10}
teacher:
  network:
    unet:
      {image_size: 32, image_channels: 3, channels: [128, 256, 256, 256], attention: [false, true, false, false],
       layers: 2, norm_groups: 32}
  sampling_steps: 10
recipe: %s
"""
MINI_MODEL = (
    "[{student: {network: {unet: {channels: [128, 256], attention: [false, true], layers: 2, norm_groups: 32}}}}]"
)
DIGITS = """
teacher: {network: {unet: {channels: [16, 32], norm_groups: 4}}}
recipe:
  - prune: {criterion: magnitude, ratio: {mid: {float: [0.0, 0.8]}}}
  - distil: {sampling_steps: {choice: [8, 16]}}
  - quantize: {bits: {choice: [32, 8, 4]}}
objectives: [{fid: {extractor: labels}}, size_mb, latency_ms]
"""


@pytest.fixture
def dry_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, cache, capsys: pytest.CaptureFixture[str]):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("SLIMFRONT_CACHE", str(cache.folder))
    monkeypatch.setattr("search.rehearsal.rehearse", lambda *args, **options: Rehearsal())

    def dry(text: str, **options) -> dict:
        Path("space.yaml").write_text(text)
        assert main(Path("space.yaml"), dry_run=True, json=True, **options) == 0
        assert not Path("studies").exists()
        return json.loads(capsys.readouterr().out)

    return dry


def test_a_stage_is_warned_of_whose_early_looks_say_little(
    dry_run, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("search.preflight._RANDOM_CANDIDATES", 2)
    monkeypatch.setattr("objectives.device_model.calibrated", lambda *about, **options: ONE_CORE)
    halved = CIFAR10_TEACHER % "[{progressive: {halvings: {choice: [1, 2]}, start: 4}}]"
    text = halved.replace("[128, 256, 256, 256]", "[8, 8, 8, 8]").replace("norm_groups: 32", "norm_groups: 4")
    Path("space.yaml").write_text(f"{text}budget: {{images: {{min: 1_000, max: 9_000}}}}\n")
    assert main(Path("space.yaml"), dry_run=True) == 0
    shown = " ".join(capsys.readouterr().out.split())
    assert "warning: weak trials are stopped by a share of their training, which says little of progressive." in shown


def test_published_networks_have_their_exact_costs(dry_run) -> None:
    report = dry_run(CIFAR10_TEACHER % "[]")
    assert report["teacher"]["parameters"] == 35_746_307
    assert report["teacher"]["macs_g"] == 6.053953536
    assert report["teacher"]["bytes"] == 4 * 35_746_307
    assert report["knobs"] == 0 and report["feasible_share"] == 1
    costs = ("parameters", "size_mb", "macs_g", "latency_ms")
    assert all(report["teacher"][name] == report["smallest"][name] == report["largest"][name] for name in costs)


def test_a_student_has_its_published_costs(dry_run) -> None:
    report = dry_run(CIFAR10_TEACHER % MINI_MODEL)
    assert report["smallest"]["parameters"] == report["largest"]["parameters"] == 15_930_883
    assert report["smallest"]["macs_g"] == 5.800984576
    assert report["teacher"]["parameters"] == 35_746_307


def test_smallest_and_largest_span_the_space(dry_run) -> None:
    report = dry_run(DIGITS)
    assert report["knobs"] == 3 and 0 < report["feasible_share"] <= 1 and report["estimate_seconds"] > 0
    assert report["largest"]["parameters"] == report["teacher"]["parameters"] == 163_985
    assert report["smallest"]["parameters"] < 0.85 * report["largest"]["parameters"]
    assert report["smallest"]["candidate"]["quantize.bits"] == 4
    assert report["largest"]["candidate"]["quantize.bits"] == 32
    # Fixed by hand, a knob is no longer one.
    fixed = dry_run(DIGITS, set_=["prune.ratio.mid=0.5", "quantize.bits=8", "distil.sampling_steps=8"])
    assert fixed["knobs"] == 0 and fixed["smallest"]["parameters"] == fixed["largest"]["parameters"]


def test_more_workers_than_trials_are_no_faster(dry_run) -> None:
    trials = ["budget.trials=4", "halving=false"]
    seconds = {count: dry_run(DIGITS, set_=trials, workers=count)["estimate_seconds"] for count in (1, 4, 1000)}
    # Almost: part of it is how long the data have really taken to read, now.
    as_four = pytest.approx(seconds[4], rel=0.1)
    assert seconds[1] > 1.2 * seconds[4] and seconds[1000] == as_four
    # Of a cluster that was not asked how many it takes.
    report = dry_run(DIGITS, set_=trials, address="auto")
    assert report["workers"] == 4 and report["estimate_seconds"] == as_four


@pytest.mark.parametrize(
    ("limits", "named"),
    [
        ("{size_mb: 0.001}", "the limit on size_mb excludes"),
        ("{latency_ms: 0.001}", "the limit on latency_ms excludes"),
    ],
)
def test_a_limit_that_nothing_meets_is_named(dry_run, limits: str, named: str) -> None:
    with pytest.raises(UserError, match=named):
        dry_run(DIGITS + f"limits: {limits}\n")


def test_a_constraint_that_nothing_meets_is_named(dry_run) -> None:
    with pytest.raises(UserError, match=r"the constraint 'prune.ratio.mid > 0.9' excludes all"):
        dry_run(DIGITS + 'constraints: ["prune.ratio.mid > 0.9"]\n')


def test_a_student_s_width_and_depth_can_be_knobs(dry_run) -> None:
    student = "{student: {network: {unet: {channels: {choice: [[8, 16], [8, 16, 16], [16, 32]]}, norm_groups: 4}}}}"
    report = dry_run(DIGITS.replace("recipe:\n", f"recipe:\n  - {student}\n"))
    assert report["largest"]["parameters"] == 163_985 and report["smallest"]["parameters"] < 35_000


def test_networks_that_do_not_fit_are_refused(dry_run) -> None:
    with pytest.raises(UserError, match="norm_groups: 3 does not divide the width 16"):
        dry_run(DIGITS, set_=["teacher.network.unet.norm_groups=3"])
    with pytest.raises(UserError, match="3 divides both channel counts of no convolution"):
        dry_run(DIGITS.replace("recipe:\n", "recipe:\n  - group: {groups: 3}\n"))


def test_a_price_is_that_of_the_time(dry_run) -> None:
    report = dry_run(DIGITS, price_per_hour=36.0)
    assert report["estimate_price"] == pytest.approx(report["estimate_seconds"] / 100, abs=0.02)
    with pytest.raises(UserError, match="a positive number"):
        dry_run(DIGITS, price_per_hour=-1.0)


def test_images_in_a_folder_are_rehearsed_and_those_to_be_fetched_are_not(
    dry_run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "photos").mkdir()
    for number in range(10):
        Image.fromarray(np.full((8, 8), 20 * number, np.uint8)).save(tmp_path / "photos" / f"{number}.png")
    rehearsed = []

    def rehearse(foresight, seen, images, **options) -> Rehearsal:
        rehearsed.append(images)
        return Rehearsal(seconds=1.0)

    monkeypatch.setattr("search.rehearsal.rehearse", rehearse)
    own = DIGITS.replace("extractor: labels", "extractor: labels, samples: 64")
    assert dry_run("data: {folder: {path: photos}}\n" + own)["rehearsed"]
    assert len(rehearsed) == 1 and len(rehearsed[0].train_NCHW) == 8
    monkeypatch.setattr("search.session._READ_BYTES", 10)
    assert not dry_run("data: {folder: {path: photos}}\n" + own)["rehearsed"]
    assert not dry_run("data: mnist\n" + own)["rehearsed"]
    assert len(rehearsed) == 1


def test_another_study_s_results_are_counted_and_a_missing_one_is_named(dry_run, tmp_path: Path) -> None:
    study_folder(tmp_path / "before", trials=24)
    report = dry_run(DIGITS + "from_study: before\n")
    (other,) = report["from_study"]
    assert other["path"] == "before" and other["results"] > 10
    assert other["shared"] == ["prune.ratio.mid", "distil.sampling_steps", "quantize.bits"]
    assert dry_run(DIGITS)["from_study"] == []
    with pytest.raises(UserError, match="elsewhere"):
        dry_run(DIGITS + "from_study: elsewhere\n")
