"""The view while a study runs: a live table on a terminal, plain lines elsewhere."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from search.report.candidate import short
from search.report.number import duration

if TYPE_CHECKING:
    from rich.console import Console, RenderableType

    from search.record import Record
    from search.study import Asked, Study
    from trainers.run import Progress

_SECONDS_BETWEEN_PAGES = 30.0


class Tally:
    """Counts, running trials and time left; told by whoever drives the trials.

    Args:
        study: Its views are written after each trial, its report now and then.
        workers: Trials at a time.
        expected_seconds: Of one trial, before any has ended.
    """

    def __init__(self, study: Study, *, workers: int, expected_seconds: float) -> None:
        self.study = study
        self.workers = max(1, workers)
        self.expected_seconds = expected_seconds
        self.running: dict[int, tuple[dict[str, Any], float, int]] = {}
        self.ended_now: list[Record] = []
        self._look()
        self._last_page = time.monotonic()

    def start(self, asked: Asked) -> None:
        self.running[asked.number] = (asked.candidate, time.monotonic(), 0)
        self._open_trials = self.study.left()

    def reach(self, number: int, images: int) -> None:
        if number in self.running:
            candidate, begun, _ = self.running[number]
            self.running[number] = (candidate, begun, images)

    def end(self, record: Record) -> None:
        self.running.pop(record.number, None)
        self.ended_now.append(record)
        self._look()
        if time.monotonic() - self._last_page > _SECONDS_BETWEEN_PAGES:
            from search.report.page import write_report

            write_report(self.views)
            self._last_page = time.monotonic()

    def _look(self) -> None:
        """Read the database once; the picture, drawn twice a second by another thread, never does."""
        self.views = self.study.write_views()
        self.counts = Counter(trial.state for trial in self.views.trials)
        self._open_trials = self.study.left()

    @property
    def seconds_left(self) -> float:
        """From the mean trial so far."""
        spent = [record.seconds for record in self.ended_now if record.state == "complete"]
        each = sum(spent) / len(spent) if spent else self.expected_seconds
        begun = [time.monotonic() - since for _, since, _ in self.running.values()]
        return (self._open_trials * each + sum(max(0.0, each - passed) for passed in begun)) / self.workers

    def line(self) -> str:
        """Counts, front and time left in one line."""
        stopped, failed = self.counts["stopped"], self.counts["failed"]
        points = self.views.front.points
        volume = self.views.front.hypervolume or 0.0
        return (
            f"{len(self.running)} running, {self.counts['complete']} done, {stopped} stopped, {failed} failed "
            f"of {self.study.space.budget.trials}; {duration(self.seconds_left)} left; "
            f"front: {len(points)} points, hypervolume {volume:.3f}"
        )


class PlainWatcher:
    """One line for each event: for logs and pipes."""

    def __init__(self, tally: Tally, console: Console) -> None:
        self.tally = tally
        self._console = console

    def __enter__(self) -> PlainWatcher:
        return self

    def __exit__(self, *error: object) -> None:
        """Nothing to put back."""

    def started(self, asked: Asked) -> None:
        self.tally.start(asked)
        self._say(f"trial {asked.number} starts: {short(asked.candidate)}")

    def progressed(self, number: int, progress: Progress) -> None:
        self.tally.reach(number, progress.images)

    def reported(self, number: int, result: Mapping[str, Any]) -> None:
        self.tally.reach(number, result["images"])
        if not result["is_last"]:
            self._say(f"trial {number}: {result['images']:,} images, {measured(result)}")

    def ended(self, record: Record) -> None:
        self.tally.end(record)
        said = outcome(record)
        self._say(f"trial {record.number} {said} [{self.tally.line()}]")

    def _say(self, text: str) -> None:
        self._console.print(text, markup=False, highlight=False, soft_wrap=True)


class LiveWatcher:
    """A table that is drawn anew a few times a second."""

    def __init__(self, tally: Tally, console: Console) -> None:
        from rich.live import Live

        self.tally = tally
        self._live = Live(console=console, get_renderable=self._picture, refresh_per_second=2, transient=True)

    def __enter__(self) -> LiveWatcher:
        self._live.__enter__()
        return self

    def __exit__(self, *error: Any) -> None:
        self._live.__exit__(*error)

    def started(self, asked: Asked) -> None:
        self.tally.start(asked)

    def progressed(self, number: int, progress: Progress) -> None:
        self.tally.reach(number, progress.images)

    def reported(self, number: int, result: Mapping[str, Any]) -> None:
        self.tally.reach(number, result["images"])

    def ended(self, record: Record) -> None:
        self.tally.end(record)
        if record.state == "failed":
            self._live.console.print(f"trial {record.number} {outcome(record)}", markup=False, highlight=False)

    def _picture(self) -> RenderableType:
        from rich.console import Group
        from rich.progress_bar import ProgressBar
        from rich.table import Table
        from rich.text import Text

        from search.report.table import front_table

        tally = self.tally
        budget = tally.study.space.budget
        done = tally.counts["complete"] + tally.counts["failed"] + tally.counts["stopped"]
        running = Table(box=None, pad_edge=False, show_header=False)
        for column in range(4):
            running.add_column(no_wrap=True, overflow="ellipsis" if column == 3 else "fold")
        now = time.monotonic()
        for number, (candidate, begun, images) in sorted(dict(tally.running).items()):
            share = Text(f"{images / budget.images:4.0%}", style="cyan")
            running.add_row(f"trial {number}", share, f"{now - begun:3.0f} s", Text(short(candidate)))
        parts: list[RenderableType] = [
            Text(tally.line()),
            ProgressBar(total=budget.trials, completed=done, width=60),
            # A bar does not end its line.
            Text(""),
            running,
        ]
        if tally.views.front.points:
            parts.append(front_table(tally.views))
        return Group(*parts)


def outcome(record: Record) -> str:
    """What became of a trial, in a few words."""
    if record.state != "complete":
        return f"{record.state}: {record.reason}"
    values = ", ".join(f"{name} {value:.4g}" for name, value in record.values.items())
    return f"done in {record.seconds:.0f} s: {values}"


def measured(result: Mapping[str, Any]) -> str:
    """The measurements of a rung in a few words."""
    return ", ".join(f"{name} {value['value']:.4g}" for name, value in result["measurements"].items()) or "not measured"
