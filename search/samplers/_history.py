"""What a study holds, as a sampler needs it: observations at all shares, what runs, what failed; everything minimised.

A driver that trains in parts keeps two user attributes on a trial (``RUNGS``, ``TARGET``); without them a trial that
runs is on its way to a full training, and a complete one is one.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from optuna.study import Study, StudyDirection
from optuna.trial import FrozenTrial, TrialState

Array = NDArray[np.float64]

RUNGS = "rungs"
"""User attribute: what was measured on the way, in the study's units: ``[{"share": 0.1, "values": {"fid": 31.5}}]``."""
TARGET = "target_share"
"""User attribute: the share that the trial is being trained to. A trial that has reached it waits."""


@dataclass(frozen=True, kw_only=True)
class Observation:
    """One measurement of a candidate: ``values`` has a number or NaN for each objective."""

    candidate: Mapping[str, Any]
    share: float
    values: tuple[float, ...]


Others = Sequence[Sequence[Observation]]
"""What other studies measured, one sequence for each; objectives that a study does not share are NaN."""


@dataclass(frozen=True, kw_only=True)
class History:
    """A study at one moment.

    Args:
        observations: By trial, then by share; full trainings have share 1.
        running: Candidates in training.
        waiting: Trial number -> candidate of those stopped at a share below 1 for now.
        failed: Candidates that gave no result, those that a pruner of Optuna stopped included.
    """

    observations: tuple[Observation, ...]
    running: tuple[Mapping[str, Any], ...]
    waiting: Mapping[int, Mapping[str, Any]]
    failed: tuple[Mapping[str, Any], ...]

    @classmethod
    def of(cls, study: Study, *, names: Sequence[str], without: int | None = None) -> History:
        """The history of ``study``, whose objectives are called ``names``; ``without`` is the trial to be filled."""
        sign = signs(study)
        observations: list[Observation] = []
        running, waiting, failed = [], {}, []
        for trial in study.get_trials(deepcopy=False):
            if trial.number == without or not trial.params:
                continue
            measured = _partial(trial, names, sign)
            # One infinite value would leave no process a number to go on with.
            partial = [each for each in measured if not any(math.isinf(value) for value in each.values)]
            observations += partial
            if trial.state == TrialState.COMPLETE:
                values = tuple(float(value) * s for value, s in zip(trial.values, sign, strict=True))
                # Infinity is told as complete; nothing finite was measured, so it counts as a failure.
                if all(math.isfinite(value) for value in values):
                    observations.append(Observation(candidate=trial.params, share=1.0, values=values))
                else:
                    failed.append(trial.params)
            elif trial.state in (TrialState.FAIL, TrialState.PRUNED) or len(partial) < len(measured):
                failed.append(trial.params)
            elif trial.state == TrialState.RUNNING:
                reached = max((observation.share for observation in partial), default=0.0)
                if reached >= trial.user_attrs.get(TARGET, 1.0) - 1e-9:
                    waiting[trial.number] = trial.params
                else:
                    running.append(trial.params)
        return cls(observations=tuple(observations), running=tuple(running), waiting=waiting, failed=tuple(failed))

    @property
    def full(self) -> list[Observation]:
        """The full trainings."""
        return [observation for observation in self.observations if observation.share >= 1]

    @property
    def candidates(self) -> list[Mapping[str, Any]]:
        """Everything tried so far, whatever came of it."""
        return [
            *(observation.candidate for observation in self.observations),
            *self.running,
            *self.waiting.values(),
            *self.failed,
        ]


def signs(study: Study) -> list[float]:
    """-1 for each objective that is maximised."""
    return [-1.0 if direction == StudyDirection.MAXIMIZE else 1.0 for direction in study.directions]


def _partial(trial: FrozenTrial, names: Sequence[str], sign: Sequence[float]) -> list[Observation]:
    return [
        Observation(
            candidate=trial.params,
            share=float(rung["share"]),
            values=tuple(float(rung["values"].get(name, math.nan)) * s for name, s in zip(names, sign, strict=True)),
        )
        for rung in trial.user_attrs.get(RUNGS, [])
        if rung["share"] < 1
    ]
