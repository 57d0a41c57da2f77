"""A tracker that fails is no reason to end a search, whose study keeps every trial itself."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from search.ends import line_of
from search.trackers.tracker import TRACKERS, Log, Told, Tracker
from trainers.visible import visible

_MOST_FAILURES = 3
"""In a row; a server that is away may keep the search waiting for a minute each time."""


@contextmanager
def guarded(tracker: Tracker, folder: Path, say: Callable[[str], None]) -> Iterator[Log]:
    """The tracker's log of the study in ``folder``; the first failure is said, and none is raised."""
    log = _GuardedLog(TRACKERS.name_of(tracker), say)
    opened = ExitStack()
    log.attempt(lambda: log.connect(opened.enter_context(tracker.log(folder.name, folder))))
    try:
        yield log
    finally:
        log.attempt(opened.close)


class _GuardedLog:
    def __init__(self, tracker: str, say: Callable[[str], None]) -> None:
        self._tracker = tracker
        self._say = say
        self._log: Log | None = None
        self._in_a_row = 0
        self._is_said = False

    def connect(self, log: Log) -> None:
        self._log = log

    def tell(self, told: Told) -> None:
        log = self._log
        if log is not None and self._in_a_row < _MOST_FAILURES:
            self.attempt(lambda: log.tell(told))

    def attempt(self, action: Callable[[], None]) -> None:
        try:
            action()
        except Exception as error:
            self._in_a_row += 1
            if not self._is_said:
                self._is_said = True
                self._say(
                    f"warning: tracker: {self._tracker} failed, and may lack trials, which the study keeps all the "
                    f"same. {visible(line_of(error))}"
                )
        else:
            self._in_a_row = 0
