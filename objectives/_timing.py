"""Timing a call: repeated, bounded in time, alone on this machine as far as Slimfront can see to it."""

from __future__ import annotations

import fcntl
import logging
import statistics
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import torch

logger = logging.getLogger(__name__)


def repeated_seconds(
    call: Callable[[], object], *, device: torch.device, least: int, most: int, within: float
) -> list[float]:
    """Seconds of each call: ``least`` calls at least, then more until ``within`` seconds or ``most`` calls are over.

    On one CPU thread they are seconds in which the thread had a core: waiting for a core that a neighbour's trial uses
    says nothing about the model. Elsewhere they are seconds on the clock.
    """
    clock = time.thread_time if device.type == "cpu" and torch.get_num_threads() == 1 else time.perf_counter
    taken: list[float] = []
    until = time.perf_counter() + within
    while len(taken) < least or (time.perf_counter() < until and len(taken) < most):
        _synchronise(device)
        begun = clock()
        call()
        _synchronise(device)
        taken.append(clock() - begun)
    return taken


def median_stderr(values: list[float]) -> float:
    """Standard error of the median of nearly normal values, from their median absolute deviation.

    >>> round(median_stderr([1.0, 2.0, 3.0, 4.0, 100.0]), 3)
    0.831
    """
    middle = statistics.median(values)
    deviation = 1.4826 * statistics.median(abs(value - middle) for value in values)
    return 1.2533 * deviation / len(values) ** 0.5


@contextmanager
def alone(folder: Path, *, patience: float = 20.0) -> Iterator[None]:
    """Hold a lock in ``folder`` so that no two measurements overlap; after ``patience`` seconds go on without it."""
    folder.mkdir(parents=True, exist_ok=True)
    lock = folder / "latency.lock"
    with lock.open("a") as opened:
        _wait_for(opened.fileno(), lock, patience)
        yield
        # Closing the file gives the lock back, as does the death of the process.


def _wait_for(descriptor: int, lock: Path, patience: float) -> None:
    until = time.monotonic() + patience
    while True:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return
        except BlockingIOError:
            if time.monotonic() > until:
                logger.warning("%s was held for %g s: latency is measured beside another measurement", lock, patience)
                return
            time.sleep(0.02)


def _synchronise(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)
