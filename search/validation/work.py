"""Points of a front trained in full: each exported, trained by ``trainers.full`` in a process of its own, and kept."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from queue import SimpleQueue
from typing import TYPE_CHECKING, Any

from trainers.errors import UserError
from trainers.foreign import json_inside

if TYPE_CHECKING:
    from search.views import PointView, StudyViews, TrialView

FOLDER = "validation"


@dataclass(frozen=True, kw_only=True)
class Reached:
    """A point after its full training.

    Args:
        trial: Of the study.
        folder: Of the model.
        record: What it measured there, as ``trainers.full`` wrote it.
    """

    trial: TrialView
    folder: Path
    record: Mapping[str, Any]


def chosen(views: StudyViews, points: int) -> list[TrialView]:
    """Points of the front spread evenly from the best to the worst by the learned objective, both among them.

    Raises:
        UserError: when the front has fewer than two.
    """
    name, sign = views.learned.name, 1 if views.learned.goal == "min" else -1
    trials = {trial.number: trial for trial in views.complete}
    on_front = [point for point in views.front.points if point.trial in trials]
    if len(on_front) < 2:
        raise UserError(f"{views.folder} has {len(on_front)} points on its front; an order needs two.")

    def rank(point: PointView) -> float:
        return sign * point.values[name]

    ordered = sorted(on_front, key=rank)
    last = len(ordered) - 1
    places = {round(place * last / (points - 1)) for place in range(points)}
    return [trials[ordered[place].trial] for place in sorted(places)]


def check_measured_by(trial: TrialView, objective: str, now: str) -> None:
    """The trial was measured by what measures now.

    Raises:
        UserError: when it was not.
    """
    then = trial.by.get(objective) or ""
    if then != now:
        raise UserError(
            f"trial {trial.number}: {objective} was measured by {then!r} in the study and by {now!r} in full training; "
            "such figures cannot be compared. Name the extractor in the space and run the study again."
        )


@dataclass
class Workers:
    """Processes that train one point each, so many at a time.

    Args:
        views: The study.
        images: Of each full training.
        count: At a time.
        cpu: Threads of each.
        devices: GPUs that they share; 0 trains on the CPU.
        on_line: Called with a trial's number and a line that its training prints, by several threads.
    """

    views: StudyViews
    images: int
    count: int
    cpu: int
    devices: int
    on_line: Callable[[int, str], None]
    _running: set[subprocess.Popen[str]] = field(default_factory=set)

    def train(self, trials: Sequence[TrialView]) -> Iterator[Reached]:
        """Each point as soon as it is trained; those of an earlier run at once.

        Raises:
            UserError: when one cannot be exported or trained, or compared with its trial after that.
        """
        for trial in trials:
            self._export(trial)
        waiting = []
        for trial in trials:
            reached = self._kept(trial)
            if reached is None:
                waiting.append(trial)
            else:
                yield reached
        if waiting:
            self._check_measured_by(waiting)
        slots: SimpleQueue[int] = SimpleQueue()
        for slot in range(self.count):
            slots.put(slot)
        with ThreadPoolExecutor(self.count) as pool, self._ended(pool):
            for future in as_completed([pool.submit(self._train, trial, slots) for trial in waiting]):
                yield future.result()

    def folder(self, trial: TrialView) -> Path:
        """Where a point is exported to."""
        return self.views.folder / FOLDER / f"trial-{trial.number:04d}"

    def _export(self, trial: TrialView) -> None:
        from search.exported import export

        folder = self.folder(trial)
        if not (folder / "recipe.yaml").is_file():
            # Left by an export that was cut short.
            shutil.rmtree(folder, ignore_errors=True)
            export(self.views, trial, folder)

    def _check_measured_by(self, trials: Sequence[TrialView]) -> None:
        """Before hours of training: their figures could not be compared with the trials'."""
        from search.preparation import load_images, planned_teacher
        from search.space import Space
        from trainers.cache import Cache

        space, name = Space.read(self.views.space_file), self.views.learned.name
        if name not in space.named_objectives:
            return
        now = space.named_objectives[name].measured_by(load_images(space, planned_teacher(space)), Cache.default())
        for trial in trials:
            if now is not None:
                check_measured_by(trial, name, now)

    def _kept(self, trial: TrialView) -> Reached | None:
        path = self._out(trial) / "measurements.json"
        record = json_inside(path.parent, path.name)
        return Reached(trial=trial, folder=path.parent, record=record) if record else None

    def _out(self, trial: TrialView) -> Path:
        return self.folder(trial) / f"{self.images}-images"

    def _train(self, trial: TrialView, slots: SimpleQueue[int]) -> Reached:
        slot = slots.get()
        folder = self.folder(trial)
        words = ["-m", "trainers.full", folder, "--images", self.images, "--out", self._out(trial), "--no-exchange"]
        environment = {**os.environ, "OMP_NUM_THREADS": str(self.cpu)}
        if self.devices:
            environment["LOCAL_RANK"] = str(slot % self.devices)
        last = ""
        with subprocess.Popen(  # noqa: S603 (this program again, and no shell)
            [sys.executable, *map(str, words)],
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            env=environment,
        ) as process:
            self._running.add(process)
            assert process.stdout is not None
            for line in process.stdout:
                last = line.strip() or last
                self.on_line(trial.number, line.rstrip())
        self._running.discard(process)
        slots.put(slot)
        reached = self._kept(trial)
        if process.returncode or reached is None:
            raise UserError(f"trial {trial.number} could not be trained in full: {last}")
        return reached

    @contextmanager
    def _ended(self, pool: ThreadPoolExecutor) -> Iterator[None]:
        """When an error or an interruption leaves it, no process trains on; each goes on from its checkpoint later."""
        try:
            yield
        except BaseException:
            pool.shutdown(wait=False, cancel_futures=True)
            for process in list(self._running):
                process.terminate()
            raise
