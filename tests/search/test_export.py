"""Trials taken out of their study: how long they train in full, and what is said."""

from __future__ import annotations

import shlex
from pathlib import Path

import pytest

from search.export import main
from search.exported import export, full_images
from search.space import Space
from search.views import StudyViews
from tests.search.study_folder import trial, write_strip, write_views
from tests.search.told_space import TOLD
from trainers.errors import UserError
from trainers.job import Job
from trainers.models import files
from trainers.models.diffusion_model import DiffusionModel

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
