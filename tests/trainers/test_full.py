"""Full training of an exported recipe: what it writes, and that it goes on where it stopped, in one process or two."""

from __future__ import annotations

import json
import os
import runpy
import shutil
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file, save_file

from search.analyse import main as analyse
from tests.conftest import build
from trainers.cache import Cache
from trainers.command import INTERRUPTED
from trainers.data.digits import Digits
from trainers.errors import UserError
from trainers.foreign import MOST_JSON_BYTES
from trainers.full import main
from trainers.full_training import STUDENTS, FullTraining
from trainers.generate_script import generate_script
from trainers.kept_costs import kept_costs
from trainers.models import exchange, files, input_images
from trainers.models.diffusion_model import DiffusionModel
from trainers.models.input_images import images_for
from trainers.models.networks.unet import Unet
from trainers.recipe import Recipe
from trainers.run import Run
from trainers.training_log import TrainingLog

RECIPE = """\
name: tiny
data: {name: digits}
teacher: {from: teacher, sampling_steps: 4}
recipe:
  - prune: {ratio: {mid: 0.4}, criterion: magnitude, rule: flexible}
  - distil: {batch: 30, learning_rate: 0.002, ema: 0.9, weights: {output: 1.0}}
objectives: [{fid: {extractor: labels, samples: 100}}, size_mb, macs_g]
budget: {images: 600}
"""


@pytest.fixture
def job(tiny: DiffusionModel, cache: Cache, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder like those that export writes, of a recipe that is no trial's."""
    monkeypatch.setenv("SLIMFRONT_CACHE", str(cache.folder))
    monkeypatch.setattr(exchange, "save_for_exchange", lambda model, folder: [])
    files.save(tiny, tmp_path / "job" / "teacher")
    (tmp_path / "job" / "recipe.yaml").write_text(RECIPE)
    return tmp_path / "job"


def python(*words: str | Path) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])}
    return subprocess.run([sys.executable, *map(str, words)], capture_output=True, text=True, env=environment)


def lines(folder: Path) -> list[dict]:
    return [json.loads(line) for line in (folder / "progress.jsonl").read_text().splitlines()]


def interrupt_at(call: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the recipe run so often, and then be interrupted from the keyboard."""
    apply, calls = Recipe.run, iter(range(call))

    def run(recipe: Recipe, of: Run) -> DiffusionModel:
        if next(calls, None) is None:
            raise KeyboardInterrupt
        return apply(recipe, of)

    monkeypatch.setattr(Recipe, "run", run)


def test_an_interrupted_training_ends_as_one_that_was_not(job: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert main(job, every=150, out=job / "unbroken") == 0
    with monkeypatch.context() as patch:
        interrupt_at(2, patch)
        assert main(job, every=150, out=job / "broken") == INTERRUPTED
    assert [line["images"] for line in lines(job / "broken")] == [150, 300]
    assert not (job / "broken" / files.FILE).exists()
    assert main(job, every=150, out=job / "broken") == 0
    broken, unbroken = (files.load(job / name) for name in ("broken", "unbroken"))
    assert broken.fingerprint() == unbroken.fingerprint()
    for name in ("broken", "unbroken"):
        assert [line["images"] for line in lines(job / name)] == [150, 300, 450, 600]
        assert {path.name for path in (job / name / "samples").iterdir()} == {
            f"{images:09d}.webp" for images in (150, 300, 450, 600)
        }
        assert not [*(job / name).glob("checkpoint-*")]
    assert [line["loss"] for line in lines(job / "broken")] == [line["loss"] for line in lines(job / "unbroken")]
    assert lines(job / "unbroken")[0]["measurements"]["fid"]["value"] > 0


def test_a_checkpoint_that_does_not_fit_is_told_and_not_used(
    job: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Of the optimiser of another network, whose short moments a fused step would write beyond."""
    assert main(job, every=300, out=job / "unbroken") == 0
    with monkeypatch.context() as patch:
        interrupt_at(1, patch)
        assert main(job, every=300) == INTERRUPTED
    (state,) = (job / "model").glob("checkpoint-*/training.safetensors")
    with safe_open(state, framework="pt") as opened:
        metadata = opened.metadata()
    save_file({**load_file(state), "training:optimizer.0.exp_avg": torch.zeros(3)}, state, metadata=metadata)
    capsys.readouterr()
    assert main(job, every=300) == 0
    out = capsys.readouterr().out
    told = [
        line for line in out.splitlines() if "is not used: its optimizer.0.exp_avg is float32 of shape (3,)" in line
    ]
    assert len(told) == 1 and told[0].endswith("Training starts from the beginning.")
    unbroken, again = (files.load(job / name) for name in ("unbroken", "model"))
    assert unbroken.fingerprint() == again.fingerprint()
    assert [line["images"] for line in lines(job / "model")] == [300, 600]


HALVING = """\
  - progressive:
      halvings: 3
      start: 8
      batch: 30
      ema: 0.9
      prune: [{prune: {ratio: {mid: 0.3}, criterion: magnitude, rule: flexible}}]
      prune_steps: 1
"""


def test_students_of_each_iteration_are_kept_and_compared(job: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    recipe = RECIPE.splitlines(keepends=True)
    (job / "recipe.yaml").write_text("".join([*recipe[:4], HALVING, *recipe[6:]]))
    assert main(job, every=150, out=job / "unbroken", keep_students=True) == 0
    with monkeypatch.context() as patch:
        interrupt_at(2, patch)
        assert main(job, every=150, out=job / "broken", keep_students=True) == INTERRUPTED
    assert main(job, every=150, out=job / "broken", keep_students=True) == 0
    assert main(job, every=150, out=job / "none") == 0
    assert not (job / "none" / STUDENTS).exists()
    models = [files.load(job / "teacher"), files.load(job / "unbroken" / STUDENTS / "progressive-01")]
    models += [files.load(job / "unbroken" / STUDENTS / "progressive-02"), files.load(job / "unbroken")]
    assert [model.spec.sampling_steps for model in models[1:]] == [4, 2, 1]
    parameters = [sum(parameter.numel() for parameter in model.net.parameters()) for model in models]
    assert parameters == sorted(set(parameters), reverse=True)
    for name in (f"{STUDENTS}/progressive-01", f"{STUDENTS}/progressive-02", "."):
        broken, unbroken = (files.load(job / way / name) for way in ("broken", "unbroken"))
        assert broken.fingerprint() == unbroken.fingerprint()
    # The analysis takes the folder of the model.
    monkeypatch.chdir(job)
    assert analyse(Path("teacher"), Path("unbroken"), what="weight-variation", page=job / "page.html") == 0
    page = (job / "page.html").read_text()
    steps = ("teacher → progressive-01", "progressive-01 → progressive-02", "progressive-02 → unbroken")
    assert all(step in page for step in steps)


def test_a_checkpoint_of_another_recipe_is_none(job: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with monkeypatch.context() as patch:
        interrupt_at(1, patch)
        assert main(job) == INTERRUPTED
    (job / "recipe.yaml").write_text(RECIPE.replace("0.4", "0.2"))
    assert main(job, every=300) == 0
    assert [line["images"] for line in lines(job / "model")] == [300, 600]


def test_what_was_trained_is_not_trained_again(
    job: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(job, images=60) == 0
    before = (job / "model" / files.FILE).read_bytes()
    (job / "model" / "model_card.md").unlink()
    monkeypatch.setattr(Recipe, "run", None)
    assert main(job, images=60) == 0
    assert "was trained with this recipe already" in capsys.readouterr().out
    assert (job / "model" / files.FILE).read_bytes() == before and (job / "model" / "model_card.md").is_file()


def test_the_card_tells_what_the_folder_holds(job: Path) -> None:
    size = {"value": 0.5, "stderr": 0, "samples": 1, "by": ""}
    elsewhere = {"value": 41.5, "stderr": 2.0, "samples": 100, "by": "cnn-of-another-machine"}
    (job / "measurements.json").write_text(json.dumps({"measurements": {"size_mb": size, "fid": elsewhere}}))
    (job / "lineage.json").write_text(
        json.dumps({"study": "tiny_study", "trial": 17, "seed": 3, "teacher_from": "google/ddpm-cifar10-32"})
    )
    assert main(job, images=60) == 0
    model, card = files.load(job / "model"), (job / "model" / "model_card.md").read_text()
    record = json.loads((job / "model" / "measurements.json").read_text())
    fid = record["measurements"]["fid"]
    parameters = sum(layer.parameters for layer in model.spec.layers.values())
    for told in (
        f"{parameters:,} parameters",
        f"| fid | {fid['value']:.5g} | {fid['stderr']:.2g} | 100 | {fid['by']} | 41.5 (by cnn-of-another-machine) |",
        "| 0.5 |",
        "1. `prune: {",
        "| prune mid_block.resnets.0.conv1 | 0.4 |",
        "trial: 17",
        "the study tiny_study, which loaded it from google/ddpm-cifar10-32",
        model.fingerprint(),
        "`diffusers`: not written. diffusers' UNet2DModel cannot express",
    ):
        assert told in card, told
    assert record["seed"] == 3 and record["images"] == 60


@pytest.mark.parametrize(("written", "parts"), [(4, 4), (-1, 1), ("4", 1), (None, 1)])
def test_a_trial_that_fitted_in_parts_is_trained_in_parts(
    written: object, parts: int, job: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def begun(training: FullTraining, run: Run) -> None:
        assert run.micro_batches == parts
        raise KeyboardInterrupt

    (job / "lineage.json").write_text(json.dumps({"micro_batches": written}))
    monkeypatch.setattr(FullTraining, "train", begun)
    assert main(job) == INTERRUPTED


def test_data_that_is_not_the_trials_is_told_and_other_latents_are_refused(
    job: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def begun(training: FullTraining, run: Run) -> None:
        raise KeyboardInterrupt

    seen = images_for(Digits(), files.load(job / "teacher").spec)
    monkeypatch.setattr(FullTraining, "train", begun)
    for known, is_told in ((seen.hash, False), ("0123", True)):
        (job / "lineage.json").write_text(json.dumps({"data": known}))
        assert main(job) == INTERRUPTED
        told = f"warning: the data is not what the trial was trained on: its content hash is {seen.hash}, not 0123"
        assert (told in capsys.readouterr().out) == is_told
    latents: Any = object()
    monkeypatch.setattr(input_images, "images_for", lambda data, spec: replace(seen, latents=latents))
    with pytest.raises(UserError, match="Images or autoencoder are others"):
        main(job)


@pytest.mark.parametrize(
    "lineage",
    [{"teacher": [1]}, {"teacher": "x"}, {"confirmed": [1]}, {"confirmed": None}, {"confirmed": {"size_mb": 1}}],
)
def test_a_lineage_that_is_none_is_left_out_of_the_card(job: Path, lineage: dict[str, object]) -> None:
    (job / "lineage.json").write_text(json.dumps({"study": "of nobody", **lineage}))
    (job / "recipe.yaml").write_text(
        RECIPE.replace("  - distil", "  # - distil").replace("{fid: {extractor: labels, samples: 100}}, ", "")
    )
    assert main(job) == 0
    card = (job / "model" / "model_card.md").read_text()
    assert "fingerprint of the weights" in card and "of nobody" not in card


def test_a_cost_that_changed_is_said() -> None:
    def measured(**values: float) -> dict[str, dict[str, object]]:
        return {name: {"value": value, "by": "a device"} for name, value in values.items()}

    now, then = measured(size_mb=0.3, macs_g=0.02, latency_ms=11.0, fid=9.0), measured(size_mb=0.3, macs_g=0.01)
    then |= {"latency_ms": {"value": 10.0, "by": "another one"}, "fid": {"value": 20.0, "by": ""}}
    assert list(kept_costs(now, then, is_exact={"size_mb": True, "macs_g": True, "latency_ms": False})) == [
        "as in the trial: size_mb 0.3",
        "not as in the trial: macs_g 0.02, was 0.01: other channels were left in full training",
        "latency_ms: 11, in the trial 10, on another one (+10 %)",
    ]


def test_two_processes_train_what_one_does(job: Path) -> None:
    assert main(job, images=300, out=job / "one") == 0
    launcher = ("-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2")
    done = python(*launcher, "-m", "trainers.full", job, "--images", "300", "--out", job / "two")
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("model:") == 1
    one, two = (files.load(job / name) for name in ("one", "two"))
    assert one.spec == two.spec and one.fingerprint() != files.load(job / "teacher").fingerprint()
    for name, tensor in one.net.state_dict().items():
        torch.testing.assert_close(two.net.state_dict()[name], tensor, atol=2e-4, rtol=1e-3)
    assert json.loads((job / "two" / "measurements.json").read_text())["processes"] == 2


@pytest.fixture
def labelled(tmp_path: Path) -> Iterator[Path]:
    """A folder with a class-conditional model and its script."""
    network = Unet(image_size=8, image_channels=1, channels=(8, 16), norm_groups=4, classes=10)
    files.save(build(network), tmp_path)
    (tmp_path / "generate.py").write_text(generate_script(has_labels=True, has_latents=False))
    yield tmp_path
    shutil.rmtree(tmp_path)


def test_the_script_draws_the_class_that_is_asked_for(labelled: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from trainers.models.pictures import strip
    from trainers.models.sampling import draw_uint8

    monkeypatch.chdir(labelled)
    done = python(labelled / "generate.py", 2, 5, 7)
    assert (done.returncode, done.stderr) == (0, "")
    model = files.load(labelled)
    drawn = (labelled / "generated.webp").read_bytes()
    assert drawn == strip(draw_uint8(model, count=2, seed=5, label=7))
    assert drawn != strip(draw_uint8(model, count=2, seed=5, label=3))


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["abc"], "abc"),
        (["0"], "the count of images must be at least 1, got 0."),
        (["-3"], "the count of images must be at least 1, got -3."),
        (["1", "-1"], "the seed must be from 0 to 2**63 - 1, got -1."),
        (["1", "0", "10"], "the label must be from 0 to 9, got 10."),
    ],
)
def test_the_script_says_what_it_cannot_draw(
    words: list[str],
    said: str,
    labelled: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr(sys, "argv", ["generate.py", *words])
    with pytest.raises(SystemExit) as ended:
        runpy.run_path(str(labelled / "generate.py"))
    told = capsys.readouterr().err
    assert ended.value.code == 2 and said in told and "Traceback" not in told


@pytest.mark.parametrize("has_labels", [False, True])
@pytest.mark.parametrize("has_latents", [False, True])
def test_the_script_is_short_and_whole(has_labels: bool, has_latents: bool) -> None:
    script = generate_script(has_labels=has_labels, has_latents=has_latents)
    compile(script, "generate.py", "exec")
    assert len(script.splitlines()) <= 20 and ("Autoencoder" in script) == has_latents


def test_a_log_that_goes_on_forgets_what_came_after(tmp_path: Path) -> None:
    log = TrainingLog.open(tmp_path, images=0)
    for images in (100, 200, 300):
        log.add(images, seconds=images / 10, loss=1.0, measured={}, strip=b"")
    again = TrainingLog.open(tmp_path, images=200)
    assert [line["images"] for line in again.lines] == [100, 200] and again.seconds == 20.0
    assert TrainingLog.open(tmp_path, images=0).lines == [] and not (tmp_path / "samples").exists()


@pytest.mark.parametrize(
    "content",
    [
        '{"images": 100}',
        '{"images": 100, "seconds": "x"}',
        '{"images": 100, "seconds": NaN}',
        '{"images": 100, "seconds": 1' + "0" * 400 + "}",
        '{"images": "x", "seconds": 1}',
        "[]",
        "null",
        "[" * 100_000,
        "\xff",
    ],
)
def test_a_damaged_log_begins_again(tmp_path: Path, content: str) -> None:
    whole = '{"images": 50, "seconds": 2, "loss": 1.0, "measurements": {}}\n'
    (tmp_path / "progress.jsonl").write_bytes((whole + content).encode("latin-1"))
    log = TrainingLog.open(tmp_path, images=200)
    assert log.lines == [] and log.seconds == 0.0
    (tmp_path / "progress.jsonl").write_text(whole)
    assert TrainingLog.open(tmp_path, images=200).seconds == 2.0


def test_a_log_without_end_is_not_read(tmp_path: Path) -> None:
    with (tmp_path / "progress.jsonl").open("wb") as file:
        file.truncate(MOST_JSON_BYTES + 1)
    assert TrainingLog.open(tmp_path, images=200).lines == []


def test_a_recipe_that_trains_nothing_is_carried_out_once(job: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (job / "recipe.yaml").write_text(RECIPE.replace("  - distil", "  # - distil"))
    interrupt_at(1, monkeypatch)
    assert main(job) == 0
    assert files.load(job / "model").spec.sampling_steps == 4 and not (job / "model" / "progress.jsonl").exists()


def test_the_model_does_not_take_the_place_of_the_trials(job: Path) -> None:
    with pytest.raises(UserError, match=r"holds the recipe.* would be overwritten\. Give another --out"):
        main(job, out=job.parent / "." / job.name)


def test_a_training_that_diverges_is_one_message(job: Path) -> None:
    (job / "recipe.yaml").write_text(RECIPE.replace("0.002", "1.0e+30"))
    with pytest.raises(UserError, match=r"Lower a learning_rate in .*recipe\.yaml, or export another trial"):
        main(job)
