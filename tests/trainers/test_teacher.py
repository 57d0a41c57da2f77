"""The teacher: how it draws, what names it in the cache, and what it refuses."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from pydantic import TypeAdapter

from trainers import teacher_training
from trainers.cache import Cache
from trainers.data.dataset import Images
from trainers.data.digits import Digits
from trainers.distillation import _loop
from trainers.errors import UserError
from trainers.models import files
from trainers.models.samplers.ddim import Ddim
from trainers.models.samplers.dpm_solver import DpmSolver
from trainers.run import Progress
from trainers.teacher import Teacher

WRITTEN = {
    "network": {"guided_unet": {"channels": [8, 8], "bottleneck": 8, "heads": 2, "time_dim": 16, "classes": 10}},
    "images": 256,
    "label_dropout": 0.1,
    "sampling_steps": 4,
}


def read(**options: object) -> Teacher:
    teacher: Teacher = TypeAdapter(Teacher).validate_python({**WRITTEN, **options})
    return teacher


def obtain(teacher: Teacher, images: Images, cache: Cache) -> files.DiffusionModel:
    return teacher.obtain(images, cache=cache, device=torch.device("cpu"), on_progress=lambda progress: None)


def test_how_it_draws_is_not_what_it_is(digits: Images, tmp_path: Path) -> None:
    """One training serves every sampler; the cached file's own does not leak into another space."""
    cache = Cache(tmp_path)
    guided = obtain(read(sampler="dpm_solver", guidance=2.0), digits, cache)
    plain = obtain(read(), digits, cache)
    assert len(list(tmp_path.glob("teacher-*"))) == 1
    assert (guided.spec.sampler, guided.spec.guidance) == (DpmSolver(), 2.0)
    assert (plain.spec.sampler, plain.spec.guidance) == (Ddim(), 1.0)
    assert all(torch.equal(a, b) for a, b in zip(guided.net.parameters(), plain.net.parameters(), strict=True))


class Killed(BaseException):
    """In the place of a signal that no program survives."""


def trained_in_spans(teacher: Teacher, images: Images, cache: Cache, *, until: int) -> files.DiffusionModel:
    """With a state kept after each batch, and killed after ``until`` images."""

    def die(progress: Progress) -> None:
        if progress.images >= until:
            raise Killed

    return teacher.obtain(images, cache=cache, device=torch.device("cpu"), on_progress=die)


@pytest.fixture
def each_batch(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(teacher_training, "SECONDS_BETWEEN_STATES", -1.0)
    monkeypatch.setattr(_loop, "_SECONDS_BETWEEN_REPORTS", -1.0)


SPANS = {"batch": 32, "images": 200, "learning_rate": 4e-3, "ema": 0.9, "label_dropout": 0.2}


@pytest.mark.usefixtures("each_batch")
def test_a_teacher_that_was_interrupted_ends_as_one_that_was_not(
    digits: Images, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    teacher = read(**SPANS)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(teacher_training, "SECONDS_BETWEEN_STATES", 1e9)
        whole = obtain(teacher, digits, Cache(tmp_path / "whole"))
    cache = Cache(tmp_path / "parts")
    for until in (96, 160):
        with pytest.raises(Killed):
            trained_in_spans(teacher, digits, cache, until=until)
    assert not teacher.is_cached(digits, cache)
    caplog.clear()
    # How it draws is another matter, as in a second space.
    seen: list[int] = []
    found = replace(teacher, sampling_steps=2).obtain(
        digits, cache=cache, device=torch.device("cpu"), on_progress=lambda progress: seen.append(progress.images)
    )
    assert caplog.messages == ["teacher: going on from 128 of 200 images"]
    assert min(seen) > 128
    assert found.spec.sampling_steps == 2
    assert all(torch.equal(a, b) for a, b in zip(whole.net.parameters(), found.net.parameters(), strict=True))
    assert [path.name for path in cache.folder.iterdir()] == [teacher.cache_path(digits, cache).name]


@pytest.mark.usefixtures("each_batch")
@pytest.mark.parametrize("damage", ["cut short", "of another"])
def test_a_training_that_cannot_go_on_starts_again(
    digits: Images, tmp_path: Path, caplog: pytest.LogCaptureFixture, damage: str
) -> None:
    teacher, cache = read(**SPANS), Cache(tmp_path)
    partial = teacher_training.partial_path(teacher.cache_path(digits, cache))
    with pytest.raises(Killed):
        trained_in_spans(teacher, digits, cache, until=96)
    if damage == "cut short":
        partial.write_bytes(partial.read_bytes()[:-100])
    else:
        network = {"guided_unet": {**WRITTEN["network"]["guided_unet"], "channels": [8, 16]}}  # type: ignore[index]
        other = read(**SPANS, network=network)
        with pytest.raises(Killed):
            trained_in_spans(other, digits, cache, until=96)
        teacher_training.partial_path(other.cache_path(digits, cache)).replace(partial)
    caplog.clear()
    found = obtain(teacher, digits, cache)
    assert caplog.messages == [f"teacher: {partial} is damaged or of another teacher; training starts again"]
    expected = obtain(teacher, digits, Cache(tmp_path / "whole"))
    assert all(torch.equal(a, b) for a, b in zip(expected.net.parameters(), found.net.parameters(), strict=True))


def test_of_two_processes_that_train_it_the_first_one_counts(digits: Images, tmp_path: Path) -> None:
    """On a GPU their weights differ in the last bits, and a study knows its teacher by them."""
    teacher, cache = read(), Cache(tmp_path)
    other = obtain(read(seed=1), digits, Cache(tmp_path / "other"))

    def meanwhile(progress: Progress) -> None:
        files.save(other, teacher.cache_path(digits, cache))

    found = teacher.obtain(digits, cache=cache, device=torch.device("cpu"), on_progress=meanwhile)
    kept = obtain(teacher, digits, cache)
    assert found.fingerprint() == kept.fingerprint() == other.fingerprint()


def test_a_saved_teacher_draws_as_it_did(digits: Images, tmp_path: Path) -> None:
    """So an exported recipe, whose teacher is a folder, trains the student with the sampler of the search."""
    model = obtain(read(sampler="dpm_solver", guidance=2.0), digits, Cache(tmp_path / "cache"))
    files.save(model, tmp_path / "teacher")
    written = {"from": str(tmp_path / "teacher"), "sampling_steps": 4}
    loaded: Teacher = TypeAdapter(Teacher).validate_python(written)
    assert loaded.planned_for(Digits()) == model.spec
    other = replace(loaded, sampler=Ddim(eta=0.5), guidance=1.0)
    assert other.planned_for(Digits()).sampler == Ddim(eta=0.5)


@pytest.mark.parametrize(
    "change",
    [
        {"label_dropout": 0.2},
        {"ema": 0.9},
        {"error_weight": "truncated_snr"},
        {"diffusion": {"schedule": "cosine"}},
        {"seed": 1},
    ],
)
def test_whatever_its_weights_depend_on_names_it(digits: Images, tmp_path: Path, change: dict[str, object]) -> None:
    cache = Cache(tmp_path)
    assert read(**change).cache_path(digits, cache) != read().cache_path(digits, cache)


def test_training_options_are_refused_where_nothing_is_trained(tmp_path: Path) -> None:
    written = {"from": str(tmp_path), "images": 5, "diffusion": {"prediction": "v"}}
    loaded: Teacher = TypeAdapter(Teacher).validate_python(written)
    with pytest.raises(UserError, match=r"teacher\.images: has no effect with 'from'.*Leave out images, diffusion"):
        loaded.planned_for(Digits())


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            {"network": {"unet": {"channels": [8, 8], "norm_groups": 4}}, "label_dropout": 0.1},
            "teacher.label_dropout: 0.1",
        ),
        (
            {"network": {"unet": {"channels": [8, 8], "norm_groups": 4}}, "label_dropout": 0.0, "guidance": 2.0},
            "teacher.guidance: 2.0 needs",
        ),
        (
            {"label_dropout": 0.0, "guidance": 2.0},
            "teacher.guidance: 2 leads away from answers without labels, which nothing teaches with label_dropout 0.",
        ),
        (
            {"sampler": "euler_maruyama", "diffusion": {"schedule": "cosine"}},
            "teacher.sampler: euler_maruyama: the noise",
        ),
        (
            {"sampling_steps": 20, "diffusion": {"steps": 10}},
            "teacher.sampling_steps: 20 is more than the 10 timesteps",
        ),
    ],
)
def test_what_it_cannot_do_is_said_before_it_is_trained(change: dict[str, object], message: str) -> None:
    with pytest.raises(UserError) as caught:
        read(**change).planned_for(Digits())
    assert message in str(caught.value)
