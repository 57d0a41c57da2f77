"""How far the teacher's training is, on a terminal and elsewhere."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rich.console import Console

    from trainers.run import Progress

_SECONDS_BETWEEN_LINES = 10.0


class TeacherProgress:
    """How far the teacher's training is: a bar on a terminal, a line every ten seconds elsewhere."""

    def __init__(self, console: Console, images: int) -> None:
        from rich.progress import Progress as Bar
        from rich.progress import TimeRemainingColumn

        self._console = console
        self._bar = Bar(*Bar.get_default_columns()[:-1], TimeRemainingColumn(), console=console, transient=True)
        self._task = self._bar.add_task("training the teacher", total=images, visible=False)
        self._begun = self._last = 0.0
        self._first = 0

    def __enter__(self) -> TeacherProgress:
        if self._console.is_terminal:
            self._bar.start()
        return self

    def __exit__(self, *error: object) -> None:
        if self._console.is_terminal:
            self._bar.stop()

    def __call__(self, progress: Progress) -> None:
        from search.report.number import duration

        now = time.monotonic()
        if not self._begun:
            self._begun = self._last = now
            self._first = progress.images
        self._bar.update(self._task, completed=progress.images, visible=True)
        if not self._console.is_terminal and now - self._last > _SECONDS_BETWEEN_LINES:
            self._last = now
            # One that goes on has seen images that took no time here.
            each = (now - self._begun) / max(1, progress.images - self._first)
            left = each * (progress.images_in_all - progress.images)
            self._console.print(
                f"training the teacher: {progress.images:,} of {progress.images_in_all:,} images, "
                f"loss {progress.loss:.3f}, {duration(left)} left"
            )
