"""Comparing recipes by hand: what is read, what is kept, and when a claim holds."""

from __future__ import annotations

import base64
import json
import os
import signal
import sys
import threading
import time
from collections.abc import Sequence
from multiprocessing import active_children
from pathlib import Path
from typing import Any

import pytest

from search import compare
from search.comparison import work
from search.comparison.file import Claim, Comparison
from search.comparison.table import claims_table
from search.comparison.verdict import Result, verdict
from trainers.cache import Cache
from trainers.command import command
from trainers.errors import UserError

OBJECTIVES = "[{fid: {samples: 64, extractor: labels}}, {ssim: {samples: 16}}]"
FILE = f"""\
# Does pruning cost more than nothing?
name: tiny
teacher: {{network: {{unet: {{channels: [8, 16], norm_groups: 4}}}}, images: 2_000, sampling_steps: 4}}
objectives: {OBJECTIVES}
images: 512
seeds: 2
recipes:
  whole: [{{finetune: {{batch: 64}}}}]
  pruned: [{{prune: {{ratio: 0.5, criterion: magnitude}}}}, {{finetune: {{batch: 64}}}}]
claims:
  - {{claim: what is whole is nearer to the teacher, theirs: of course, better: whole, than: pruned, by: ssim}}
"""


def written(folder: Path, text: str = FILE) -> Path:
    path = folder / "claims.yaml"
    path.write_text(text)
    return path


def call(monkeypatch: pytest.MonkeyPatch, *words: str) -> int:
    monkeypatch.setattr(sys, "argv", ["search.compare", *words])
    with pytest.raises(SystemExit) as left:
        command(compare.main, name="search.compare")
    return int(left.value.code or 0)


def test_recipes_are_trained_once_and_the_claim_is_judged(
    tmp_path: Path, cache: Cache, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("SLIMFRONT_CACHE", str(cache.folder))
    file, out = written(tmp_path), tmp_path / "out"
    options = (str(file), "--workers", "1", "--out", str(out), "--json")
    assert call(monkeypatch, *options) == 0
    first = json.loads(capsys.readouterr().out)
    assert {(row["recipe"], row["seed"]) for row in first["results"]} == {
        (name, seed) for name in ("whole", "pruned") for seed in (0, 1)
    }
    (judged,) = first["verdicts"]
    # Two standard errors; of two pairs, Student's t asks for 12.7.
    assert judged["by"] == "ssim" and judged["gain"] > 2 * judged["margin"] / 12.7 > 0
    assert (out / "samples.webp").stat().st_size > 500 and "| whole |" in (out / "table.md").read_text()
    # One result is lost, as a machine might: only that is trained again, and to the same figures.
    lines = (out / "results.jsonl").read_text().splitlines()
    (out / "results.jsonl").write_text("\n".join(lines[:-1]) + "\n")
    assert call(monkeypatch, *options) == 0
    said = capsys.readouterr()
    again = json.loads(said.out)
    assert "4 of 4" in said.err and "3 of 4" not in said.err
    values = [{(row["recipe"], row["seed"]): row["values"] for row in made["results"]} for made in (first, again)]
    assert values[0] == values[1]
    # Seeds differ in teacher and training.
    assert values[0]["whole", 0] != values[0]["whole", 1]
    # More claims and seeds need no more than what is missing; other recipes are measured anew.
    comparison = Comparison.read(written(tmp_path, FILE.replace("seeds: 2", "seeds: 3").replace("of course", "sure")))
    assert len(work.kept(out, comparison)) == 4
    assert len(work.kept(out, Comparison.read(written(tmp_path, FILE.replace("seeds: 2", "seeds: 1"))))) == 2
    changed = Comparison.read(written(tmp_path, FILE.replace("ratio: 0.5", "ratio: 0.6")))
    assert {result.recipe for result in work.kept(out, changed)} == {"whole"}
    assert not work.kept(out, Comparison.read(written(tmp_path, FILE.replace("images: 512", "images: 256"))))


def sleeps(task: work.Task) -> dict[str, Any] | None:
    """In the place of ``carry_out``: teachers are there at once, and whatever is not the first recipe takes an hour."""
    begun = Path(task.file).parent / f"begun-{task.recipe}-{task.seed}"
    begun.write_text(str(os.getpid()))
    if task.recipe and (task.recipe, task.seed) != ("whole", 0):
        time.sleep(3_600)
    return {"values": {"fid": 1.0, "ssim": 0.5}, "stderr": {}, "seconds": 1.0, "strip": b""} if task.recipe else None


def dies(task: work.Task) -> None:
    """As a process that the machine ends for want of memory."""
    os.kill(os.getpid(), signal.SIGKILL)


def test_ctrl_c_ends_what_runs_begins_nothing_more_and_keeps_what_is_measured(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(work, "carry_out", sleeps)
    file, out = written(tmp_path), tmp_path / "out"

    def interrupt() -> None:
        begun = tmp_path / "begun-pruned-0"
        while not (begun.is_file() and begun.read_text() and (out / "results.jsonl").is_file()):
            time.sleep(0.01)
        time.sleep(0.5)
        # A terminal interrupts all of its processes.
        os.kill(int(begun.read_text()), signal.SIGINT)
        signal.pthread_kill(threading.main_thread().ident or 0, signal.SIGINT)

    threading.Thread(target=interrupt, daemon=True).start()
    assert call(monkeypatch, str(file), "--workers", "1", "--out", str(out)) == 130
    assert f"interrupted; 1 of 4 results are kept in {out}. The same command goes on." in capsys.readouterr().err
    # Who joins at the moment at which the pool's own thread does is told for an instant that the process still runs.
    deadline = time.monotonic() + 60
    while active_children() and time.monotonic() < deadline:
        time.sleep(0.01)
    assert not active_children() and not (tmp_path / "begun-whole-1").exists()
    assert [(result.recipe, result.seed) for result in work.kept(out, Comparison.read(file))] == [("whole", 0)]


def test_a_process_that_is_killed_is_one_message(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(work, "carry_out", dies)
    assert call(monkeypatch, str(written(tmp_path)), "--workers", "1", "--out", str(tmp_path / "out")) == 2
    said = capsys.readouterr().err
    assert "was ended from outside" in said and "the same command goes on" in said and "Traceback" not in said


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (("images: 512\n", ""), "images: is missing"),
        (("images: 512", "image: 512"), "image: is not a key of a comparison. Did you mean 'images'?"),
        (("ratio: 0.5", "ratio: 1.5"), "recipes.pruned.0.prune.ratio"),
        (("than: pruned", "than: prunned"), "claims.0: there is no recipe 'prunned'. Did you mean 'pruned'?"),
        (("by: ssim", "by: size_mb"), "claims.0.by: 'size_mb' is not measured. Allowed: fid, ssim."),
        (("norm_groups: 4", "norm_groups: 5"), "norm_groups"),
        (("seeds: 2", "seeds: 0"), "seeds: Input should be greater than 0"),
        (("seeds: 2", "seeds: 2\nlooks: 0"), "looks: Input should be greater than 0"),
        (("- {claim", "- [{claim"), "cannot be read"),
        ((OBJECTIVES, "5"), "objectives: Input should be a valid list"),
        ((OBJECTIVES, "fid"), "objectives: Input should be a valid list"),
        ((OBJECTIVES, "[]"), "objectives: List should have at least 1 item"),
        (("than: pruned", "than: []"), "claims.0.than"),
    ],
)
def test_mistakes_are_named_before_anything_is_trained(tmp_path: Path, change: tuple[str, str], message: str) -> None:
    with pytest.raises(UserError) as caught:
        Comparison.read(written(tmp_path, FILE.replace(*change)))
    assert message in str(caught.value)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"values": {"fid": "much", "ssim": 0.5}}, "values"),
        ({"values": {"fid": 1.0}}, "it has figures of fid, not of fid, ssim"),
        ({"seconds": None}, "seconds"),
        ({"strip": "abc"}, "Incorrect padding"),
    ],
)
def test_kept_results_that_are_none_are_refused(tmp_path: Path, change: dict[str, Any], message: str) -> None:
    comparison = Comparison.read(written(tmp_path))
    line = {"recipe": "whole", "seed": 0, "values": {"fid": 1.0, "ssim": 0.5}, "stderr": {}, "seconds": 1.0}
    line |= {"key": comparison.key_of("whole"), "strip": base64.b64encode(b"RIFF....WEBP").decode()}
    (tmp_path / "results.jsonl").write_text(json.dumps(line) + "\n")
    # A picture that is none is left out.
    assert [(result.values["fid"], result.strip) for result in work.kept(tmp_path, comparison)] == [(1.0, b"")]
    (tmp_path / "results.jsonl").write_text(json.dumps({**line, **change}) + "\n")
    with pytest.raises(UserError, match=r"results\.jsonl cannot be used") as caught:
        work.kept(tmp_path, comparison)
    assert message in str(caught.value)


def test_more_workers_than_trainings_are_no_more_processes(tmp_path: Path) -> None:
    comparison = Comparison.read(written(tmp_path))
    line = {"values": {"fid": 1.0, "ssim": 0.5}, "stderr": {}, "seconds": 1.0}
    lines = [
        json.dumps({**line, "recipe": name, "seed": seed, "key": comparison.key_of(name)})
        for name in comparison.recipes
        for seed in range(comparison.seeds)
    ]
    (tmp_path / "results.jsonl").write_text("\n".join(lines) + "\n")
    found = work.results(comparison, tmp_path / "claims.yaml", tmp_path, workers=10**20)
    assert len(found) == 4 and not active_children()


def test_kept_results_are_neither_read_nor_written_elsewhere(tmp_path: Path) -> None:
    comparison, folder = Comparison.read(written(tmp_path)), tmp_path / "out"
    folder.mkdir()
    (folder / "results.jsonl").symlink_to(tmp_path / "private")
    with pytest.raises(UserError, match="leads out of"):
        work.kept(folder, comparison)
    (folder / "results.jsonl").unlink()
    os.mkfifo(folder / "results.jsonl")
    with pytest.raises(UserError, match="a pipe or a device"):
        work.kept(folder, comparison)


def test_pipe_in_the_place_of_a_comparison_is_named_as_what_it_is(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "claims.yaml")
    with pytest.raises(UserError, match="is no regular file"):
        Comparison.read(tmp_path / "claims.yaml")


def of(**values: Sequence[float]) -> list[Result]:
    return [
        Result(name, seed, {"fid": value, "ssim": value}, {}, 1.0)
        for name, column in values.items()
        for seed, value in enumerate(column)
    ]


@pytest.mark.parametrize(
    ("better", "than", "by", "expected"),
    [
        ((10.0, 20.0, 30.0), (13.0, 23.2, 33.1), "fid", "holds"),
        ((13.0, 23.2, 33.1), (10.0, 20.0, 30.0), "fid", "fails"),
        ((13.0, 23.2, 33.1), (10.0, 20.0, 30.0), "ssim", "holds"),
        # Large, but not the same with every seed; the same, but not larger than chance.
        ((10.0, 20.0, 30.0), (20.0, 30.0, 29.0), "fid", "undecided"),
        # 3.5 standard errors of three pairs are no more than chance: Student's t asks for 4.3.
        ((10.0, 20.0, 30.0), (11.0, 21.6, 32.2), "fid", "holds"),
        ((10.0, 20.0, 30.0), (11.0, 21.6, 32.8), "fid", "undecided"),
        ((10.0, 20.0, 30.0), (10.1, 20.1, 39.0), "fid", "undecided"),
        ((10.0,), (20.0,), "fid", "undecided"),
        # No difference, and surely none of a twentieth; the same spread of smaller values may hide one.
        ((100.0, 120.0, 140.0), (100.5, 119.5, 140.0), "fid", "level"),
        ((10.0, 12.0, 14.0), (10.5, 11.5, 14.0), "fid", "undecided"),
    ],
)
def test_a_claim_holds_when_every_pair_says_so_and_chance_does_not(
    tmp_path: Path, better: tuple[float, ...], than: tuple[float, ...], by: str, expected: str
) -> None:
    comparison = Comparison.read(written(tmp_path, FILE.replace("seeds: 2", "seeds: 3")))
    claim = Claim(claim="", better="whole", than="pruned", by=by)
    found = verdict(comparison, claim, of(whole=better, pruned=than))
    assert found.kind == expected
    sign = 1 if by == "fid" else -1
    assert found.gain == pytest.approx(sign * sum(b - a for a, b in zip(better, than, strict=True)) / len(better))


@pytest.mark.parametrize(("looks", "expected"), [(1, "holds"), (2, "undecided"), (4, "undecided")])
def test_seeds_that_were_added_after_a_look_must_say_more(tmp_path: Path, looks: int, expected: str) -> None:
    text = FILE.replace("seeds: 2", f"seeds: 5\nlooks: {looks}")
    comparison = Comparison.read(written(tmp_path, text))
    # p = 0.049 of five pairs.
    results = of(whole=[0.0] * 5, pruned=[0.15, 6.58, 12.22, 11.87, 2.74])
    found = verdict(comparison, Claim(claim="", better="whole", than="pruned", by="fid"), results)
    assert found.kind == expected
    page = "\n".join(claims_table(comparison, [found]))
    assert f"ours ({100 - 5 / looks:.4g} %)" in page
    assert (f"judged {looks} times" in page) == (looks > 1)


def test_of_several_recipes_the_mean_counts(tmp_path: Path) -> None:
    comparison = Comparison.read(written(tmp_path))
    claim = Claim(claim="", better=("whole", "other"), than="pruned", by="fid")
    found = verdict(comparison, claim, of(whole=[1.0, 2.0], other=[3.0, 4.0], pruned=[5.0, 6.5]))
    assert found.gain == pytest.approx((3.0 + 3.5) / 2)


def test_a_seed_that_lacks_a_recipe_does_not_count(tmp_path: Path) -> None:
    comparison = Comparison.read(written(tmp_path))
    claim: Any = Claim(claim="", better="whole", than="pruned")
    assert verdict(comparison, claim, of(whole=[1.0, 2.0], pruned=[3.0])).gain == pytest.approx(2.0)
