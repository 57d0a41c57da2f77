"""A rehearsal measures what it says, leaves nothing behind, and an estimate is made of it."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch

from objectives.device_model import calibrated
from search import preflight, rehearsal
from search.estimate import estimate, training_seconds
from search.known import Foresight
from search.preparation import planned_teacher
from search.rehearsal import Rehearsal, rehearse
from search.space import Space
from trainers.cache import Cache
from trainers.data.dataset import Images

SPACE = """
teacher: {network: {unet: {channels: [8, 16], norm_groups: 4}}, images: 50_000, batch: 32, sampling_steps: 4}
recipe:
  - prune: {criterion: magnitude, ratio: {mid: {float: [0.0, 0.8]}}}
  - distil: {batch: 32, weights: {noise: 1.0, output: {float: [0.0, 1.0]}}}
objectives: [{fid: {extractor: labels, samples: 64}}, size_mb, latency_ms]
limits: {latency_ms: 1e9}
budget: {trials: 10, images: 10_000}
halving: false
confirm: 0
"""
CPU = torch.device("cpu")


@pytest.fixture
def foresight(tmp_path: Path, cache: Cache) -> Foresight:
    (tmp_path / "space.yaml").write_text(SPACE)
    space = Space.read(tmp_path / "space.yaml")
    return Foresight(space, planned_teacher(space), calibrated(CPU, cache), {})


def test_what_is_rehearsed_leaves_nothing_and_is_about_what_is_predicted(
    foresight: Foresight, cache: Cache, digits: Images, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(rehearsal, "_SECONDS", 0.2)
    monkeypatch.setattr(rehearsal, "_BATCHES", 4)
    monkeypatch.setattr(rehearsal, "_FURTHER", 2)
    seen = preflight.survey(foresight)
    for objective in foresight.space.objectives:
        objective.prepare(digits, cache)
    before = set(cache.folder.iterdir())
    found = rehearse(foresight, seen, digits, cache=cache, device=CPU)
    assert set(cache.folder.iterdir()) == before
    # Busy machines are slow, but not by orders of magnitude; seconds taken for milliseconds would be.
    assert all(0.02 < factor < 200 for factor in (found.teacher, found.training, found.measuring))
    assert found.seconds > 0 and 0 < found.trial_seconds < found.seconds and found.preparing_seconds < found.seconds
    assert found.peak_bytes is not None and found.peak_bytes > 100e6
    assert found.kept_bytes >= 4 * sum(layer.parameters for layer in foresight.teacher.layers.values())


def test_what_would_take_long_is_not_rehearsed(foresight: Foresight, cache: Cache, digits: Images) -> None:
    seen = preflight.survey(foresight)
    slow = replace(foresight.device_model, train_layer_seconds=10.0)
    found = rehearse(replace(foresight, device_model=slow), seen, digits, cache=cache, device=CPU)
    assert found == Rehearsal()


@pytest.mark.parametrize(
    "error",
    [
        MemoryError(),
        RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried to allocate 9 bytes."),
        torch.OutOfMemoryError("CUDA out of memory."),
        FloatingPointError("the loss is not finite"),
    ],
)
def test_where_memory_is_lacking_the_prediction_has_to_do(
    error: Exception, foresight: Foresight, cache: Cache, digits: Images, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fails(*arguments: object, **options: object) -> None:
        raise error

    monkeypatch.setattr(rehearsal, "_rehearsed", fails)
    seen = preflight.survey(foresight)
    assert rehearse(foresight, seen, digits, cache=cache, device=CPU) == Rehearsal()


def test_a_fault_of_the_program_is_none_of_the_machine(
    foresight: Foresight, cache: Cache, digits: Images, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(rehearsal, "_rehearsed", lambda *arguments, **options: [][0])
    with pytest.raises(IndexError):
        rehearse(foresight, preflight.survey(foresight), digits, cache=cache, device=CPU)


def test_a_cached_teacher_is_trained_again_to_see_how_long_it_takes(tmp_path: Path) -> None:
    cache = Cache(tmp_path)
    for kind in ("teacher", "extractor", "reference"):
        cache.path(kind, {}).write_bytes(b"")
    with rehearsal._scratch(cache) as scratch:
        assert not cache.path("teacher", {}).is_symlink() and not scratch.path("teacher", {}).exists()
        assert scratch.path("extractor", {}).exists() and scratch.path("reference", {}).exists()


def test_many_candidates_are_trained_and_few_are_measured(
    foresight: Foresight, cache: Cache, digits: Images, monkeypatch: pytest.MonkeyPatch
) -> None:
    tried = []

    def trial(_foresight: Foresight, _shop: object, candidate: dict[str, Any], _spec: object) -> rehearsal._Trial:
        tried.append(candidate)
        return rehearsal._Trial(per_image=1.0, untrained=2.0, costs=3.0, measuring=4.0)

    monkeypatch.setattr(rehearsal, "_trial", trial)
    monkeypatch.setattr(rehearsal, "_brief_rate", lambda *args: tried.append(args[2]) or (4.0, 5.0))
    monkeypatch.setattr(rehearsal, "_BATCHES", 1)
    seen = preflight.survey(foresight)
    found = rehearse(foresight, seen, digits, cache=cache, device=CPU)
    assert len({str(candidate) for candidate in tried}) == 9
    assert (found.trial_seconds, found.costs_seconds) == ((3 * 2.0 + 6 * 5.0) / 9, 3.0)
    chosen, further = rehearsal._chosen(foresight, seen)
    predicted = sum(training_seconds(foresight, spec, images=1) for _, spec in (*chosen, *further))
    assert found.training == pytest.approx((3 * 1.0 + 6 * 4.0) / predicted)


@pytest.mark.parametrize(
    ("seconds", "expected"),
    [
        pytest.param([3.0, 5.0, 1.0], (0.5, 0.0), id="the-first-is-slow"),
        pytest.param([3.0, 5.0, 3.0], (0.25, 1.0), id="some-do-not-depend-on-images"),
        pytest.param([6.0, 4.0, 5.0], (0.25, 0.0), id="held-up"),
    ],
)
def test_a_rate_is_of_images_and_never_nothing(seconds: list[float], expected: tuple[float, float]) -> None:
    asked: list[int] = []

    def train(count: int) -> float:
        asked.append(count)
        return seconds[len(asked) - 1]

    assert rehearsal._rate(train, least=8) == pytest.approx(expected)
    assert asked == [8, 16, 8]


@pytest.mark.parametrize(
    ("untrained", "expected", "trainings"), [(6.0, (0.25, 5.0), 2), (0.5, ((5 + 16 * 0.25 - 0.5) / 16, 0.5), 1)]
)
def test_what_takes_long_whatever_the_images_is_no_part_of_a_rate(
    monkeypatch: pytest.MonkeyPatch, untrained: float, expected: tuple[float, float], trainings: int
) -> None:
    """Gradients at every pruning of a progressive stage, say: 5 s here, beside 0.25 s an image."""
    now, asked = [0.0], []

    def run(count: int) -> None:
        asked.append(count)
        now[0] += 5 + 0.25 * count

    recipe = SimpleNamespace(run=run)
    space = SimpleNamespace(fill=lambda candidate: recipe, teacher=SimpleNamespace(batch=1))
    monkeypatch.setattr(rehearsal, "perf_counter", lambda: now[0])
    monkeypatch.setattr(rehearsal, "_brief_run", lambda shop, count: count)
    foresight: Any = SimpleNamespace(space=space)
    shop: Any = None
    assert rehearsal._brief_rate(foresight, shop, {}, untrained) == pytest.approx(expected)
    assert asked == [16, 32][:trainings]


def test_an_estimate_adds_up(foresight: Foresight) -> None:
    device: Any = replace(
        foresight.device_model,
        forward_macs_per_second=float("inf"),
        forward_layer_seconds=0.0,
        train_macs_per_second=float("inf"),
        train_layer_seconds=1e-3,
    )
    foresight = replace(foresight, device_model=device)
    seen = preflight.survey(foresight)
    layers = len(foresight.teacher.layers)
    assert training_seconds(foresight, foresight.teacher, images=1280) == pytest.approx(10 * layers * 1e-3)

    def seconds(found: Rehearsal, **options: Any) -> float:
        return estimate(foresight, seen, found, **{"workers": 1, "is_teacher_cached": True, **options}).seconds

    plain = seconds(Rehearsal())
    # 10 trainings of 10,000 images in batches of 128, of candidates that are a little quicker than random ones.
    assert seconds(Rehearsal(training=3.0)) - plain == pytest.approx(0.95 * 2 * 100_000 / 128 * layers * 1e-3)
    assert seconds(Rehearsal(trial_seconds=5.0)) - plain == pytest.approx(50)
    # What is measured at the end is measured again for seven of ten.
    costs = 50 * (1 + 0.7 * foresight.space.confirm)
    assert foresight.space.halving is None and seconds(Rehearsal(costs_seconds=5.0)) - plain == pytest.approx(costs)
    assert seconds(Rehearsal(preparing_seconds=5.0)) - plain == pytest.approx(5)
    of_teacher = 50_000 / 32 * layers * 1e-3
    assert seconds(Rehearsal(teacher=2.0), is_teacher_cached=False) - plain == pytest.approx(2 * of_teacher)
    one, both, many = (seconds(Rehearsal(trial_seconds=50.0), workers=count) for count in (1, 2, 10**9))
    # Ten trials keep no more than ten workers busy.
    assert one - both == pytest.approx((one - many) / 0.9 / 2, rel=1e-6)


def test_memory_is_that_of_all_processes_and_disk_holds_the_models(foresight: Foresight) -> None:
    seen = preflight.survey(foresight)
    of = {
        workers: estimate(foresight, seen, Rehearsal(peak_bytes=10**9), workers=workers, is_teacher_cached=True)
        for workers in (0, 1, 3)
    }
    assert of[0].memory_bytes == 10**9
    assert of[3].memory_bytes - of[1].memory_bytes == 2 * 10**9
    assert of[0].disk_bytes > 10 * 4 * sum(layer.parameters for layer in seen.smallest[1].spec.layers.values())
