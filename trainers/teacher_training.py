"""The training of a teacher, which may take days: it goes on where it was interrupted, as if it never had been."""

from __future__ import annotations

import logging
import time
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from trainers.recipe import Recipe
from trainers.run import UnfitStateError, going_on
from trainers.states import drop_state, load_state, save_state

if TYPE_CHECKING:
    from trainers.models.diffusion_model import DiffusionModel
    from trainers.run import Progress, Run, TrainingState
    from trainers.stage import Stage

SECONDS_BETWEEN_STATES = 300.0
"""A state is several times the weights, so teachers that take minutes never write one."""

_log = logging.getLogger(__name__)


def trained_teacher(stage: Stage, run: Run, *, beside: Path) -> DiffusionModel:
    """The model after all images of the run; what is needed to go on lies ``beside`` its file until it is forgotten.

    Processes that train the same teacher at once share that file: each replaces it whole, and any of these is a state
    to go on from.

    Raises:
        FloatingPointError: when the training diverges.
    """
    path = partial_path(beside)

    def tell(error: UnfitStateError) -> None:
        _log.warning("teacher: %s is damaged or of another teacher; training starts again", path)

    return going_on(partial(_state, run, path), partial(_trained, stage, run, path), tell=tell)


def _trained(stage: Stage, run: Run, path: Path, state: TrainingState | None) -> DiffusionModel:
    """The model after all images, with the state kept at ``path`` from time to time."""
    on_progress, saved = run.on_progress, time.monotonic()

    def report(progress: Progress) -> None:
        on_progress(progress)
        if time.monotonic() - saved > SECONDS_BETWEEN_STATES:
            # The stage ends with the batch that was just seen.
            run.until_images = min(run.until_images, progress.images)

    run = replace(run, on_progress=report)
    while True:
        run = run.up_to(run.budget_images, state)
        model = Recipe((stage,)).run(run)
        state = run.kept_state
        assert state is not None
        if state.images >= run.budget_images:
            return model
        try:
            save_state(state, path.parent, name=path.name)
        except OSError as error:
            _log.warning("teacher: cannot keep the training so far (%s); it goes on", error.strerror)
        saved = time.monotonic()


def forget_training(beside: Path) -> None:
    """Remove what was kept to go on from: the teacher is trained."""
    path = partial_path(beside)
    drop_state(path.parent, name=path.name)


def partial_path(beside: Path) -> Path:
    """Where an unfinished training is kept."""
    return beside.with_suffix(".partial")


def _state(run: Run, path: Path) -> TrainingState | None:
    state, spec = load_state(path.parent, name=path.name, device=str(run.device)), run.teacher.spec
    if state is None:
        return None
    # How it draws is no part of the training, and may be another than when that was interrupted.
    drawn = replace(state.model.spec, sampler=spec.sampler, sampling_steps=spec.sampling_steps, guidance=spec.guidance)
    if drawn != spec or state.stage != 0 or not 0 < state.images < run.budget_images:
        raise UnfitStateError("it is of another teacher")
    _log.warning("teacher: going on from %s of %s images", f"{state.images:,}", f"{run.budget_images:,}")
    return replace(state, model=replace(state.model, spec=spec))
