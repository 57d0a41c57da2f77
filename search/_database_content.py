"""What a study's database holds, measured before it is read: a whole one, and no more of anything than a study has."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator

_MOST_TRIALS = 200_000
_MOST_ROWS = 50 * _MOST_TRIALS
_LONGEST = 8 * 2**20
"""Characters of one value."""
_SHOWN = 200
"""Characters of what SQLite says of damage."""


def fault_of_content(connection: sqlite3.Connection) -> str | None:
    """The first thing in a database of plain tables that is damaged, or of which there is far too much."""
    return next(_faults(connection), None)


def _faults(connection: sqlite3.Connection) -> Iterator[str]:
    # First of all: a damaged tree may lead to the same page so often that whatever follows it never ends.
    (said,) = connection.execute("PRAGMA quick_check(1)").fetchone()
    if said != "ok":
        yield f"it is not a usable database: it is malformed ({' '.join(said.split())[:_SHOWN]})"
    tables = connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'").fetchall()
    yield from (fault for (name,) in tables for fault in _faults_of_table(connection, name))
    # Rows of a trial that is gone would become those of the next new one, which gets its place.
    if found := connection.execute("PRAGMA foreign_key_check").fetchone():
        yield f"its {found[0]!r} has rows of a trial or study that is not there"


def _faults_of_table(connection: sqlite3.Connection, table: str) -> Iterator[str]:
    columns = [column for (column,) in connection.execute("SELECT name FROM pragma_table_info(?)", [table])]
    lengths = ", ".join(f"max(length({_quoted(column)}))" for column in columns)
    count, *longest = connection.execute(f"SELECT count(*), {lengths} FROM {_quoted(table)}").fetchone()  # noqa: S608
    most = _MOST_TRIALS if table == "trials" else _MOST_ROWS
    if count > most:
        yield f"its table {table!r:.100} has {count:,} rows, and a study's has {most:,} at most"
    for column, length in zip(columns, longest, strict=True):
        if length is not None and length > _LONGEST:
            found = f"has a {column!r:.100} of {length:,} characters"
            yield f"its {table!r:.100} {found}, and a study's have {_LONGEST:,} at most"


def _quoted(name: str) -> str:
    return '"' + name.replace('"', '""') + '"'
