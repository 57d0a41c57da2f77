"""How a study went: its hypervolume as trainings ended."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from search.views import StudyViews, TrialView

Array = NDArray[np.float64]


@dataclass(frozen=True, kw_only=True)
class Course:
    """One entry for each complete trial, in the order in which they began.

    Args:
        trials: Their numbers.
        trainings: Worth of full trainings that was spent until then, parts of those that were stopped included.
        hours: The study's wall time until then, shared out by how long each trial was trained and measured.
        volumes: Hypervolume from then on, by first measurements.
    """

    trials: list[int]
    trainings: list[float]
    hours: list[float]
    volumes: list[float]


def course(views: StudyViews) -> Course:
    """The course of a study; empty while no trial is complete."""
    bound_M = bounds_of(views)
    found = Course(trials=[], trainings=[], hours=[], volumes=[])
    trials = sorted((trial for trial in views.trials if trial.state != "rejected"), key=lambda trial: trial.number)
    busy = sum(trial.seconds or 0.0 for trial in trials)
    wall = views.front.seconds if views.front.seconds is not None else busy
    trainings = seconds = volume = 0.0
    front_NM = np.zeros((0, len(bound_M)))
    for trial in trials:
        trainings += _worth(trial, views.front.budget_images)
        seconds += trial.seconds or 0.0
        if trial.state != "complete":
            continue
        point_M = _minimised(views, [trial.values[objective.name] for objective in views.front.objectives])
        # Most trials of a long study change nothing, and volumes take long.
        if (point_M < bound_M).all() and not (front_NM <= point_M).all(axis=1).any():
            front_NM = np.vstack([front_NM[(front_NM < point_M).any(axis=1)], point_M])
            volume = volume_of(views, front_NM)
        found.trials.append(trial.number)
        found.trainings.append(trainings)
        found.hours.append(wall * seconds / busy / 3600 if busy else 0.0)
        found.volumes.append(volume)
    return found


def bounds_of(views: StudyViews) -> Array:
    """The limits of all objectives, minimised; infinite where there is none."""
    limits = views.front.limits
    sign = {"min": 1.0, "max": -1.0}
    return np.array(
        [
            sign[objective.goal] * limits[objective.name] if objective.name in limits else np.inf
            for objective in views.front.objectives
        ]
    )


def volume_of(views: StudyViews, values_NM: Array) -> float:
    """Hypervolume of minimised points as the study measures it: of the region within the limits, in units of these."""
    from search.front_file import relative_volume

    bound_M = bounds_of(views)
    return relative_volume(values_NM[(values_NM <= bound_M).all(axis=1)], bound_M)


def eligible_points(views: StudyViews) -> Array:
    """What counts of the trials that may be on the front, minimised, one row each."""
    names = [objective.name for objective in views.front.objectives]
    rows = [_minimised(views, [trial.value(name) for name in names]) for trial in views.eligible]
    return np.array(rows).reshape(-1, len(names))


def _minimised(views: StudyViews, values: Sequence[float | None]) -> Array:
    from search.front import minimised

    return minimised(np.array(values, float), [objective.goal for objective in views.front.objectives])


def _worth(trial: TrialView, images: int | None) -> float:
    if trial.state == "complete":
        return 1.0
    # Older studies do not say how long a full training is; they stopped nothing either.
    return min(1.0, (trial.images or 0) / images) if images else 0.0
