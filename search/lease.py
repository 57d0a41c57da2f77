"""One driver for each study: a lease in the study's database, with a heartbeat, and a fence around every commit.

Whether a heart still beats is never judged by a clock that others set: it is a count that rises, watched by the one who
wants to take over for as long as its own monotonic clock says. A clock that steps back makes no living driver look dead
and keeps no dead one alive. Wall time is only shown.
"""

from __future__ import annotations

import os
import secrets
import signal
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import sqlalchemy
from sqlalchemy import Column, Connection, Engine, Float, Integer, MetaData, String, Table
from sqlalchemy.exc import DBAPIError, IntegrityError, OperationalError, SQLAlchemyError

from search._database_file import unusable
from trainers.errors import UserError

BEAT_SECONDS = 5.0
PATIENCE_SECONDS = 30.0
"""Without a beat for so long, a driver counts as dead. Should it come back, the fence keeps it from writing."""

_LATEST = 1e11
"""Seconds since 1970 that still are a date."""
_LONGEST_TEXT = 255
_PROC = Path("/proc")
_LEASES = Table(
    "slimfront_leases",
    MetaData(),
    Column("study", String(_LONGEST_TEXT), primary_key=True),
    Column("token", String(32), nullable=False),
    Column("host", String(_LONGEST_TEXT), nullable=False),
    Column("boot", String(_LONGEST_TEXT), nullable=False),
    Column("process", Integer, nullable=False),
    Column("process_start", String(64), nullable=False),
    Column("since", Float(53), nullable=False),
    Column("beats", Integer, nullable=False),
    Column("last_beat", Float(53), nullable=False),
)


class StudyHeldError(UserError):
    """Another driver holds the study; exit code 3."""


class LeaseLostError(StudyHeldError):
    """Another driver has taken the study from this one; exit code 3."""


@dataclass(frozen=True, kw_only=True)
class Holder:
    """A driver that holds a study, as the database knows it.

    Args:
        token: Random; no other driver ever has it.
        boot: Of its machine since it was last started, and of its namespace of processes; empty where neither is told.
        process_start: Tells it from a later process with the same number; empty where the system does not tell.
        since, last_beat: By its own clock, in seconds since 1970.
        beats: How often it gave a sign of life.
    """

    study: str
    token: str
    host: str
    boot: str
    process: int
    process_start: str
    since: float
    beats: int
    last_beat: float

    @classmethod
    def here(cls, study: str) -> Holder:
        """This process, from now on."""
        process, now = os.getpid(), time.time()
        return cls(
            study=study,
            token=secrets.token_hex(16),
            host=socket.gethostname(),
            boot=_boot(),
            process=process,
            process_start=_start_of(process) or "",
            since=now,
            beats=0,
            last_beat=now,
        )

    def __str__(self) -> str:
        return f"process {self.process} on {self.host} since {_utc(self.since)}"

    def is_gone(self, *, is_file_local: bool) -> bool:
        """Whether it surely has ended, which only its own machine can tell.

        Args:
            is_file_local: The lease lies on a disk of this machine; what held it before the machine was last started is
                gone. Should the disk be shared after all, the name of the machine tells another one, which may live.
        """
        if not self.boot or not _boot():
            return False
        if self.boot != _boot():
            is_same_machine = is_file_local and self.host == socket.gethostname()
            return is_same_machine and self.boot.partition(" ")[0] != _boot().partition(" ")[0]
        try:
            os.kill(self.process, 0)
        except ProcessLookupError:
            return True
        except PermissionError:
            return False
        return _start_of(self.process) != self.process_start


_NOBODY = Holder(study="", token="", host="", boot="", process=0, process_start="", since=0.0, beats=0, last_beat=0.0)


class Lease:
    """A study that this process holds until ``release``.

    Args:
        engine: Of the study's database.
        folder: Of the study, for messages; its name is that of the lease.
    """

    def __init__(self, engine: Engine, folder: Path) -> None:
        self._engine = engine
        self._folder = folder
        self._mine = Holder.here(folder.name)
        self._ended = threading.Event()
        self._driver = threading.current_thread()
        self._pulse = threading.Thread(target=self._beat, name="lease", daemon=True)
        #: Who has taken the study from this process.
        self.lost_to: Holder | None = None

    def take(self, *, take_over: bool = False, say: Callable[[str], None] = lambda text: None) -> None:
        """Hold the study, in the place of a driver that is gone.

        Args:
            take_over: Replace a driver of which nothing more is known when it gives no sign of life.

        Raises:
            StudyHeldError: when another driver holds it.
        """
        try:
            _LEASES.create(self._engine, checkfirst=True)
        except DBAPIError:
            # Another driver may have made it just now.
            if not sqlalchemy.inspect(self._engine).has_table(_LEASES.name):
                raise
        is_file_local = self._engine.dialect.name == "sqlite"
        while True:
            holder = self._holder()
            if holder is not None and not holder.is_gone(is_file_local=is_file_local):
                if not take_over:
                    raise StudyHeldError(self._held_by(holder))
                say(f"{self._folder} is held by {holder}: watching for a sign of life for {PATIENCE_SECONDS:g} s")
                if not self._is_silent(holder):
                    raise StudyHeldError(self._held_by(holder, "It is alive: it gave a sign of life just now."))
            try:
                # Where another driver was faster, that one is looked at.
                if self._is_now_in_place_of(holder):
                    break
            except OperationalError as error:
                if holder is None:
                    raise
                stuck = f"It has not ended a write, which keeps the database locked ({error.orig}). End that process."
                raise StudyHeldError(self._held_by(holder, stuck)) from None
        self._pulse.start()

    def release(self) -> None:
        """Let another driver have the study."""
        self._ended.set()
        if self._pulse.is_alive():
            self._pulse.join()
        with self._engine.begin() as connection:
            connection.execute(_LEASES.delete().where(self._is_row_mine()))

    def guard(self, engine: Engine) -> None:
        """Let no transaction of ``engine`` be committed any more once another driver has taken the study.

        The lease is read within each transaction, so that no take-over comes between that and the commit.
        """
        query = sqlalchemy.select(_LEASES).where(_LEASES.c.study == self._mine.study)
        if engine.dialect.name != "sqlite":
            # A file has one writer at a time; elsewhere, whoever wants to take over waits for this transaction.
            query = query.with_for_update(read=True)

        def check(connection: Connection) -> None:
            holder = _holder_of(connection, query)
            if holder is None or holder.token != self._mine.token:
                self.lost_to = holder or _NOBODY
                raise LeaseLostError(self.loss)

        sqlalchemy.event.listen(engine, "commit", check)

    @property
    def loss(self) -> str:
        """The message when another driver has taken the study."""
        heir = "another driver, which has ended since" if self.lost_to is _NOBODY else self.lost_to
        return (
            f"{self._folder} was taken over by {heir}, while this driver gave no sign of life. What it measured until "
            "then is kept, nothing was written since. Leave the study to that driver, or give this run another --name."
        )

    def _beat(self) -> None:
        while not self._ended.wait(BEAT_SECONDS):
            beat = _LEASES.update().where(self._is_row_mine()).values(beats=_LEASES.c.beats + 1, last_beat=time.time())
            try:
                with self._engine.begin() as connection:
                    is_ours = connection.execute(beat).rowcount == 1
            except SQLAlchemyError:
                # A database that is busy or away is no loss; whether it was one is seen at the next beat or commit.
                continue
            if not is_ours and not self._ended.is_set():
                self.lost_to = self._holder() or _NOBODY
                if self._driver is threading.main_thread():
                    # As Ctrl-C does, even within a call that waits; elsewhere the next commit fails.
                    signal.pthread_kill(self._driver.ident or 0, signal.SIGINT)
                return

    def _is_now_in_place_of(self, holder: Holder | None) -> bool:
        """Come into the place of a holder that gave no sign of life since, or of none, unless another driver has."""
        self._mine = replace(self._mine, since=time.time(), last_beat=time.time())
        mine, columns = asdict(self._mine), _LEASES.c
        try:
            with self._engine.begin() as connection:
                if self._engine.dialect.name == "postgresql":
                    # A driver that was suspended within a write would let this one wait for ever.
                    connection.exec_driver_sql(f"SET LOCAL lock_timeout = '{PATIENCE_SECONDS:g}s'")
                if holder is None:
                    connection.execute(_LEASES.insert().values(mine))
                    return True
                same = (columns.study == holder.study, columns.token == holder.token, columns.beats == holder.beats)
                return connection.execute(_LEASES.update().where(*same).values(mine)).rowcount == 1
        except IntegrityError:
            return False

    def _is_silent(self, holder: Holder) -> bool:
        until = time.monotonic() + PATIENCE_SECONDS
        while time.monotonic() < until:
            time.sleep(min(1.0, PATIENCE_SECONDS / 10))
            if self._holder() != holder:
                return False
        return True

    def _holder(self) -> Holder | None:
        with self._engine.connect() as connection:
            return _holder_of(connection, sqlalchemy.select(_LEASES).where(_LEASES.c.study == self._mine.study))

    def _is_row_mine(self) -> Any:
        return sqlalchemy.and_(_LEASES.c.study == self._mine.study, _LEASES.c.token == self._mine.token)

    def _held_by(self, holder: Holder, more: str = "") -> str:
        silence = max(0.0, time.time() - holder.last_beat)
        way_out = more or (
            f"If that driver is gone for good, add --take-over: it watches for {PATIENCE_SECONDS:g} s and takes the "
            "study when there is no sign of life."
        )
        return (
            f"{self._folder} is held by another driver ({holder}; last sign of life {silence:.0f} s ago). "
            f"Wait for it, stop it, or give this run another --name. {way_out}"
        )


@contextmanager
def held(
    folder: Path, engine: Engine, *, take_over: bool = False, say: Callable[[str], None] = lambda text: None
) -> Iterator[Lease]:
    """Hold the study in ``folder``, whose database is behind ``engine``; given back at the end.

    Raises:
        StudyHeldError: when another driver holds it, or has taken it meanwhile.
    """
    lease = Lease(engine, folder)
    lease.take(take_over=take_over, say=say)
    try:
        yield lease
    except KeyboardInterrupt:
        if lease.lost_to is None:
            raise
        # It was the beat that interrupted.
        raise LeaseLostError(lease.loss) from None
    finally:
        # Nothing may hide how the run ended; the next driver on this machine sees that this process is gone.
        try:
            with suppress(SQLAlchemyError):
                lease.release()
        except KeyboardInterrupt:
            if lease.lost_to is None:
                raise
            # The beat's, which came after a commit had found the same.


def _holder_of(connection: Connection, query: Any) -> Holder | None:
    row = connection.execute(query).mappings().one_or_none()
    holder = None if row is None else Holder(**row)
    if holder is not None and not _is_sound(holder):
        place = connection.engine.url.database if connection.dialect.name == "sqlite" else "the database"
        raise UserError(unusable(str(place), "who holds the study cannot be read from it"))
    return holder


def _is_sound(holder: Holder) -> bool:
    """Whether the row can have been written by a driver; SQLite keeps anything in any column."""
    texts = (holder.study, holder.token, holder.host, holder.boot, holder.process_start)
    counts, times = (holder.process, holder.beats), (holder.since, holder.last_beat)
    return (
        all(isinstance(text, str) and len(text) <= _LONGEST_TEXT for text in texts)
        and all(isinstance(count, int) and 0 <= count < 2**31 for count in counts)
        and all(isinstance(seconds, int | float) and 0 <= seconds < _LATEST for seconds in times)
    )


def _utc(seconds: float) -> str:
    return time.strftime("%Y-%m-%d %H:%M:%S UTC", time.gmtime(seconds))


def _boot() -> str:
    """What no two machines have in common, nor one before and after it is started anew, and its view of processes."""
    try:
        boot = (_PROC / "sys/kernel/random/boot_id").read_text().strip()
        return f"{boot} {(_PROC / 'self/ns/pid').readlink()}"
    except OSError:
        return ""


def _start_of(process: int) -> str | None:
    """When a process of this machine began, in ticks; None when there is none, or nothing but its exit code."""
    try:
        # The name in parentheses may hold anything.
        fields = (_PROC / str(process) / "stat").read_text().rpartition(")")[2].split()
    except OSError:
        return None
    return None if fields[0] in "ZX" else fields[19]
