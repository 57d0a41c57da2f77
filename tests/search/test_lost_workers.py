"""Trials on Ray's workers, for real: they are given out as there is room, and each that is lost says how."""

from __future__ import annotations

import ipaddress
import os
import signal
import socket
import sys
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch

from objectives.fid import Fid
from search.ends import TrialEndError
from search.evaluate import Workshop
from search.job import Job
from search.record import Record
from search.watchdog import TrialLimits
from tests.processes import below
from trainers.cache import Cache
from trainers.data.dataset import Images
from trainers.models.diffusion_model import DiffusionModel
from trainers.resources import Resources

RUNGS = (100, 300)
_LISTENS = "0A"
"""TCP_LISTEN, as the kernel's tables have it."""


class ToldStudy:
    """As much of a study as Tune needs: jobs of two rungs that train nothing, and what it is told of them.

    Args:
        full_at: The trial at whose first result the disk is full.
    """

    def __init__(
        self, folder: Path, *, jobs: int, full_at: int | None = None, limits: TrialLimits | None = None
    ) -> None:
        self.folder = folder
        self.space = SimpleNamespace(
            sampler=SimpleNamespace(seed=0),
            confirm=0,
            limits_per_trial=limits or TrialLimits(),
            filled=lambda candidate: [],
            budget=SimpleNamespace(rungs=RUNGS),
            resources=Resources(),
        )
        self.jobs = [Job(number=number, candidate={}, last_rung=1) for number in range(jobs)]
        self.failed: list[tuple[int, str, str]] = []
        self.reported: list[tuple[int, int]] = []
        self.seconds: list[float] = []
        #: Jobs that were given out and have not ended, and how many they were at most.
        self.given: set[int] = set()
        self.most_given = 0
        self._full_at = full_at

    def next(self) -> Job | None:
        if not self.jobs:
            return None
        self.given.add(self.jobs[0].number)
        self.most_given = max(self.most_given, len(self.given))
        return self.jobs.pop(0)

    def checkpoints_uri(self, number: int) -> str:
        return ""

    def trial_path(self, number: int) -> str:
        return f"trials/{number}"

    def fail(self, number: int, reason: str, kind: str, *, seconds: float) -> Record:
        self.given.discard(number)
        self.failed.append((number, kind, reason))
        self.seconds.append(seconds)
        return Record(number=number, state="failed")

    def report(self, number: int, result: dict[str, Any], *, seconds: float) -> Record:
        if number == self._full_at:
            raise OSError(28, "No space left on device")
        self.reported.append((number, result["images"]))
        is_over = result["images"] == RUNGS[-1]
        if is_over:
            self.given.discard(number)
        return Record(number=number, state="complete" if is_over else "stopped")


class Onlooker:
    """Does nothing."""

    def started(self, job: Job) -> None:
        """Nothing to do."""

    def progressed(self, number: int, progress: object) -> None:
        """Nothing to do."""

    def reported(self, job: Job, record: Record) -> None:
        """Nothing to do."""

    def ended(self, record: Record) -> None:
        """Nothing to do."""

    def confirmed(self, record: Record) -> None:
        """Nothing to do."""


class Killer(Onlooker):
    """Kills the worker of trials 0 and 1 after their first rung; that of trial 1 has said why it is to end."""

    def __init__(self, study: ToldStudy) -> None:
        self._study = study

    def reported(self, job: Job, record: Record) -> None:
        if job.number == 1:
            import ray

            # In a process of Ray's, as the watchdog of a worker does.
            folder = (self._study.folder / self._study.trial_path(1)).resolve()
            ray.get(ray.remote(num_cpus=0)(says_why).remote(folder))
        if job.number < 2:
            (worker,) = workers()
            os.kill(worker, signal.SIGKILL)


def says_why(folder: Path) -> None:
    """In the place of the worker that carries out the trial of this folder."""
    from search._ray_losses import leave_end

    leave_end(folder, TrialEndError("timeout", "it took too long"))


def workers() -> list[int]:
    """Processes of this test's own Ray that carry out trials."""
    return [process for process in below(os.getpid()) if "_Worker" in Path(f"/proc/{process}/cmdline").read_text()]


def listening() -> Iterator[ipaddress.IPv4Address]:
    """Where this process and those that it started can be connected to over TCP."""
    held = set()
    for process in [os.getpid(), *below(os.getpid())]:
        # Some may have ended by now.
        with suppress(OSError):
            held |= {str(entry.readlink()) for entry in Path(f"/proc/{process}/fd").iterdir()}
    for table in ("tcp", "tcp6"):
        for line in Path(f"/proc/net/{table}").read_text().splitlines()[1:]:
            _, local, _, state, *_, inode = line.split()[:10]
            if state == _LISTENS and f"socket:[{inode}]" in held:
                # The last four bytes, in the order of this machine: a v6 address that is none in v4 is no loopback.
                yield ipaddress.IPv4Address(int(local.partition(":")[0][-8:], 16).to_bytes(4, sys.byteorder))


@pytest.fixture
def shop(tiny: DiffusionModel, digits: Images, cache: Cache) -> Workshop:
    return Workshop(tiny, digits, (Fid(samples=40, extractor="labels"),), cache, torch.device("cpu"))


def test_a_fault_before_the_first_trial_ends_the_run(tmp_path: Path) -> None:
    """No result would come at which Tune could be stopped, and it would ask for ever."""
    from search.tune import Searcher, _StudySearcher

    study: Any = ToldStudy(tmp_path, jobs=1)
    del study.space
    searcher = _StudySearcher(study, Killer(study))
    assert searcher.suggest("first") == searcher.suggest("second") == Searcher.FINISHED
    assert isinstance(searcher.error, AttributeError)


def test_the_time_of_a_trial_begins_when_a_worker_begins_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """One waited an hour and was then lost; one hung for an hour, and its worker could not say so; one was lost."""
    from search import tune

    now = [0.0]
    monkeypatch.setattr(tune.time, "monotonic", lambda: now[0])
    study: Any = ToldStudy(tmp_path, jobs=3, limits=TrialLimits(minutes=1.0))
    searcher = tune._StudySearcher(study, Onlooker())
    for name in ("waits", "hangs", "is lost"):
        searcher.suggest(name)
    now[0] += 3_600
    searcher.on_trial_complete("waits", error=True)
    searcher.started("hangs")
    now[0] += 3_600
    searcher.on_trial_complete("hangs", error=True)
    searcher.started("is lost")
    now[0] += 50
    searcher.on_trial_complete("is lost", error=True)
    assert [(number, kind) for number, kind, _ in study.failed] == [
        (0, "lost_worker"),
        (1, "timeout"),
        (2, "lost_worker"),
    ]
    assert study.seconds == [0, 3_600, 50] and searcher.error is None


def test_no_more_is_given_out_than_there_is_room_for(
    tmp_path: Path, shop: Workshop, monkeypatch: pytest.MonkeyPatch, repository: Path
) -> None:
    """But for one: a cluster that grows has to see that it should."""
    from search import tune

    monkeypatch.setenv("PYTHONPATH", str(repository))
    study = ToldStudy(tmp_path, jobs=6)
    tune.start(address=None, cpus=2, gpus=0)
    try:
        tune.search_on_ray(study, shop, Onlooker(), workers=10_000)  # type: ignore[arg-type]
    finally:
        tune.stop()
    assert sorted(study.reported) == [(number, images) for number in range(6) for images in RUNGS]
    assert study.most_given <= 3


def test_a_killed_worker_is_one_lost_trial_and_a_full_disk_of_the_driver_the_end(
    tmp_path: Path, shop: Workshop, monkeypatch: pytest.MonkeyPatch, repository: Path
) -> None:
    from search import tune

    monkeypatch.setenv("PYTHONPATH", str(repository))
    study = ToldStudy(tmp_path, jobs=4, full_at=3)
    tune.start(address=None, cpus=1, gpus=0)
    try:
        # Of the same trial, when an earlier driver ran it.
        says_why((study.folder / study.trial_path(0)).resolve())
        assert {address.is_loopback for address in listening()} == {True}
        with pytest.raises(OSError, match="No space left on device"):
            tune.search_on_ray(study, shop, Killer(study), workers=1)  # type: ignore[arg-type]
    finally:
        tune.stop()
    assert [(number, kind) for number, kind, _ in study.failed] == [(0, "lost_worker"), (1, "timeout")]
    assert study.failed[1][2] == "it took too long"
    token = Path(os.environ.get("RAY_AUTH_TOKEN_PATH", "~/.ray/auth_token")).expanduser()
    assert not token.exists() or token.stat().st_mode & 0o077 == 0
    assert study.reported == [(0, 100), (1, 100), (2, 100), (2, 300)]


def test_a_worker_is_lost_with_its_node_where_that_no_longer_answers(monkeypatch: pytest.MonkeyPatch) -> None:
    """Ray calls such a worker unavailable for half a minute, and its node alive."""
    from ray.exceptions import ActorUnavailableError

    from search import _ray_losses

    loss = ActorUnavailableError("RpcError: Socket closed", b"a" * 16)
    nodes: list[dict[str, Any]] = []
    state = SimpleNamespace(actors=lambda actor: {"Address": {"NodeID": "lost"}}, nodes=lambda: nodes)
    monkeypatch.setattr(_ray_losses, "ray_state", state)
    monkeypatch.setattr(_ray_losses, "take_end", lambda folder: None)

    def found() -> tuple[str, str]:
        lost = _ray_losses.how_it_was_lost(Path("trial"), loss)
        return lost["kind"], lost["failed"][:20]

    assert found()[0] == "lost_worker"
    with socket.create_server(("127.0.0.1", 0)) as raylet:
        place = {"NodeManagerAddress": "127.0.0.1", "NodeManagerPort": raylet.getsockname()[1]}
        nodes += [{**place, "NodeID": "other", "Alive": False}, {**place, "NodeID": "lost", "Alive": True}]
        assert found() == ("lost_worker", "its worker was lost:")
        nodes[1]["Alive"] = False
        assert found()[0] == "lost_node"
        nodes[1]["Alive"] = True
    assert found() == ("lost_node", "its node was lost: T")


@pytest.mark.parametrize("written", ["", "[]", '{"kind": "x", "reason": "y"}', '{"kind": ["timeout"], "reason": "y"}'])
def test_what_no_worker_says_is_nothing(monkeypatch: pytest.MonkeyPatch, written: str) -> None:
    from search import _ray_losses

    table = {"trial": written.encode()}
    monkeypatch.setattr(
        _ray_losses,
        "internal_kv",
        SimpleNamespace(
            _internal_kv_initialized=lambda: True,
            _internal_kv_get=lambda key, namespace: table.get(key),
            _internal_kv_del=lambda key, namespace: table.pop(key),
        ),
    )
    assert _ray_losses.take_end(Path("trial")) is None and table == {}
    assert _ray_losses.take_end(Path("trial")) is None


@pytest.mark.slow
def test_what_ray_s_memory_monitor_ends_is_out_of_memory(
    tmp_path: Path, shop: Workshop, monkeypatch: pytest.MonkeyPatch, repository: Path
) -> None:
    from search import tune

    monkeypatch.setenv("PYTHONPATH", str(repository))
    # Whatever runs is too much.
    monkeypatch.setenv("RAY_memory_usage_threshold", "0.01")
    monkeypatch.setenv("RAY_memory_monitor_refresh_ms", "50")
    study = ToldStudy(tmp_path, jobs=2)
    tune.start(address=None, cpus=1, gpus=0)
    try:
        tune.search_on_ray(study, shop, Killer(study), workers=1)  # type: ignore[arg-type]
    finally:
        tune.stop()
    assert [(number, kind) for number, kind, _ in study.failed] == [(0, "out_of_memory"), (1, "out_of_memory")]
