"""A watcher that tells a tracker, too, of what ends."""

from __future__ import annotations

from typing import TYPE_CHECKING

from search.trackers.tracker import Log, Told

if TYPE_CHECKING:
    from search.drive import Watcher
    from search.job import Job
    from search.record import Record
    from search.study import Study
    from trainers.run import Progress


class TrackedWatcher:
    """Tells ``watcher`` everything, and ``log`` of each trial that ended, was measured again or stopped for good."""

    def __init__(self, watcher: Watcher, log: Log, study: Study) -> None:
        self._watcher = watcher
        self._log = log
        self._study = study

    def started(self, job: Job) -> None:
        self._watcher.started(job)

    def progressed(self, number: int, progress: Progress) -> None:
        self._watcher.progressed(number, progress)

    def reported(self, job: Job, record: Record) -> None:
        self._watcher.reported(job, record)

    def ended(self, record: Record) -> None:
        self._watcher.ended(record)
        self._log.tell(self._told(record))

    def confirmed(self, record: Record) -> None:
        self._watcher.confirmed(record)
        self._log.tell(self._told(record))

    def finished(self) -> None:
        """The study is: what was stopped early has ended, too."""
        for record in self._study.records():
            if record.state == "stopped":
                self._log.tell(self._told(record))

    def _told(self, record: Record) -> Told:
        strip = self._study.folder / record.path / "samples.webp"
        again = {f"confirmed/{name}": measured["value"] for name, measured in record.confirmed.items()}
        return Told(
            study=self._study.folder.name,
            trial=record.number,
            state=record.state,
            knobs=record.candidate,
            values={**record.values, **again},
            strip=strip if record.path and strip.is_file() else None,
        )
