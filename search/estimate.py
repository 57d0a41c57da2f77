"""What a study will take: time, disk and memory, from what the device model predicts and a rehearsal corrects."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import fmean, geometric_mean
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from search.known import Foresight
    from search.preflight import Survey
    from search.rehearsal import Rehearsal
    from trainers.models.arch_spec import ArchSpec

_BATCH = 128
"""Images at a time, in training and in drawing."""
_START_SECONDS = 10
"""Imports, and looking at the space."""
_RAY_SECONDS = 20
"""Until Ray and its first workers have started."""
_JOB_SECONDS = 0.5
"""What a trial spends on files and bookkeeping, from one rung to the next."""
_ON_THE_FRONT = 0.7
"""The part of the complete trials that is measured again."""
_TRAINS_QUICKER = 0.95
"""The part of what random candidates take to train that the search's own take; 0.90 to 0.99 in the kept studies."""
_REPORT_BYTES = 6 * 10**6
"""Of the page with its script and pictures, and of what the views hold."""
_TRIAL_BYTES = 60_000
"""Of a trial besides its weights: samples, recipe, measurements, its rows in the database."""
_WORKER_BYTES = 400 * 10**6
"""Of a process that has imported torch and done nothing yet."""
_RAY_BYTES = 400 * 10**6
"""Of Ray's own processes."""


@dataclass(frozen=True, kw_only=True)
class Estimate:
    """What a study will take.

    Args:
        seconds: From the command to its end.
        disk_bytes: Of the study's folder and of what is cached.
        memory_bytes: Of all processes together.
        is_rehearsed: Whether it was tried, and is not predicted alone.
    """

    seconds: float
    disk_bytes: int
    memory_bytes: int
    is_rehearsed: bool


def estimate(
    foresight: Foresight, seen: Survey, rehearsal: Rehearsal, *, workers: int, is_teacher_cached: bool
) -> Estimate:
    """Of the whole study with so many workers on this machine."""
    from objectives.costs import stored_bytes
    from trainers.models.file_size import file_bytes

    space, teacher = foresight.space, foresight.teacher
    teacher_seconds = 0.0
    if not is_teacher_cached:
        teacher_seconds = rehearsal.teacher * foresight.device_model.training_seconds(
            teacher, images=space.teacher.images, batch=space.teacher.batch
        )
    # However many the workers are, none of them is done sooner than with one trial.
    trials = trials_seconds(foresight, seen, rehearsal) / max(1, min(workers, space.budget.trials))
    size = _sought([stored_bytes(spec) for _, spec in seen.typical])
    begun = space.budget.expected_at_rungs(space.halving)[0]
    kept = space.budget.models_kept(space.halving) * size + begun * _TRIAL_BYTES
    start = _START_SECONDS + (_RAY_SECONDS if workers else 0)
    each = rehearsal.peak_bytes or _WORKER_BYTES + 4 * stored_bytes(teacher)
    return Estimate(
        seconds=start + teacher_seconds + rehearsal.preparing_seconds + trials,
        disk_bytes=round(kept) + max(rehearsal.kept_bytes, file_bytes(teacher)) + file_bytes(teacher) + _REPORT_BYTES,
        # The driver holds what a worker holds, and the workers are Ray's.
        memory_bytes=each if workers == 0 else (workers + 1) * each + _RAY_BYTES,
        is_rehearsed=rehearsal.seconds > 0,
    )


def trials_seconds(foresight: Foresight, seen: Survey, rehearsal: Rehearsal) -> float:
    """Of all trials, one after the other."""
    space = foresight.space
    at_rungs = space.budget.expected_at_rungs(space.halving)
    again = _ON_THE_FRONT * at_rungs[-1] * space.confirm
    is_training = any(stage.trains for stage in space.fill(seen.largest[0]).stages)
    images = space.budget.trials * space.budget.images if is_training else 0

    training = _TRAINS_QUICKER * _sought([training_seconds(foresight, spec, images=images) for _, spec in seen.typical])
    measuring = _sought([measuring_seconds(foresight, spec) for _, spec in seen.typical])
    learned = rehearsal.training * training + rehearsal.measuring * (sum(at_rungs) + again) * measuring
    others = at_rungs[0] * rehearsal.trial_seconds + (at_rungs[-1] + again) * rehearsal.costs_seconds
    return learned + others + sum(at_rungs) * _JOB_SECONDS


def _sought(costs: Sequence[float]) -> float:
    """What the search's candidates cost in the mean, from what random ones do: their geometric mean.

    It seeks cheap ones, few steps above all. In the searches kept under ``studies/`` random candidates take 1.0 to 1.7
    times as long to draw in the mean as those that were tried; against the geometric mean that is 0.8 to 1.4 times.
    """
    return fmean(costs) if min(costs) <= 0 else geometric_mean(costs)


def training_seconds(foresight: Foresight, spec: ArchSpec, *, images: float) -> float:
    """Predicted, of training an architecture beside the teacher, which answers for every image too."""
    device = foresight.device_model
    return device.training_seconds(spec, images=images, batch=_BATCH) + device.forward_seconds(
        foresight.teacher, images=images, batch=_BATCH
    )


def measuring_seconds(foresight: Foresight, spec: ArchSpec) -> float:
    """Predicted, of drawing the images that the learned objectives look at; those with the same seed share them."""
    learned = [objective for objective in foresight.space.objectives if objective.is_learned]
    drawn = sum(count for count, _ in {(getattr(each, "samples", 0), getattr(each, "seed", 0)) for each in learned})
    return foresight.device_model.forward_seconds(spec, images=float(drawn * spec.evaluations), batch=_BATCH)
