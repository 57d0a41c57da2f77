"""A trial that takes too much is ended for real: asleep, hung in the code of a library, or with too much memory."""

from __future__ import annotations

import mmap
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from search import watchdog as watchdog_file
from search.ends import TrialEndError
from search.watchdog import Watchdog


@pytest.fixture(autouse=True)
def hasty(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(watchdog_file, "LOOK_SECONDS", 0.01)


def watchdog(*, seconds: float | None = None, memory_gb: float | None = None) -> Watchdog:
    return Watchdog(seconds=seconds, memory_gb=memory_gb)


def test_what_sleeps_for_ever_is_ended() -> None:
    expected = pytest.raises(TrialEndError, match=r"longer than limits_per_trial\.minutes")
    with expected as ended, watchdog(seconds=0.1):
        time.sleep(3_600)
    assert ended.value.kind == "timeout"


def test_no_handler_of_a_trial_s_own_mistakes_stops_it() -> None:
    with pytest.raises(TrialEndError), watchdog(seconds=0.1):
        while True:
            try:
                time.sleep(3_600)
            except Exception:
                continue


def test_too_much_memory_ends_it() -> None:
    held: list[mmap.mmap] = []
    expected = pytest.raises(TrialEndError, match=r"memory, limits_per_trial\.memory_gb allows ")
    with expected as ended, watchdog(memory_gb=watchdog_file._memory_gb() + 0.1):
        # Pages of its own: what earlier tests have freed may still be this process's, and would be given out first.
        while len(held) < 2_000:
            held.append(mmap.mmap(-1, 10**6))
            held[-1].write(b"x" * 10**6)
            time.sleep(0.002)
    assert ended.value.kind == "out_of_memory" and 90 < len(held) < 2_000


def test_time_adds_up_over_rungs_and_nothing_is_ended_between_them() -> None:
    guard, spent = watchdog(seconds=2), 0.0
    for _ in range(2):
        begun = time.monotonic()
        with guard:
            time.sleep(0.1)
        spent += time.monotonic() - begun
    assert guard._seconds is not None and 2 - spent <= guard._seconds <= 2 - 0.2
    time.sleep(2)
    with pytest.raises(TrialEndError), guard:
        time.sleep(3_600)


def test_without_limits_and_outside_of_the_main_thread_nothing_is_watched() -> None:
    before = threading.active_count()
    with watchdog():
        assert threading.active_count() == before
    ended: list[bool] = []

    def work() -> None:
        with watchdog(seconds=0.01):
            time.sleep(0.05)
            ended.append(True)

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert ended == [True]


def test_a_worker_hung_in_a_library_is_ended_and_says_why(repository: Path) -> None:
    # Waiting for a lock that it has already, the main thread comes back to no signal handler of Python's.
    hung = """
import ctypes
from search import watchdog

watchdog.LOOK_SECONDS, watchdog.GRACE_SECONDS = 0.01, 0.2
libc = ctypes.CDLL(None)
mutex = ctypes.create_string_buffer(64)
libc.pthread_mutex_lock(mutex)
def say(end):
    print(end.kind, end, flush=True)
    raise OSError("nobody is there to be told")

with watchdog.Watchdog(seconds=0.1, memory_gb=None, before_exit=say):
    libc.pthread_mutex_lock(mutex)
"""
    done = subprocess.run([sys.executable, "-c", hung], cwd=repository, timeout=300, capture_output=True, text=True)
    assert (done.returncode, done.stdout) == (1, "timeout it took longer than limits_per_trial.minutes allows\n")


def test_a_worker_hung_in_code_that_lets_no_other_thread_run_is_ended(repository: Path) -> None:
    hung = """
from search import watchdog

watchdog.LOOK_SECONDS, watchdog.GRACE_SECONDS = 0.01, 0.2
with watchdog.Watchdog(seconds=60, memory_gb=None, before_exit=print):
    sum(range(10**6))
print("no backstop is left behind", flush=True)
with watchdog.Watchdog(seconds=0.1, memory_gb=None, before_exit=print):
    sum(range(10**12))
"""
    done = subprocess.run([sys.executable, "-c", hung], cwd=repository, timeout=300, capture_output=True, text=True)
    assert (done.returncode, done.stdout) == (1, "no backstop is left behind\n")
