"""What a trial may take at most, and who ends it when it takes more: a thread beside the one that trains.

The main thread is interrupted by a signal, which also ends a call that waits. Where it does not react, hung in the code
of a library, a process that is no driver is ended, once it has said why; where that code even keeps all other threads
of Python from running, it is ended without a word. A driver that trains by itself is never ended: its limits bind what
comes back to Python.
"""

from __future__ import annotations

import faulthandler
import os
import signal
import sys
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from types import FrameType, TracebackType
from typing import Annotated

from pydantic import ConfigDict, Field

from search.ends import TrialEndError

LOOK_SECONDS = 0.2
GRACE_SECONDS = 30.0
"""After which a main thread that was interrupted counts as hung."""

_SIGNAL = signal.SIGUSR1
_STATUS = Path("/proc/self/statm")
Most = Annotated[float, Field(gt=0, allow_inf_nan=False)]


@dataclass(frozen=True, kw_only=True)
class TrialLimits:
    """What one trial may take.

    Args:
        minutes: Of work on it, all its rungs together; measuring it again has as many. None: as many as it needs.
        memory_gb: Of the process that trains it, in 10^9 bytes of main memory, libraries and teacher included. None: as
            much as there is.
    """

    __pydantic_config__ = ConfigDict(extra="forbid")

    minutes: Most | None = None
    memory_gb: Most | None = None


class Watchdog:
    """Ends what is done within it when that takes too much.

    Args:
        seconds: That are left; None for no end.
        memory_gb: That the process may have; None for as much as there is.
        before_exit: Told what ended the trial before this process is ended, hung. None: it must outlive the trial.
    """

    def __init__(
        self,
        *,
        seconds: float | None,
        memory_gb: float | None,
        before_exit: Callable[[TrialEndError], object] | None = None,
    ) -> None:
        self._seconds = seconds
        self._memory_gb = memory_gb
        self._before_exit = before_exit
        self._end: TrialEndError | None = None
        self._is_over = threading.Event()

    def __enter__(self) -> Watchdog:
        """Only the main thread can be interrupted; elsewhere, limits end nothing."""
        self._is_over.clear()
        is_main = threading.current_thread() is threading.main_thread()
        self._is_on = is_main and not (self._seconds is None and self._memory_gb is None)
        if self._is_on:
            self._begun = time.monotonic()
            # Left in place: a signal that comes late must find a handler, or it would end this process.
            signal.signal(_SIGNAL, self._raise)
            if self._before_exit is not None and self._seconds is not None:
                # A thread of C, which no code of a library can keep from running.
                left = max(self._seconds, 0.0) + 2 * GRACE_SECONDS + LOOK_SECONDS
                faulthandler.dump_traceback_later(left, exit=True, file=sys.__stderr__ or 2)
            threading.Thread(target=self._watch, name="watchdog", daemon=True).start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._is_over.set()
        if self._is_on and self._before_exit is not None:
            faulthandler.cancel_dump_traceback_later()
        if self._is_on and self._seconds is not None:
            self._seconds -= time.monotonic() - self._begun

    def _watch(self) -> None:
        while not self._is_over.wait(LOOK_SECONDS):
            self._end = self._exceeded()
            if self._end is not None:
                break
        main = threading.main_thread().ident
        while not self._is_over.is_set():
            signal.pthread_kill(main or 0, _SIGNAL)
            if not self._is_over.wait(GRACE_SECONDS) and self._before_exit is not None:
                assert self._end is not None
                try:
                    self._before_exit(self._end)
                finally:
                    os._exit(1)

    def _exceeded(self) -> TrialEndError | None:
        if self._seconds is not None and time.monotonic() - self._begun > self._seconds:
            return too_long()
        memory_gb = _memory_gb()
        if self._memory_gb is not None and memory_gb > self._memory_gb:
            text = (
                f"its process has {memory_gb:.2f} GB of memory, limits_per_trial.memory_gb allows {self._memory_gb:g}"
            )
            return TrialEndError("out_of_memory", text)
        return None

    def _raise(self, number: int, frame: FrameType | None) -> None:
        if self._end is not None and not self._is_over.is_set():
            # A new one each time: the handler outlives the trial, and must not hold all that the trial had.
            raise TrialEndError(self._end.kind, self._end.reason)


def too_long() -> TrialEndError:
    """The end of a trial that took more time than it may."""
    return TrialEndError("timeout", "it took longer than limits_per_trial.minutes allows")


def _memory_gb() -> float:
    """Main memory that this process has; 0 where the system does not tell."""
    try:
        return int(_STATUS.read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE") / 1e9
    except OSError:
        return 0.0
