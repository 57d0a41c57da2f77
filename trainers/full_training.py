"""The training of a recipe with its full budget: checkpoints, what the model draws by then, and going on from there."""

from __future__ import annotations

import shutil
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from trainers.run import UnfitStateError, going_on
from trainers.training_log import TrainingLog

if TYPE_CHECKING:
    from trainers.models.diffusion_model import DiffusionModel
    from trainers.recipe import Recipe
    from trainers.run import Progress, Run, TrainingState

_SECONDS_BETWEEN_LINES = 5.0
STUDENTS = "students"
"""In the folder of a model: those before it, where they were asked for."""
_MOST_MEASURING = 0.1
"""Of the time spent on training, what figures along the way may take."""

Measure = Callable[["DiffusionModel", "Run"], Mapping[str, Any]]


@dataclass
class FullTraining:
    """A training that goes on from its last checkpoint, with its log in the folder of the model.

    Args:
        recipe: To train.
        folder: Of the model.
        key: Changes with what the training depends on: a checkpoint of another one is none to go on from.
        every: Images between checkpoints.
        measure: What a model is judged by on the way; it is asked as often as its time allows, once at least.
        tell: Called with lines for the user.
        keeps_students: Whether those of earlier iterations are written into the folder, too.
    """

    recipe: Recipe
    folder: Path
    key: str
    every: int
    measure: Measure
    tell: Callable[[str], None]
    keeps_students: bool = False
    #: When training began here, how many images an earlier run had seen by then, and what was last told of it.
    begun: float = field(default_factory=time.monotonic)
    seen_before: int = 0
    shown: float = 0.0
    loss: float | None = None

    def train(self, run: Run) -> tuple[DiffusionModel, float]:
        """The trained model, and the seconds of training, those before an interruption included.

        A checkpoint that cannot be gone on from is told, and training starts again.

        Raises:
            FloatingPointError: when the training diverges.
        """
        from trainers.states import load_state

        def load() -> TrainingState | None:
            state = load_state(self.checkpoint, device=str(run.device))
            # All have read it before the first one writes another.
            run.processes.wait()
            return state

        return going_on(load, partial(self._trained, run), tell=self._tell_unfit)

    def _trained(self, run: Run, state: TrainingState | None) -> tuple[DiffusionModel, float]:
        from trainers.states import save_state

        images = run.budget_images
        if run.processes.is_first:
            if state is None:
                # Of another training, perhaps.
                shutil.rmtree(self.folder / STUDENTS, ignore_errors=True)
            if self.keeps_students:
                run = replace(run, on_student=self._keep_student)
        if state is not None:
            self.tell(f"going on from {state.images:,} of {images:,} images")
        log = TrainingLog.open(self.folder, images=state.images if state else 0)
        self.begun, self.seen_before = time.monotonic(), state.images if state else 0
        trained, measuring = log.seconds, 0.0
        for end in (*range(self.every, images, self.every), images):
            if state is not None and end <= state.images < images:
                continue
            began = time.monotonic()
            run = run.up_to(end, state)
            model = self.recipe.run(run)
            trained += time.monotonic() - began
            if run.kept_state is None:  # no stage trains
                break
            if run.kept_state is not state and run.processes.is_first:
                save_state(run.kept_state, self.checkpoint)
                began = time.monotonic()
                is_due = end < images and measuring <= _MOST_MEASURING * trained
                self._log(log, model, run, end, seconds=trained, is_measured=is_due)
                measuring += time.monotonic() - began
            state = run.kept_state
        return model, trained

    @property
    def checkpoint(self) -> Path:
        """The folder of the last one."""
        return self.folder / f"checkpoint-{self.key}"

    def forget(self) -> None:
        """Remove the checkpoint of a training whose model is written."""
        shutil.rmtree(self.checkpoint, ignore_errors=True)

    def show(self, progress: Progress) -> None:
        """Tell how far a training is, and how long the rest takes, from time to time."""
        self.loss, now = progress.loss, time.monotonic()
        if now - self.shown < _SECONDS_BETWEEN_LINES:
            return
        self.shown = now
        each = (now - self.begun) / max(1, progress.images - self.seen_before)
        self.tell(
            f"{progress.stage}: {progress.images:,} of {progress.images_in_all:,} images, loss {progress.loss:.4f}, "
            f"{each * (progress.images_in_all - progress.images):.0f} s left"
        )

    def _tell_unfit(self, error: UnfitStateError) -> None:
        self.tell(f"the checkpoint {self.checkpoint} is not used: {error}. Training starts from the beginning.")

    def _keep_student(self, stage: str, number: int, student: DiffusionModel) -> None:
        from trainers.models import files

        files.save(student, self.folder / STUDENTS / f"{stage}-{number:02}")

    def _log(
        self, log: TrainingLog, model: DiffusionModel, run: Run, images: int, *, seconds: float, is_measured: bool
    ) -> None:
        from trainers.models.pictures import sample_strip

        measured = self.measure(model, run) if is_measured else {}
        strip = sample_strip(model, run.images.decoded)
        log.add(images, seconds=seconds, loss=self.loss, measured=measured, strip=strip)
        figures = "".join(f", {name} {found['value']:.4g} +- {found['stderr']:.2g}" for name, found in measured.items())
        self.tell(f"checkpoint at {images:,} images{figures}")
