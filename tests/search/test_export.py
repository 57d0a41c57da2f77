"""Trials taken out of their study: how long they train in full, and what is said."""

from __future__ import annotations

import json
import runpy
import shlex
import sys
from pathlib import Path

import pytest
import torch

from search.evaluate import Workshop
from search.export import main
from search.exported import export, full_images
from search.kept_teacher import teacher_measurements
from search.space import Space
from search.views import StudyViews
from tests.search.study_folder import trial, write_strip, write_views
from tests.search.told_space import TOLD
from trainers.cache import Cache
from trainers.data.latent import DECODER
from trainers.data.pixels import to_uint8
from trainers.errors import UserError
from trainers.full import main as full
from trainers.job import Job
from trainers.models import autoencoder, files
from trainers.models.autoencoder import Autoencoder, published
from trainers.models.diffusion_model import DiffusionModel
from trainers.models.fresh import fresh
from trainers.models.pictures import strip
from trainers.models.sampling import draw_uint8

CANDIDATE = {"prune.criterion": "magnitude", "prune.ratio.mid": 0.5, "prune.ratio.up_0": 0.25, "quantize.bits": 8}


@pytest.fixture
def views(tiny: DiffusionModel, tmp_path: Path) -> StudyViews:
    """A study of one trial, whose files are all there."""
    record = trial(0, candidate=CANDIDATE)
    folder = write_views(tmp_path / "my study", [record])
    (folder / "space.yaml").write_text(TOLD)
    for path in ("teacher", record["path"]):
        files.save(tiny, folder / path)
    write_strip(folder / record["path"] / "samples.webp", noise=0.1)
    (folder / record["path"] / "measurements.json").write_text(
        '{"measurements": {}, "data": "0123", "micro_batches": 4}'
    )
    return StudyViews.open(folder)


def test_full_training_is_as_long_as_the_teachers_and_never_shorter_than_a_trial(repository: Path) -> None:
    def of(space: str, *overrides: str) -> int:
        return full_images(Space.read(repository / "spaces" / space, overrides))

    # What a loaded teacher saw is not known.
    assert of("combined.yaml") == 12_800_000
    assert of("combined_small.yaml") == 300_000
    assert of("combined_small.yaml", "teacher.images=1000") == 54_000


def test_where_no_trial_has_a_model_no_other_is_advised(views: StudyViews, tmp_path: Path) -> None:
    (record,) = views.complete
    (views.folder / record.path / "samples.webp").unlink()
    with pytest.raises(UserError, match=r"has no trials/0000/samples\.webp\. Choose another trial\.$"):
        export(views, record, tmp_path / "out")
    (views.folder / record.path / files.FILE).unlink()
    with pytest.raises(UserError, match=r"safetensors and no trials/0000/samples\.webp\. This copy of the study holds"):
        export(views, record, tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_export_says_how_long_the_full_training_is(
    views: StudyViews, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "one that is kept in a folder of a name longer than the line" / "my student"
    assert main(views.folder, trial=0, out=out) == 0
    said, command = capsys.readouterr().out.splitlines()
    assert said.endswith("train it in full, on 400,000 images, with")
    # Ready to be pasted: on one line, and quoted.
    assert shlex.split(command) == ["python", "-m", "trainers.full", str(out)]
    job = Job.read(out)
    assert (job.budget.images, job.data_hash, job.micro_batches) == (400_000, "0123", 4)


OF_LATENTS = """\
name: latents
data: {latent: {of: digits, autoencoder: {channels: 3, width: 4, images: 256}}}
teacher: {network: {unet: {channels: [8, 16], norm_groups: 4}}, diffusion: {is_clipped: false}, sampling_steps: 4}
recipe:
  - prune: {criterion: magnitude, ratio: {mid: {float: [0.0, 0.8]}}, rule: flexible}
  - finetune: {batch: 32}
objectives: [denoising_loss, size_mb]
budget: {images: 64}
"""


@pytest.fixture
def of_latents(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> StudyViews:
    """A study of one trial in latents; its cache, with the autoencoder, is on another machine."""
    monkeypatch.setenv("SLIMFRONT_CACHE", str(tmp_path / "cache there"))
    record = trial(0, candidate={"prune.ratio.mid": 0.5})
    folder = write_views(tmp_path / "study", [record])
    (folder / "space.yaml").write_text(OF_LATENTS)
    space, cpu = Space.read(folder / "space.yaml"), torch.device("cpu")
    images, model = space.data.load(), fresh(space.teacher.planned_for(space.data), seed=0, device=cpu)
    teacher_measurements(Workshop(model, images, (), Cache.default(), cpu), folder)
    files.save(model, folder / record["path"])
    write_strip(folder / record["path"] / "samples.webp", noise=0.1)
    (folder / record["path"] / "measurements.json").write_text(json.dumps({"measurements": {}, "data": images.hash}))
    monkeypatch.setenv("SLIMFRONT_CACHE", str(tmp_path / "cache here"))
    monkeypatch.setattr("trainers.models.autoencoder_training._trained", None)
    return StudyViews.open(folder)


def test_what_is_trained_in_latents_needs_nothing_of_the_machine_that_it_was_exported_on(
    of_latents: StudyViews, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = tmp_path / "out"
    export(of_latents, of_latents.complete[0], out, images=64)
    (of_latents.folder / "teacher" / autoencoder.FILE).unlink()
    # Brought elsewhere, as a whole.
    job = out.rename(tmp_path / "elsewhere")
    assert full(job, every=64, exchange=False) == 0
    model = (job / "model").rename(tmp_path / "shipped")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "argv", ["generate.py", "2", "5"])
    with pytest.raises(SystemExit) as ended:
        runpy.run_path(str(model / "generate.py"))
    assert not ended.value.code
    decoder = Autoencoder.load(job / DECODER)
    drawn = draw_uint8(files.load(model), count=2, seed=5, decode=lambda latent: to_uint8(decoder.decode(latent)))
    assert Path("generated.webp").read_bytes() == strip(drawn)
    assert published(str(model)).fingerprint == decoder.fingerprint
    assert f"- `{DECODER}`: the autoencoder" in (model / "model_card.md").read_text()


def test_a_study_in_latents_that_kept_no_autoencoder_is_not_exported(of_latents: StudyViews, tmp_path: Path) -> None:
    kept = of_latents.folder / "teacher" / autoencoder.FILE
    kept.write_bytes(kept.read_bytes()[:-8])
    with pytest.raises(UserError, match="is not a Slimfront autoencoder"):
        export(of_latents, of_latents.complete[0], tmp_path / "out")
    kept.unlink()
    with pytest.raises(UserError, match=r"has no teacher/autoencoder\.safetensors.* `python -m search\.run "):
        export(of_latents, of_latents.complete[0], tmp_path / "out")
    assert not (tmp_path / "out").exists()
