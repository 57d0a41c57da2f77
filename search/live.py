"""The view while a study runs: a live table on a terminal, plain lines elsewhere."""

from __future__ import annotations

import time
from collections import Counter, deque
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from search.ends import failures
from search.report.candidate import short
from search.report.number import duration, with_error

if TYPE_CHECKING:
    from rich.console import Console, RenderableType

    from search.budget import Budget
    from search.job import Job
    from search.record import Record
    from search.study import Study
    from trainers.run import Progress

_SECONDS_BETWEEN_PAGES = 30.0
_MANY_TRIALS = 1_000
_SHARE_OF_VIEWS = 20
"""Views of more trials than that are written so seldom that they take one part in that many of the time."""
_LATEST = 4
"""Events that stay in sight on a terminal."""


@dataclass
class _Running:
    """A job that runs, since when, and how far its trial is."""

    job: Job
    since: float
    images: int


class Tally:
    """Counts, what runs and time left; told by whoever drives the jobs.

    Args:
        study: Its views are written after each trial that ends or comes to wait, as long as that is quick; its report
            now and then.
        workers: Jobs at a time; fewer may find a place.
        expected_seconds: Of a full training, before any part of one has ended.
    """

    def __init__(self, study: Study, *, workers: int, expected_seconds: float) -> None:
        self.study = study
        self.workers = max(1, workers)
        self.expected_seconds = expected_seconds
        self.running: dict[int, _Running] = {}
        self.ended_now: list[Record] = []
        self._trained_seconds = self._trained_images = 0.0
        self._most_running = 0
        self._is_confirming = False
        self._last_page = time.monotonic()
        self._next_views = 0.0
        self._look()

    def start(self, job: Job) -> None:
        self.running[job.number] = _Running(job, time.monotonic(), self._images_before(job))
        self._most_running = max(self._most_running, len(self.running))
        self._is_confirming = job.kind == "confirm"
        self._left = self.study.left()

    def reach(self, number: int, images: int) -> None:
        if number in self.running:
            self.running[number].images = images

    def rung(self, job: Job, record: Record) -> str:
        """A trial reached a rung; gives back what that means in a few words."""
        goes_on = record.images < self.study.space.budget.rungs[job.last_rung]
        if goes_on:
            self.reach(record.number, record.images)
        else:
            self._leave(record)
            self._look()
        values = ", ".join(f"{name} {value:.4g}" for name, value in record.rungs[-1]["values"].items())
        return f"reached {record.images:,} images: {values or 'not measured'}, {'goes on' if goes_on else 'waits'}"

    def end(self, record: Record) -> None:
        self._leave(record)
        self.ended_now.append(record)
        self._look()

    def confirm(self, record: Record) -> None:
        self.running.pop(record.number, None)
        self._look()

    def _leave(self, record: Record) -> None:
        left = self.running.pop(record.number, None)
        if left is not None and record.state != "failed":
            self._trained_seconds += time.monotonic() - left.since
            self._trained_images += record.images - self._images_before(left.job)

    def _images_before(self, job: Job) -> int:
        return self.study.space.budget.rungs[job.first_rung - 1] if job.first_rung else 0

    def _look(self) -> None:
        """Read the database once; the picture, drawn twice a second by another thread, never does."""
        self._left = self.study.left()
        begun = time.monotonic()
        if begun < self._next_views:
            return
        self.views = self.study.write_views()
        self.counts = Counter(trial.state for trial in self.views.trials)
        took = time.monotonic() - begun
        # They take seconds to write: after each trial that would be most of the driver's work.
        self._next_views = begun + took * (_SHARE_OF_VIEWS if len(self.views.trials) > _MANY_TRIALS else 0)
        if time.monotonic() - self._last_page > _SECONDS_BETWEEN_PAGES:
            from search.report.page import write_report

            write_report(self.views)
            self._last_page = time.monotonic()

    @property
    def spent(self) -> float:
        """Full trainings' worth that was given out."""
        return self.study.space.budget.trials - self._left

    @property
    def seconds_left(self) -> float:
        """From the speed of training so far; measuring the front again is not counted before it begins."""
        budget = self.study.space.budget
        each = self.expected_seconds
        if self._trained_images:
            each = self._trained_seconds * budget.images / self._trained_images
        share = self._left + sum(
            (budget.rungs[running.job.last_rung] - running.images) / budget.images
            for running in self.running.values()
            if running.job.kind == "train"
        )
        # Thirds of a budget do not add up to exactly all of it.
        return max(share * each / (self._most_running or self.workers), 0.0)

    def line(self) -> str:
        """Counts, front and time left in one line."""
        points, volume = self.views.front.points, self.views.front.hypervolume or 0.0
        doing = "measuring the front again" if self._is_confirming else f"{duration(self.seconds_left)} left"
        return (
            f"{len(self.running)} running, {self.counts['complete']} complete, {self.counts['stopped']} waiting, "
            f"{failures(self.views.trials)}; {self.spent:.3g} of {self.study.space.budget.trials} full trainings; "
            f"{doing}; front: {len(points)} points, hypervolume {volume:.3f}"
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

    def started(self, job: Job) -> None:
        self.tally.start(job)
        self._say(f"trial {job.number} {beginning(job, self.tally.study.space.budget)}")

    def progressed(self, number: int, progress: Progress) -> None:
        self.tally.reach(number, progress.images)

    def reported(self, job: Job, record: Record) -> None:
        said = f"trial {job.number} {self.tally.rung(job, record)}"
        self._say(said if job.number in self.tally.running else f"{said} [{self.tally.line()}]")

    def ended(self, record: Record) -> None:
        self.tally.end(record)
        self._say(f"trial {record.number} {outcome(record)} [{self.tally.line()}]")

    def confirmed(self, record: Record) -> None:
        self.tally.confirm(record)
        self._say(f"trial {record.number} {second(record)} [{self.tally.line()}]")

    def _say(self, text: str) -> None:
        self._console.print(text, markup=False, highlight=False, soft_wrap=True)


class LiveWatcher:
    """A table that is drawn anew a few times a second."""

    def __init__(self, tally: Tally, console: Console) -> None:
        from rich.live import Live

        self.tally = tally
        self._latest: deque[str] = deque(maxlen=_LATEST)
        self._live = Live(console=console, get_renderable=self._picture, refresh_per_second=2, transient=True)

    def __enter__(self) -> LiveWatcher:
        self._live.__enter__()
        return self

    def __exit__(self, *error: Any) -> None:
        self._live.__exit__(*error)

    def started(self, job: Job) -> None:
        self.tally.start(job)

    def progressed(self, number: int, progress: Progress) -> None:
        self.tally.reach(number, progress.images)

    def reported(self, job: Job, record: Record) -> None:
        self._latest.append(f"trial {job.number} {self.tally.rung(job, record)}")

    def ended(self, record: Record) -> None:
        self.tally.end(record)
        self._latest.append(f"trial {record.number} {outcome(record)}")
        if record.state == "failed":
            self._say(f"trial {record.number} {outcome(record)}")

    def confirmed(self, record: Record) -> None:
        self.tally.confirm(record)
        self._latest.append(f"trial {record.number} {second(record)}")
        if not record.confirmed:
            self._say(f"trial {record.number} {second(record)}")

    def _say(self, text: str) -> None:
        self._live.console.print(text, markup=False, highlight=False)

    def _picture(self) -> RenderableType:
        from rich.console import Group
        from rich.progress_bar import ProgressBar
        from rich.table import Table
        from rich.text import Text

        from search.report.table import front_table

        tally = self.tally
        budget = tally.study.space.budget
        running = Table(box=None, pad_edge=False, show_header=False)
        for column in range(4):
            running.add_column(no_wrap=True, overflow="ellipsis" if column == 3 else "fold")
        now = time.monotonic()
        for number, each in sorted(dict(tally.running).items()):
            share = "again" if each.job.kind == "confirm" else f"{each.images / budget.images:4.0%}"
            passed = f"{now - each.since:3.0f} s"
            running.add_row(f"trial {number}", Text(share, style="cyan"), passed, Text(short(each.job.candidate)))
        parts: list[RenderableType] = [
            Text(tally.line()),
            ProgressBar(total=budget.trials, completed=tally.spent, width=60),
            # A bar does not end its line.
            Text(""),
            running,
            *(Text(line, style="dim", no_wrap=True, overflow="ellipsis") for line in list(self._latest)),
        ]
        if tally.views.front.points:
            parts.append(front_table(tally.views))
        return Group(*parts)


def beginning(job: Job, budget: Budget) -> str:
    """What a job begins, in a few words."""
    if job.kind == "confirm":
        return "is measured again"
    if job.is_new:
        return f"starts: {short(job.candidate)}"
    return f"goes on to {budget.rungs[job.last_rung]:,} images"


def outcome(record: Record) -> str:
    """What became of a trial, in a few words."""
    if record.state != "complete":
        kind = f" ({record.kind})" if record.kind else ""
        return f"{record.state}{kind}: {record.reason}"
    values = ", ".join(f"{name} {value:.4g}" for name, value in record.values.items())
    return f"done in {record.seconds:.0f} s: {values}"


def second(record: Record) -> str:
    """What a trial measured again beside what it measured first, in a few words."""
    if not record.confirmed:
        why = record.reason or "its times are another device's (it is not on the front)"
        return f"could not be measured again: {why}; see {record.path}/log.txt"
    values = ", ".join(
        f"{name} {with_error(again['value'], again['stderr'])} (first {record.values[name]:.4g})"
        for name, again in record.confirmed.items()
    )
    return f"measured again: {values}"
