"""Ray's processes die, or what they keep: a worker, the raylet, a second node, Tune's own state."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from tests.faults.driver import database, paid_file
from tests.faults.home import NAME, SPACE, make_home
from tests.faults.ledger import acknowledged, struck
from tests.faults.result import Result, continued, judged
from tests.processes import below

_ROOT = Path(__file__).parents[3]
_SITE = _ROOT / "tests/faults/planted/site"
_PATIENCE_SECONDS = 420


class OnRay:
    """``python -m search.run`` with Ray, in a process that starts from nothing, as Ray's workers do."""

    def __init__(self, home: Path, *options: str, faults: Mapping[str, Any] | None = None) -> None:
        self.home = home
        self.log = home / f"log-{time.monotonic_ns()}.txt"
        self.begun = time.monotonic()
        planted = {"paid": {"path": str(paid_file(home))}, **(faults or {})}
        self.process = subprocess.Popen(
            [sys.executable, "-m", "search.run", "fault.yaml", "--name", NAME, *(options or ("--workers", "2"))],
            cwd=home,
            stdout=self.log.open("w"),
            stderr=subprocess.STDOUT,
            start_new_session=True,
            env=worker_environment(planted),
        )

    @property
    def said(self) -> str:
        return self.log.read_text(errors="replace")

    def wait_until(self, is_so: Callable[[], bool]) -> None:
        end = time.monotonic() + _PATIENCE_SECONDS
        while not is_so():
            if self.process.poll() is not None or time.monotonic() > end:
                self.stop()
                raise AssertionError(f"exit {self.process.returncode}: {self.said[-3000:]}")
            time.sleep(0.05)

    def wait(self) -> int:
        try:
            return self.process.wait(_PATIENCE_SECONDS)
        except subprocess.TimeoutExpired:
            said = self.said[-3000:]
            raise AssertionError(f"the driver did not end: {said}") from None
        finally:
            self.stop()

    def stop(self) -> None:
        """End it and all that it started."""
        for child in below(self.process.pid):
            _kill(child)
        if self.process.poll() is None:
            self.process.kill()
            self.process.wait()


def worker_environment(faults: Mapping[str, Any]) -> dict[str, str]:
    """Of a process in which, and in whose workers, faults are planted."""
    return {
        **os.environ,
        "PYTHONPATH": f"{_SITE}{os.pathsep}{_ROOT}",
        "OMP_NUM_THREADS": "1",
        # They give way to all else by default, and the comparison runs beside these rows.
        "RAY_worker_niceness": "0",
        "SLIMFRONT_FAULTS": json.dumps(faults),
    }


def worker_killed(place: Path, reduced: bool) -> Result:
    """SIGKILL to the process that trains, while it trains."""
    home = make_home(place)
    driver = OnRay(home, faults={"killed": {"trial": 2, "once": str(place / "struck")}})
    code = driver.wait()
    assert code == 0 and (place / "struck").exists(), f"exit {code}: {driver.said[-3000:]}"
    return judged(home, struck(home, 2), in_flight=1, outcome="the study goes on and ends")


def driver_killed_on_ray(place: Path, reduced: bool) -> Result:
    """SIGKILL to the driver alone, while Ray's workers train for it."""
    home = make_home(place)
    driver = OnRay(home, faults={"slow": {"seconds": 2.0}})
    driver.wait_until(lambda: bool(acknowledged(database(home))))
    before = acknowledged(database(home))
    orphans = below(driver.process.pid)
    driver.process.kill()
    driver.process.wait()
    again, seconds = continued(home)
    for orphan in orphans:
        _kill(orphan)
    assert again.process.exitcode == 0, again.said
    return judged(home, before, in_flight=2, outcome="goes on", seconds=[seconds])


def asked_to_end(place: Path, reduced: bool) -> Result:
    """SIGTERM to the driver while workers train: it leaves as with Ctrl-C, though Ray has a handler of its own."""
    home = make_home(place)
    driver = OnRay(home, faults={"slow": {"seconds": 2.0}})
    driver.wait_until(lambda: bool(acknowledged(database(home))))
    before = acknowledged(database(home))
    driver.process.send_signal(signal.SIGTERM)
    code = driver.wait()
    assert code == 130, f"exit {code}: {driver.said[-3000:]}"
    assert "Go on with:\n  python -m search.run fault.yaml --name fault --workers 2" in driver.said, driver.said
    again, seconds = continued(home)
    assert again.process.exitcode == 0, again.said
    return judged(home, before, in_flight=2, outcome="exit 130 with the command to go on", seconds=[seconds])


def raylet_killed(place: Path, reduced: bool) -> Result:
    """SIGKILL to the raylet of the one machine, with running trials: nothing can be placed any more."""
    home = make_home(place)
    driver = OnRay(home, faults={"slow": {"seconds": 2.0}})
    driver.wait_until(lambda: bool(acknowledged(database(home))))
    before = acknowledged(database(home))
    (raylet,) = (each for each in below(driver.process.pid) if "raylet/raylet" in _command(each))
    _kill(raylet)
    code = driver.wait()
    said = driver.said
    assert code == 4 and "raylet on this machine" in said, f"exit {code}: {said[-3000:]}"
    assert "Traceback" not in said and "go on with:\n  python -m search.run fault.yaml --name fault" in said, said[
        -3000:
    ]
    again, seconds = continued(home)
    assert again.process.exitcode == 0, again.said
    return judged(home, before, in_flight=2, outcome="exit 4: why, and how to go on", seconds=[seconds])


def state_deleted(place: Path, reduced: bool) -> Result:
    """All that Tune keeps of itself is deleted under running trials."""
    home = make_home(place)
    # Short: Ray puts sockets there.
    scratch = Path(tempfile.mkdtemp(prefix="sf-"))
    os.environ["TMPDIR"] = str(scratch)
    try:
        driver = OnRay(home, faults={"slow": {"seconds": 1.0}})
    finally:
        del os.environ["TMPDIR"]
    driver.wait_until(lambda: bool(acknowledged(database(home))))
    before = acknowledged(database(home))
    states = list(scratch.glob("slimfront-tune-*"))
    assert states, list(scratch.iterdir())
    for state in states:
        shutil.rmtree(state, ignore_errors=True)
    code = driver.wait()
    shutil.rmtree(scratch, ignore_errors=True)
    assert code == 0, f"exit {code}: {driver.said[-3000:]}"
    return judged(home, before, in_flight=0, outcome="ends, as if nothing had been")


def node_killed(place: Path, reduced: bool) -> Result:
    """Of two nodes, the one that trains is lost."""
    home = make_home(place, SPACE)
    with cluster({"paid": {"path": str(paid_file(home))}, "slow": {"seconds": 3.0}}) as two:
        driver = OnRay(home, "--address", two.address, "--workers", "2", faults={"slow": {"seconds": 3.0}})
        driver.wait_until(lambda: bool(acknowledged(database(home))))
        before = acknowledged(database(home))
        two.lose_the_second()
        code = driver.wait()
    assert code == 0, f"exit {code}: {driver.said[-3000:]}"
    return judged(home, before, in_flight=2, outcome="the study goes on and ends")


class Cluster:
    """A head and a second node on this machine, each with one core, in a process of its own."""

    def __init__(self, process: subprocess.Popen[str], address: str) -> None:
        self.address = address
        self._process = process

    def lose_the_second(self) -> None:
        """Kill the second node, workers included."""
        assert self._process.stdin is not None and self._process.stdout is not None
        self._process.stdin.write("kill\n")
        self._process.stdin.flush()
        assert self._process.stdout.readline().strip() == "killed"


@contextmanager
def cluster(faults: Mapping[str, Any]) -> Iterator[Cluster]:
    """Two nodes, ended with the block."""
    process = subprocess.Popen(
        [sys.executable, "-m", "tests.faults.two_nodes"],
        cwd=_ROOT,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
        start_new_session=True,
        env=worker_environment(faults),
    )
    assert process.stdout is not None
    try:
        lines = iter(process.stdout.readline, "")
        address = next(line.split()[1] for line in lines if line.startswith("address "))
        yield Cluster(process, address)
    finally:
        for child in below(process.pid):
            _kill(child)
        process.kill()
        process.wait()


def _command(pid: int) -> str:
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
    except OSError:
        return ""


def _kill(pid: int) -> None:
    try:
        os.kill(pid, signal.SIGKILL)
    except ProcessLookupError:
        return
