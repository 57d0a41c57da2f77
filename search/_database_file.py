"""The file of a study's database, looked at before SQLite obeys it: it may be damaged, or a stranger's."""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

from optuna.exceptions import StorageInternalError
from sqlalchemy.exc import DBAPIError

from search._database_content import fault_of_content
from search._database_schema import fault_of_schema
from search.file_system import check_local
from trainers.errors import UserError
from trainers.foreign import file_inside
from trainers.redaction import without_passwords

FILE = "study.db"
BUSY_SECONDS = 60
_MOST_STEPS = 500_000_000
"""Of SQLite's machine for one check: half a minute. The largest studies take a hundredth of that."""
_BESIDE = ("", "-wal", "-shm", "-journal")
_NAMES_ANOTHER = bytes.fromhex("d9d505f920a163d7")
_PASSING = {
    sqlite3.SQLITE_PERM,
    sqlite3.SQLITE_BUSY,
    sqlite3.SQLITE_LOCKED,
    sqlite3.SQLITE_NOMEM,
    sqlite3.SQLITE_READONLY,
    sqlite3.SQLITE_INTERRUPT,
    sqlite3.SQLITE_IOERR,
    sqlite3.SQLITE_FULL,
    sqlite3.SQLITE_CANTOPEN,
    sqlite3.SQLITE_PROTOCOL,
    sqlite3.SQLITE_AUTH,
}
"""What SQLite says of the disk, of other programs or of rights, and not of what the file holds."""


@contextmanager
def made_alone(folder: Path) -> Iterator[None]:
    """Within it, no other process makes the database in ``folder``, which is made: half of one would look damaged.

    Raises:
        UserError: when no database can be kept there.
    """
    check_local(folder)
    folder.mkdir(parents=True, exist_ok=True)
    if os.name != "posix":
        # Windows opens no folder.
        yield
        return
    import fcntl

    descriptor = os.open(folder, os.O_RDONLY)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)


def prepared(folder: Path) -> Path:
    """The database file of the study in ``folder``, ready to be opened; it is made where it is not there.

    Raises:
        UserError: when it cannot be a database that this program wrote.
    """
    path = folder / FILE
    for ending in _BESIDE:
        _check_regular(folder, f"{FILE}{ending}")
    if _names_another(folder / f"{FILE}-journal"):
        # SQLite ends such a transaction by deleting the file that the journal names, wherever that is.
        raise UserError(
            unusable(path, f"the journal beside it, {FILE}-journal, names another file, and no study's does")
        )
    try:
        with closing(sqlite3.connect(path, timeout=BUSY_SECONDS)) as connection:
            # Returning true, it ends the statement that has come so far.
            connection.set_progress_handler(lambda: True, _MOST_STEPS)
            fault = fault_of_schema(connection) or fault_of_content(connection)
            if fault is None:
                # Write-ahead logging lets others read while the driver writes; the setting stays with the file.
                connection.execute("PRAGMA journal_mode=WAL")
    except UnicodeDecodeError:
        fault = "it is not a usable database: a name in it is no text"
    except sqlite3.DatabaseError as error:
        if error.sqlite_errorcode == sqlite3.SQLITE_INTERRUPT:
            fault = "there is far more to look through than in any study's"
        elif error.sqlite_errorcode & 0xFF in _PASSING:
            raise UserError(
                f"{path} cannot be opened ({error}). Let it be read and written, and end what keeps it locked."
            ) from None
        else:
            fault = f"it is not a usable database: {error}"
    if fault:
        raise UserError(unusable(path, fault))
    return path


def unusable(place: Path | str, fault: str) -> str:
    """What is said of a study's database that is damaged, or that this program has not written."""
    return (
        f"{place} cannot be used: {fault}. It must be the database of this study, as it was written. "
        "Put a copy of that in its place, or give this run another --name to begin anew."
    )


@contextmanager
def faults_told(place: Path | str) -> Iterator[None]:
    """Whatever is raised inside because of what a database holds becomes one message about it.

    Raises:
        UserError: in its place.
    """
    try:
        yield
    except (UserError, OSError, MemoryError, ImportError):
        raise
    except Exception as error:
        # Optuna and SQLAlchemy read there what may be a stranger's. What they cannot read ends in errors of any kind:
        # of JSON, of an enumeration, of a missing row, of a type.
        if not is_damage(error):
            raise
        raise UserError(unusable(place, f"what it holds cannot be read ({reason_of(error)})")) from None


def is_damage(error: BaseException) -> bool:
    """Whether an error is about what a database holds, and not about its disk, its server or other programs."""
    found = _of_driver(error)
    if not isinstance(found, DBAPIError):
        return not isinstance(found, StorageInternalError)
    code = getattr(found.orig, "sqlite_errorcode", None)
    return code is not None and code & 0xFF not in _PASSING


def reason_of(error: BaseException) -> str:
    """What the database says, in one line, without a password."""
    found = _of_driver(error)
    if isinstance(found, LookupError):
        # Its text is what was looked for, and says nothing alone.
        found = LookupError(f"there is no {found}")
    said = str(found.orig if isinstance(found, DBAPIError) and found.orig is not None else found)
    return without_passwords(" ".join(said.split()))[:500].rstrip(".") or type(found).__name__


def _of_driver(error: BaseException) -> BaseException:
    while error.__cause__ is not None and not isinstance(error, DBAPIError):
        error = error.__cause__
    return error


def _check_regular(folder: Path, name: str) -> None:
    if file_inside(folder, name) is None and os.path.lexists(folder / name):
        raise UserError(unusable(folder / name, "it is no regular file"))


def _names_another(journal: Path) -> bool:
    """Whether a rollback journal is one of several that belong together; a database on its own never has such a one."""
    if not journal.is_file():
        return False
    with journal.open("rb") as file:
        file.seek(max(0, journal.stat().st_size - len(_NAMES_ANOTHER)))
        return file.read() == _NAMES_ANOTHER
