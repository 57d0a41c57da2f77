"""A trial that takes too much is ended for real: asleep, hung in the code of a library, or with too much memory."""

from __future__ import annotations

import json
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from search import watchdog as watchdog_file
from search.ends import TrialEndError
from search.watchdog import Watchdog, leave_marker, take_marker


@pytest.fixture(autouse=True)
def hasty(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(watchdog_file, "LOOK_SECONDS", 0.01)


def watchdog(folder: Path, *, seconds: float | None = None, memory_gb: float | None = None) -> Watchdog:
    return Watchdog(seconds=seconds, memory_gb=memory_gb, folder=folder, is_driver=True)


def test_what_sleeps_for_ever_is_ended(tmp_path: Path) -> None:
    expected = pytest.raises(TrialEndError, match=r"longer than limits_per_trial\.minutes")
    with expected as ended, watchdog(tmp_path, seconds=0.1):
        time.sleep(3_600)
    assert ended.value.kind == "timeout"


def test_no_handler_of_a_trial_s_own_mistakes_stops_it(tmp_path: Path) -> None:
    with pytest.raises(TrialEndError), watchdog(tmp_path, seconds=0.1):
        while True:
            try:
                time.sleep(3_600)
            except Exception:
                continue


def test_too_much_memory_ends_it(tmp_path: Path) -> None:
    held = []
    expected = pytest.raises(TrialEndError, match=r"memory, limits_per_trial\.memory_gb allows ")
    with expected as ended, watchdog(tmp_path, memory_gb=watchdog_file._memory_gb() + 0.1):
        while len(held) < 400:
            held.append(b"x" * 10**6)
            time.sleep(0.002)
    assert ended.value.kind == "out_of_memory" and 100 < len(held) < 400


def test_time_adds_up_over_rungs_and_nothing_is_ended_between_them(tmp_path: Path) -> None:
    guard = watchdog(tmp_path, seconds=0.3)
    with guard:
        time.sleep(0.2)
    time.sleep(0.4)
    with pytest.raises(TrialEndError), guard:
        time.sleep(0.2)
        pytest.fail("it had 0.1 s left")


def test_without_limits_and_outside_of_the_main_thread_nothing_is_watched(tmp_path: Path) -> None:
    before = threading.active_count()
    with watchdog(tmp_path):
        assert threading.active_count() == before
    ended: list[bool] = []

    def work() -> None:
        with watchdog(tmp_path, seconds=0.01):
            time.sleep(0.05)
            ended.append(True)

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert ended == [True]


def test_a_worker_hung_in_a_library_is_ended_and_says_why(tmp_path: Path, repository: Path) -> None:
    # Waiting for a lock that it has already, the main thread comes back to no signal handler of Python's.
    hung = """
import ctypes, sys
from pathlib import Path
from search import watchdog

watchdog.LOOK_SECONDS, watchdog.GRACE_SECONDS = 0.01, 0.2
libc = ctypes.CDLL(None)
mutex = ctypes.create_string_buffer(64)
libc.pthread_mutex_lock(mutex)
with watchdog.Watchdog(seconds=0.1, memory_gb=None, folder=Path(sys.argv[1]), is_driver=False):
    libc.pthread_mutex_lock(mutex)
"""
    done = subprocess.run([sys.executable, "-c", hung, str(tmp_path)], cwd=repository, timeout=60)
    assert done.returncode == 1
    left = take_marker(tmp_path)
    assert left is not None and left.kind == "timeout" and "limits_per_trial.minutes" in left.reason
    assert take_marker(tmp_path) is None


@pytest.mark.parametrize("written", ["", "[]", '{"kind": "x", "reason": "y"}', '{"kind": ["timeout"], "reason": "y"}'])
def test_a_marker_that_is_none_is_none(tmp_path: Path, written: str) -> None:
    (tmp_path / "ended.json").write_text(written)
    assert take_marker(tmp_path) is None


def test_a_marker_says_what_ended_the_trial(tmp_path: Path) -> None:
    leave_marker(tmp_path / "new", TrialEndError("out_of_memory", "why"))
    assert json.loads((tmp_path / "new" / "ended.json").read_text()) == {"kind": "out_of_memory", "reason": "why"}
