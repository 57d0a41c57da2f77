"""One driver for each study, whatever becomes of it: killed, suspended, far away, under a clock that jumps."""

from __future__ import annotations

import contextlib
import os
import re
import signal
import socket
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import sqlalchemy
from sqlalchemy import Engine, text

from search import lease as lease_file
from search._database import Database, engine_of
from search.lease import Lease, LeaseLostError, StudyHeldError, held

# It holds the study and writes without end, a row in each transaction, until it may no longer.
DRIVER = """
import sys, time
from pathlib import Path
import sqlalchemy
from search import lease

lease.BEAT_SECONDS, folder = 0.05, Path(sys.argv[1])
engine, writing = (sqlalchemy.create_engine(f"sqlite:///{folder / 'study.db'}") for _ in range(2))
try:
    with lease.held(folder, engine) as mine:
        mine.guard(writing)
        print("holds", flush=True)
        while True:
            with writing.begin() as connection:
                connection.execute(sqlalchemy.text("INSERT INTO results VALUES (1)"))
            time.sleep(float(sys.argv[2]))
except lease.StudyHeldError as error:
    sys.exit(f"{type(error).__name__}: {error}")
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "study").mkdir()
    return tmp_path / "study"


@pytest.fixture
def engine(folder: Path) -> Engine:
    made = sqlalchemy.create_engine(f"sqlite:///{folder / 'study.db'}")
    with made.begin() as connection:
        connection.execute(text("PRAGMA journal_mode=WAL"))
        connection.execute(text("CREATE TABLE results (value INTEGER)"))
    return made


@pytest.fixture
def driver(folder: Path, engine: Engine, repository: Path) -> Iterator[Callable[..., subprocess.Popen[str]]]:
    """Starts a driver in a process of its own and waits until it holds the study."""
    started: list[subprocess.Popen[str]] = []

    def start(*, pause: float = 0.01) -> subprocess.Popen[str]:
        command = [sys.executable, "-c", DRIVER, str(folder), str(pause)]
        process = subprocess.Popen(command, cwd=repository, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        started.append(process)
        assert process.stdout is not None and process.stdout.readline() == "holds\n"
        return process

    yield start
    for process in started:
        process.kill()
        process.communicate()


@pytest.fixture
def hasty(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lease_file, "PATIENCE_SECONDS", 0.5)


def results(engine: Engine) -> int:
    with engine.connect() as connection:
        return int(connection.execute(text("SELECT COUNT(*) FROM results")).scalar_one())


def suspend(process: subprocess.Popen[str], folder: Path) -> None:
    """Between two writes: within one it would keep the database locked."""
    while True:
        process.send_signal(signal.SIGSTOP)
        os.waitid(os.P_PID, process.pid, os.WSTOPPED | os.WNOWAIT)
        with contextlib.closing(sqlite3.connect(folder / "study.db", timeout=0)) as connection:
            try:
                connection.execute("BEGIN IMMEDIATE")
                return
            except sqlite3.OperationalError:
                process.send_signal(signal.SIGCONT)
                time.sleep(0.01)


def change(engine: Engine, **values: object) -> None:
    with engine.begin() as connection:
        connection.execute(lease_file._LEASES.update().values(values))


def test_a_second_driver_is_told_who_holds_the_study(folder: Path, engine: Engine) -> None:
    with held(folder, engine):
        with pytest.raises(StudyHeldError) as refused, held(folder, engine):
            pass
        now = time.strftime("%Y-%m-%d", time.gmtime())
        who = rf"process {os.getpid()} on {re.escape(socket.gethostname())} since {now} [\d:]+ UTC"
        assert re.search(
            rf"{folder} is held by another driver \({who}; last sign of life 0 s ago\)", str(refused.value)
        )
        assert "--take-over" in str(refused.value)
    with held(folder, engine):
        pass


def test_a_driver_that_starts_at_the_same_moment_does_not_end_this_one(
    folder: Path, engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Between the look whether there is a table of leases and its making, another has made it."""
    make = lease_file._LEASES.create
    monkeypatch.setattr(lease_file._LEASES, "create", lambda *args, **options: (make(engine), make(engine)))
    with held(folder, engine):
        pass


def test_studies_in_one_database_are_held_apart(folder: Path, engine: Engine) -> None:
    with held(folder, engine), held(folder.parent / "other", engine):
        pass


def test_a_killed_driver_of_this_machine_is_replaced_at_once(folder: Path, engine: Engine, driver) -> None:
    process = driver()
    with pytest.raises(StudyHeldError, match=f"process {process.pid} "), held(folder, engine):
        pass
    # Not waited for: its entry in the table of processes is still there.
    process.kill()
    os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOWAIT)
    with held(folder, engine):
        pass


def test_a_living_driver_is_not_taken_over(folder: Path, engine: Engine, driver, hasty: None) -> None:
    process, said = driver(), []
    with pytest.raises(StudyHeldError, match="It is alive"), held(folder, engine, take_over=True, say=said.append):
        pass
    assert len(said) == 1 and "watching for a sign of life for 0.5 s" in said[0]
    assert process.poll() is None


def test_a_suspended_driver_that_comes_back_writes_nothing_more(
    folder: Path, engine: Engine, driver, hasty: None
) -> None:
    process = driver(pause=0.0)
    suspend(process, folder)
    with pytest.raises(StudyHeldError), held(folder, engine):
        pass
    with held(folder, engine, take_over=True):
        before = results(engine)
        process.send_signal(signal.SIGCONT)
        _, errors = process.communicate(timeout=120)
        assert process.returncode == 1 and errors.startswith("LeaseLostError: ")
        assert f"was taken over by process {os.getpid()} on " in errors
        assert results(engine) == before
        with pytest.raises(StudyHeldError, match=f"process {os.getpid()} "), held(folder, engine):
            pass


def test_a_driver_that_waits_in_a_call_ends_at_the_next_beat(folder: Path, engine: Engine, driver, hasty: None) -> None:
    process = driver(pause=1_000.0)
    suspend(process, folder)
    with held(folder, engine, take_over=True):
        process.send_signal(signal.SIGCONT)
        _, errors = process.communicate(timeout=120)
    assert errors.startswith("LeaseLostError: ")


def test_an_interrupt_of_the_beat_that_comes_late_does_not_hide_the_loss(
    folder: Path, engine: Engine, hasty: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    def late(lease: Lease) -> None:
        lease.lost_to = holder
        raise KeyboardInterrupt

    monkeypatch.setattr(Lease, "release", late)
    with pytest.raises(LeaseLostError, match="first"), held(folder, engine) as lease:
        holder = lease._mine
        raise LeaseLostError("first")


@pytest.mark.parametrize("clock", [-1e9, 1e9])
def test_no_clock_makes_a_driver_live_or_die(folder: Path, engine: Engine, hasty: None, clock: float) -> None:
    """Of another container, of which nothing is seen but its beats, and its own time."""
    with held(folder, engine):
        change(engine, boot=f"{lease_file._boot().split(' ')[0]} pid:[1]", last_beat=time.time() + clock)
        with pytest.raises(StudyHeldError, match="--take-over"), held(folder, engine):
            pass
        with held(folder, engine, take_over=True):
            pass


def test_what_held_a_local_file_before_the_machine_was_started_is_gone(folder: Path, engine: Engine) -> None:
    with held(folder, engine):
        boot, namespace = lease_file._boot().split(" ")
        # In a container beside this one it may well live.
        change(engine, boot=f"{boot} pid:[1]")
        with pytest.raises(StudyHeldError), held(folder, engine):
            pass
        change(engine, boot=f"another {namespace}")
        with held(folder, engine):
            pass


def test_a_driver_of_another_machine_is_not_taken_for_one_before_a_restart(
    folder: Path, engine: Engine, hasty: None
) -> None:
    """A disk that machines share without being told to."""
    with held(folder, engine):
        change(engine, boot="another pid:[1]", host="elsewhere")
        with pytest.raises(StudyHeldError, match=r"on elsewhere .*add --take-over"), held(folder, engine):
            pass
        with held(folder, engine, take_over=True):
            pass


def test_a_later_process_with_the_same_number_is_another(folder: Path, engine: Engine) -> None:
    with held(folder, engine):
        change(engine, process_start="1")
        with held(folder, engine):
            pass


def test_a_driver_suspended_within_a_write_has_to_be_ended(folder: Path, engine: Engine, hasty: None) -> None:
    impatient = sqlalchemy.create_engine(engine.url, connect_args={"timeout": 0.1})
    with held(folder, engine), engine.connect() as connection:
        connection.execute(text("INSERT INTO results VALUES (1)"))
        refused = pytest.raises(StudyHeldError, match=f"process {os.getpid()} .* End that process")
        with refused, held(folder, impatient, take_over=True):
            pass


def test_what_optuna_writes_is_fenced(folder: Path) -> None:
    database = Database(folder, goals={"fid": "min"})
    with held(folder, engine_of(folder)) as lease:
        lease.guard(database.engine)
        database.set_of_study("key", "before")
        number = database.queue({}, {})
        change(sqlalchemy.create_engine(database.engine.url), token="another driver's")
        for write in (
            lambda: database.set_of_study("key", "after"),
            lambda: database.set(number, "key", "after"),
            lambda: database.begun(number),
        ):
            with pytest.raises(LeaseLostError):
                write()
    again = Database(folder, goals={"fid": "min"})
    assert again.attributes["key"] == "before"
    assert again.trial(number).state.name == "WAITING" and again.trial(number).user_attrs == {}
