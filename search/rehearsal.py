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
from statistics import fmean
from time import perf_counter
from typing import TYPE_CHECKING

from objectives.objective import Objective
from search.ends import Kind, kind_of
from search.estimate import measuring_seconds, training_seconds
from search.evaluate import Workshop
from search.preparation import build_workshop, teacher_run
from trainers.cache import Cache
from trainers.foreign import place_of

if TYPE_CHECKING:
    import torch

    from search.known import Foresight
    from search.preflight import Survey
    from search.space import Candidate
    from trainers.data.dataset import Images
    from trainers.models.arch_spec import ArchSpec
    from trainers.models.diffusion_model import DiffusionModel
    from trainers.run import Run

    _Typical = tuple[Candidate, ArchSpec]

_TELLS_NOTHING: tuple[Kind, ...] = ("diverged", "out_of_memory", "out_of_memory_cuda")
"""How a rehearsal may end; the trials of the study may do better, with less at a time."""
_CANDIDATES = 3
"""That are trained and measured for a moment."""
_FURTHER = 6
"""And others that are only trained, least: a layer's time for each MAC differs by its kind, by two times and more."""
_BATCHES = 16
"""The least that is trained: fewer batches say nothing of a stage that halves its steps and prunes on the way."""
_SMALL = 0.1
"""Less of a training than this is not told apart where it does not depend on the images."""
_SECONDS = 1.0
"""What a longer training, and a measurement, is meant to last."""
_TOO_LONG = 20.0
"""Predicted seconds of the least training of the candidates; where it takes longer, the prediction has to do."""


@dataclass(frozen=True, kw_only=True)
class Rehearsal:
    """What a study costs beside what is predicted; without a rehearsal, just that.

    Args:
        teacher, training, measuring: Measured seconds for each predicted one, of training the teacher, of training a
            candidate, and of drawing its images and judging them.
        trial_seconds: What a trial takes besides: pruning, quantising.
        costs_seconds: Of measuring what is not learned, as each complete trial does.
        preparing_seconds: What is computed once, when the teacher is there.
        kept_bytes: Of teacher, gradients and statistics.
        peak_bytes: Memory of this process at its fullest; that of a worker is about the same.
        seconds: That the rehearsal took.
    """

    teacher: float = 1.0
    training: float = 1.0
    measuring: float = 1.0
    trial_seconds: float = 0.0
    costs_seconds: float = 0.0
    preparing_seconds: float = 0.0
    kept_bytes: int = 0
    peak_bytes: int | None = None
    seconds: float = 0.0


def rehearse(foresight: Foresight, seen: Survey, images: Images, *, cache: Cache, device: torch.device) -> Rehearsal:
    """Train and measure for a moment; nothing is rehearsed where that is long, or training diverges or lacks memory."""
    space = foresight.space
    chosen, further = _chosen(foresight, seen)
    is_here = space.teacher.source is None or place_of(space.teacher.source).is_dir()
    if not is_here or math.fsum(_least_seconds(foresight, spec) for _, spec in chosen) > _TOO_LONG:
        return Rehearsal()
    begun = perf_counter()
    for objective in space.objectives:
        # Into the user's cache: an extractor that is trained here need not be trained again for the study.
        objective.prepare(images, cache)
    try:
        with _scratch(cache) as scratch:
            found = _rehearsed(foresight, chosen, further, images, cache=scratch, device=device)
    except Exception as error:
        # What a trial would fail of, the prediction does not see either.
        if kind_of(error) not in _TELLS_NOTHING:
            raise
        return Rehearsal()
    return replace(found, seconds=perf_counter() - begun)


def _rehearsed(
    foresight: Foresight,
    chosen: Sequence[_Typical],
    further: Sequence[_Typical],
    images: Images,
    *,
    cache: Cache,
    device: torch.device,
) -> Rehearsal:
    import torch

    space, predicted = foresight.space, foresight.device_model
    batch = space.teacher.batch
    teacher, of_teacher = space.teacher, 1.0
    if teacher.source is None:

        def train_teacher(count: int) -> float:
            briefly, at = replace(space.teacher, images=count), perf_counter()
            briefly.obtain(images, cache=cache, device=device, on_progress=lambda _: None)
            seconds = perf_counter() - at
            briefly.cache_path(images, cache).unlink()
            return seconds

        # What torch does at its first training alone must not count.
        train_teacher(batch)
        per_image, _ = _rate(train_teacher, least=_BATCHES * batch)
        of_teacher = per_image * batch / predicted.training_seconds(foresight.teacher, images=batch, batch=batch)
        teacher = replace(teacher, images=batch)
    before, at = set(cache.folder.iterdir()), perf_counter()
    briefly = replace(space, teacher=teacher)
    shop = build_workshop(briefly, images, cache=cache, device=device, on_progress=lambda _: None)
    preparing = perf_counter() - at
    kept = sum(path.stat().st_size for path in set(cache.folder.iterdir()) - before)
    threads = torch.get_num_threads()
    # As many as a trial will have.
    torch.set_num_threads(space.resources.cpu)
    try:
        trials = [_trial(foresight, shop, candidate, spec) for candidate, spec in chosen]
        rates = [(trial.per_image, trial.untrained) for trial in trials]
        untrained = fmean(seconds for _, seconds in rates)
        rates += [_brief_rate(foresight, shop, candidate, untrained) for candidate, _ in further]
    finally:
        torch.set_num_threads(threads)
    expected = [training_seconds(foresight, spec, images=1) for _, spec in (*chosen, *further)]
    return Rehearsal(
        teacher=of_teacher,
        training=_ratio(math.fsum(per_image for per_image, _ in rates), math.fsum(expected)),
        measuring=_ratio(
            math.fsum(trial.measuring for trial in trials),
            math.fsum(measuring_seconds(foresight, spec) for _, spec in chosen),
        ),
        trial_seconds=fmean(seconds for _, seconds in rates),
        costs_seconds=fmean(trial.costs for trial in trials),
        preparing_seconds=max(0.0, preparing),
        kept_bytes=kept,
        peak_bytes=_peak_bytes(),
    )


@dataclass(frozen=True, kw_only=True)
class _Trial:
    """Seconds of a trial.

    Args:
        per_image: Of training.
        untrained: Of its stages besides, whatever the number of images.
        costs: Of measuring what is not learned.
        measuring: Of one measurement of all learned objectives.
    """

    per_image: float
    untrained: float
    costs: float
    measuring: float


def _trial(foresight: Foresight, shop: Workshop, candidate: Candidate, spec: ArchSpec) -> _Trial:
    recipe = foresight.space.fill(candidate)
    made: list[DiffusionModel] = []

    def train(count: int) -> float:
        run, at = _brief_run(shop, count), perf_counter()
        made[:] = [recipe.run(run)]
        return perf_counter() - at

    if any(stage.trains for stage in recipe.stages):
        per_image, untrained = _rate(train, least=_BATCHES * foresight.space.teacher.batch)
    else:
        per_image, untrained = 0.0, train(0)
    seconds = {True: 0.0, False: 0.0}
    expected = measuring_seconds(foresight, spec)
    for objective in shop.objectives:
        share = min(1.0, _SECONDS / expected) if objective.is_learned and expected else 1.0
        briefly, at = _with_samples(objective, share), perf_counter()
        briefly.measure(made[0], teacher_run(shop))
        seconds[objective.is_learned] += (perf_counter() - at) / share
    return _Trial(per_image=per_image, untrained=untrained, costs=seconds[False], measuring=seconds[True])


def _brief_rate(foresight: Foresight, shop: Workshop, candidate: Candidate, untrained: float) -> tuple[float, float]:
    """As ``_rate``, by the least training; and by twice that where much of it may not depend on the images.

    Args:
        untrained: Seconds of others that do not.
    """
    recipe, least = foresight.space.fill(candidate), _BATCHES * foresight.space.teacher.batch

    def train(count: int) -> float:
        at = perf_counter()
        recipe.run(_brief_run(shop, count))
        return perf_counter() - at

    few_seconds = train(least)
    if untrained < _SMALL * few_seconds:
        return max(0.0, few_seconds - untrained) / least, untrained
    return _split(few_seconds, least, train(2 * least), 2 * least)


def _brief_run(shop: Workshop, count: int) -> Run:
    return replace(teacher_run(shop), budget_images=count, until_images=count)


def _with_samples(objective: Objective, share: float) -> Objective:
    """The objective with a share of its samples."""
    samples = getattr(objective, "samples", None)
    return replace(objective, samples=max(2, round(share * samples))) if samples and share < 1 else objective  # type: ignore[call-arg]


def _rate(train: Callable[[int], float], *, least: int) -> tuple[float, float]:
    """Seconds for each image, and those that do not depend on their number, from short trainings and a longer one.

    Where other work of the machine made a short one last longer than the longer one, all counts as training.
    """
    few_seconds = train(least)
    many = least * min(8, max(2, round(_SECONDS / few_seconds)))
    many_seconds = train(many)
    # The first one also pays for what is done once, and either may have been held up.
    few_seconds = min(few_seconds, train(least))
    return _split(few_seconds, least, many_seconds, many)


def _split(few_seconds: float, few: int, many_seconds: float, many: int) -> tuple[float, float]:
    if many_seconds <= few_seconds:
        return many_seconds / many, 0.0
    per_image = (many_seconds - few_seconds) / (many - few)
    return per_image, max(0.0, few_seconds - per_image * few)


def _least_seconds(foresight: Foresight, spec: ArchSpec) -> float:
    return training_seconds(foresight, spec, images=_BATCHES * foresight.space.teacher.batch)


def _chosen(foresight: Foresight, seen: Survey) -> tuple[list[_Typical], list[_Typical]]:
    """Candidates from the quickest to the slowest, each amid an equal part of all: those to be tried, and further ones.

    None are further ones where no candidate trains, or where training them takes long.
    """
    ordered = sorted(seen.typical, key=lambda typical: _least_seconds(foresight, typical[1]))
    chosen = _evenly(ordered, _CANDIDATES)
    trains = any(stage.trains for stage in foresight.space.fill(chosen[0][0]).stages)
    further = _evenly([each for each in ordered if each not in chosen], _FURTHER) if trains else []
    seconds = math.fsum(_least_seconds(foresight, spec) for _, spec in (*chosen, *further))
    return chosen, further if seconds <= _TOO_LONG else []


def _evenly(ordered: Sequence[_Typical], count: int) -> list[_Typical]:
    count = min(count, len(ordered))
    return [ordered[(2 * place + 1) * len(ordered) // (2 * count)] for place in range(count)]


@contextmanager
def _scratch(cache: Cache) -> Iterator[Cache]:
    """A cache for the time being that also has what ``cache`` has, except teachers.

    One of as few images as are rehearsed would be found there, and seem to take no time.
    """
    with tempfile.TemporaryDirectory(prefix="slimfront-") as name:
        for path in cache.folder.glob("*.safetensors"):
            if path.name.startswith("teacher-"):
                continue
            (Path(name) / path.name).symlink_to(path.resolve())
        yield Cache(Path(name))


def _ratio(measured: float, predicted: float) -> float:
    return measured / predicted if predicted else 1.0


def _peak_bytes() -> int:
    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit
