"""What a search needs before its first trial, and its trials: on Ray, or one after the other in this process."""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from rich.console import Console

    from search.drive import Watcher
    from search.evaluate import Workshop
    from search.live import LiveWatcher, PlainWatcher
    from search.space import Space
    from search.study import Study
    from trainers.data.dataset import Images


@dataclass(frozen=True, kw_only=True)
class Searching:
    """A space that is searched, in the study's folder.

    Args:
        workers: Jobs at a time; 0 is this process alone.
        address: Of a running Ray cluster; None starts Ray on this machine.
    """

    space: Space
    folder: Path
    console: Console
    workers: int
    address: str | None

    def prepared(self, images: Images) -> tuple[Workshop, dict[str, Any]]:
        """What all trials share, and what the teacher measures; the latter is kept in the folder."""
        import torch

        from search import preparation
        from search.devices import timed_by
        from search.kept_teacher import teacher_measurements
        from search.teacher_progress import TeacherProgress
        from trainers.cache import Cache
        from trainers.data.dataset import DATA
        from trainers.provenance import device_name

        if images.name != DATA.name_of(self.space.data):
            self._say(f"data: {images.name}")
        cache = Cache.default()
        teacher_progress = TeacherProgress(self.console, self.space.teacher.images)
        if self.space.teacher.is_cached(images, cache):
            self._say("teacher: from the cache" if self.space.teacher.network else "teacher: loaded")
        else:
            self._say(f"teacher: training on {self.space.teacher.images:,} images, once")
        with teacher_progress:
            shop = preparation.build_workshop(
                self.space,
                images,
                cache=cache,
                device=preparation.pick_device(self.space),
                on_progress=teacher_progress,
            )
        torch.set_num_threads(self.space.resources.cpu)
        teacher = teacher_measurements(shop, self.folder)
        values = ", ".join(f"{name} {value:.4g}" for name, value in teacher["values"].items())
        self._say(f"teacher measures {values}")
        here = device_name(shop.device)
        for name, device in timed_by(teacher, self.space.named_objectives).items():
            if device != here:
                self._say(
                    f"warning: {name} of this study was measured on {device}, this is {here}. Times of different "
                    "devices are not compared: trials that are measured here will not be on the front. "
                    "Go on where it began, or give this run another --name."
                )
        return shop, teacher

    def run(self, study: Study, shop: Workshop, view: LiveWatcher | PlainWatcher) -> None:
        """Do the study's jobs until it is finished, and show them in ``view``."""
        import torch

        from search.drive import search_here

        if self.workers == 0:
            with view, self._tracked(study, view) as watcher:
                search_here(study, shop, watcher)
            return
        from search import tune

        if self.address:
            self._say(f"connecting to the Ray cluster at {self.address}")
        else:
            self._say(f"starting Ray for {self.workers} workers")
        resources = self.space.resources
        # More workers than the devices have room for wait; Ray would number devices for them that are not there.
        gpus = min(math.ceil(resources.gpu * self.workers), torch.cuda.device_count()) if resources.gpu else 0
        tune.start(address=self.address, cpus=self.workers * resources.cpu, gpus=gpus)
        try:
            with view, self._tracked(study, view) as watcher:
                tune.search_on_ray(study, shop, watcher, workers=self.workers)
        finally:
            tune.stop()

    @contextmanager
    def _tracked(self, study: Study, watcher: Watcher) -> Iterator[Watcher]:
        """The watcher, joined by the space's tracker where it has one."""
        from search.trackers._guarded import guarded
        from search.trackers._watcher import TrackedWatcher

        if self.space.tracker is None:
            yield watcher
            return
        with guarded(self.space.tracker, self.folder, self._say) as log:
            tracked = TrackedWatcher(watcher, log, study)
            yield tracked
            if study.is_finished():
                tracked.finished()

    def _say(self, text: str) -> None:
        self.console.print(text, markup=False, highlight=False, soft_wrap=True)
