"""A rehearsal of a study: a few seconds of its real training and measuring, which say how long all of it will take.

What the device model predicts leaves out whatever is not the network itself: optimisers, losses on features, a teacher
that is asked twice, gradients for a criterion. So a few candidates are really trained for a moment, and what that took
is set against the prediction; the factor then holds for all candidates.
"""

from __future__ import annotations

import math
import resource
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from time import perf_counter
from typing import TYPE_CHECKING

from objectives.objective import Objective
from search.estimate import measuring_seconds, training_seconds
from search.evaluate import Workshop
from search.preparation import build_workshop, teacher_run
from trainers.cache import Cache

if TYPE_CHECKING:
    import torch

    from search.known import Foresight
    from search.preflight import Survey
    from search.space import Candidate
    from trainers.data.dataset import Images
    from trainers.models.arch_spec import ArchSpec
    from trainers.models.diffusion_model import DiffusionModel

_CANDIDATES = 3
_BATCHES = 16
"""The least that is trained: fewer batches say nothing of a stage that halves its steps and prunes on the way."""
_SECONDS = 1.0
"""What a longer training, and a measurement, is meant to last."""
_TOO_LONG = 20.0
"""Predicted seconds of the least training of all candidates; where it takes longer, the prediction has to do."""


@dataclass(frozen=True, kw_only=True)
class Rehearsal:
    """What a study costs beside what is predicted; without a rehearsal, just that.

    Args:
        teacher, training, measuring: Measured seconds for each predicted one, of training the teacher, of training a
            candidate, and of drawing its images and judging them.
        trial_seconds: What a trial takes besides: pruning, quantising, costs that are measured.
        preparing_seconds: What is computed once, when the teacher is there.
        kept_bytes: Of teacher, gradients and statistics.
        peak_bytes: Memory of this process at its fullest; that of a worker is about the same.
        seconds: That the rehearsal took.
    """

    teacher: float = 1.0
    training: float = 1.0
    measuring: float = 1.0
    trial_seconds: float = 0.0
    preparing_seconds: float = 0.0
    kept_bytes: int = 0
    peak_bytes: int | None = None
    seconds: float = 0.0


def rehearse(foresight: Foresight, seen: Survey, images: Images, *, cache: Cache, device: torch.device) -> Rehearsal:
    """Train and measure for a moment; nothing is rehearsed where even that takes long, or where training diverges."""
    space = foresight.space
    chosen = _spread(seen, lambda spec: training_seconds(foresight, spec, images=_BATCHES * space.teacher.batch))
    if space.teacher.source is not None or sum(seconds for _, _, seconds in chosen) > _TOO_LONG:
        return Rehearsal()
    begun = perf_counter()
    for objective in space.objectives:
        # Into the user's cache: an extractor that is trained here need not be trained again for the study.
        objective.prepare(images, cache)
    try:
        with _scratch(cache) as scratch:
            found = _rehearsed(foresight, [pair[:2] for pair in chosen], images, cache=scratch, device=device)
    except FloatingPointError:
        return Rehearsal()
    return replace(found, seconds=perf_counter() - begun)


def _rehearsed(
    foresight: Foresight,
    chosen: Sequence[tuple[Candidate, ArchSpec]],
    images: Images,
    *,
    cache: Cache,
    device: torch.device,
) -> Rehearsal:
    import torch

    space, predicted = foresight.space, foresight.device_model
    batch = space.teacher.batch

    def train_teacher(count: int) -> float:
        teacher, at = replace(space.teacher, images=count), perf_counter()
        teacher.obtain(images, cache=cache, device=device, on_progress=lambda _: None)
        seconds = perf_counter() - at
        teacher.cache_path(images, cache).unlink()
        return seconds

    # What torch does at its first training alone must not count.
    train_teacher(batch)
    per_image, _ = _rate(train_teacher, least=_BATCHES * batch)
    before, at = set(cache.folder.iterdir()), perf_counter()
    briefly = replace(space, teacher=replace(space.teacher, images=_BATCHES * batch))
    shop = build_workshop(briefly, images, cache=cache, device=device, on_progress=lambda _: None)
    preparing = perf_counter() - at - per_image * _BATCHES * batch
    kept = sum(path.stat().st_size for path in set(cache.folder.iterdir()) - before)
    threads = torch.get_num_threads()
    # As many as a trial will have.
    torch.set_num_threads(space.resources.cpu)
    try:
        trials = [_trial(foresight, shop, candidate, spec) for candidate, spec in chosen]
    finally:
        torch.set_num_threads(threads)
    training, beside, measuring = (math.fsum(part) for part in zip(*trials, strict=True))
    specs = [spec for _, spec in chosen]
    return Rehearsal(
        teacher=per_image * batch / predicted.training_seconds(foresight.teacher, images=batch, batch=batch),
        training=_ratio(training, math.fsum(training_seconds(foresight, spec, images=1) for spec in specs)),
        measuring=_ratio(measuring, math.fsum(measuring_seconds(foresight, spec) for spec in specs)),
        trial_seconds=beside / len(trials),
        preparing_seconds=max(0.0, preparing),
        kept_bytes=kept,
        peak_bytes=_peak_bytes(),
    )


def _trial(foresight: Foresight, shop: Workshop, candidate: Candidate, spec: ArchSpec) -> tuple[float, float, float]:
    """Seconds of a trial: of training, for each image; of the rest; of one measurement of all learned objectives."""
    recipe = foresight.space.fill(candidate)
    made: list[DiffusionModel] = []

    def train(count: int) -> float:
        run, at = replace(teacher_run(shop), budget_images=count, until_images=count), perf_counter()
        made[:] = [recipe.run(run)]
        return perf_counter() - at

    is_training = any(stage.trains for stage in recipe.stages)
    per_image, beside = _rate(train, least=_BATCHES * foresight.space.teacher.batch) if is_training else (0.0, train(0))
    seconds = {True: 0.0, False: 0.0}
    expected = measuring_seconds(foresight, spec)
    for objective in shop.objectives:
        share = min(1.0, _SECONDS / expected) if objective.is_learned and expected else 1.0
        briefly, at = _with_samples(objective, share), perf_counter()
        briefly.measure(made[0], teacher_run(shop))
        seconds[objective.is_learned] += (perf_counter() - at) / share
    return per_image, beside + seconds[False], seconds[True]


def _with_samples(objective: Objective, share: float) -> Objective:
    """The objective with a share of its samples."""
    samples = getattr(objective, "samples", None)
    return replace(objective, samples=max(2, round(share * samples))) if samples and share < 1 else objective  # type: ignore[call-arg]


def _rate(train: Callable[[int], float], *, least: int) -> tuple[float, float]:
    """Seconds for each image, and those that do not depend on their number, from a short and a longer training."""
    few_seconds = train(least)
    many = least * min(8, max(2, round(_SECONDS / few_seconds)))
    per_image = max(0.0, train(many) - few_seconds) / (many - least)
    return per_image, max(0.0, few_seconds - per_image * least)


def _spread(seen: Survey, seconds_of: Callable[[ArchSpec], float]) -> list[tuple[Candidate, ArchSpec, float]]:
    """A few candidates from the quickest to the slowest, each amid an equal part of them, with their seconds."""
    ordered = sorted(((*typical, seconds_of(typical[1])) for typical in seen.typical), key=lambda each: each[2])
    count = min(_CANDIDATES, len(ordered))
    return [ordered[(2 * place + 1) * len(ordered) // (2 * count)] for place in range(count)]


@contextmanager
def _scratch(cache: Cache) -> Iterator[Cache]:
    """A cache for the time being that also has what ``cache`` has."""
    with tempfile.TemporaryDirectory(prefix="slimfront-") as name:
        for path in cache.folder.glob("*.safetensors"):
            (Path(name) / path.name).symlink_to(path.resolve())
        yield Cache(Path(name))


def _ratio(measured: float, predicted: float) -> float:
    return measured / predicted if predicted else 1.0


def _peak_bytes() -> int:
    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit
