"""The tables of a study's database: plain ones, in which nothing is computed at a look or a write.

Their structure is asked of SQLite, whose text differs between versions of it, of SQLAlchemy and of Optuna.
"""

from __future__ import annotations

import re
import sqlite3
from collections.abc import Iterator

_MOST_TABLES = 64
"""Optuna makes 12, and this program one."""
_EXPRESSION = -2
"""What SQLite gives as the number of an index's column that is none."""
_LITERAL = re.compile(r"[-+]?[\w.]+|'[^']*'|\"[^\"]*\"")
# In the order in which SQLite reads them, so that none is taken for a part of another.
_QUOTED = re.compile(r"'(?:[^']|'')*'|\"(?:[^\"]|\"\")*\"|`[^`]*`|\[[^\]]*\]|--[^\n]*|/\*.*?(?:\*/|$)", re.DOTALL)
# Optuna's own, and as older versions of SQLAlchemy write the members of an enumeration.
_KNOWN_CHECK = re.compile(
    r"\bCHECK\s*\(\s*(?:version_info_id\s*=\s*1|(?:\w+|\"\")\s+IN\s*\(\s*''(?:\s*,\s*'')*\s*\))\s*\)", re.IGNORECASE
)
_CHECK = re.compile(r"\bCHECK\b", re.IGNORECASE)


def fault_of_schema(connection: sqlite3.Connection) -> str | None:
    """The first thing in a database that is no plain table or index; a trigger, say, may compute for ever."""
    return next(_faults(connection), None)


def _faults(connection: sqlite3.Connection) -> Iterator[str]:
    held = connection.execute("SELECT type, name, sql, rootpage FROM sqlite_master").fetchmany(20 * _MOST_TABLES)
    virtual = {row[1] for row in connection.execute("PRAGMA table_list") if row[2] in ("virtual", "shadow")}
    for kind, name, text, page in held:
        is_virtual = not page or name in virtual or str(text).upper().startswith("CREATE VIRTUAL")
        if kind not in ("table", "index") or is_virtual:
            found = "virtual table" if kind == "table" else kind
            yield f"it holds {name!r:.100}, which is no plain table but a {found}"
    tables = [(str(name), str(text)) for kind, name, text, _ in held if kind == "table"]
    if len(tables) > _MOST_TABLES:
        yield f"it has {len(tables)} tables or more, and a study's has {_MOST_TABLES} at most"
    for name, text in tables:
        yield from (f"its table {name!r:.100} {fault}" for fault in _faults_of_table(connection, name, text))


def _faults_of_table(connection: sqlite3.Connection, table: str, text: str) -> Iterator[str]:
    for _, column, _, _, default, _, hidden in connection.execute("SELECT * FROM pragma_table_xinfo(?)", [table]):
        if hidden:
            yield f"computes its column {column!r:.100}"
        if default is not None and not _LITERAL.fullmatch(str(default)):
            yield f"computes what stands in its column {column!r:.100} when nothing is given"
    bare = _QUOTED.sub(lambda found: {"'": "''", '"': '""'}.get(found[0][0], " "), text)
    if len(_CHECK.findall(bare)) > len(_KNOWN_CHECK.findall(bare)):
        yield "computes whether a row may be written"
    for _, index, _, _, is_partial in connection.execute("SELECT * FROM pragma_index_list(?)", [table]).fetchall():
        columns = connection.execute("SELECT cid FROM pragma_index_xinfo(?)", [index])
        if is_partial or any(column == _EXPRESSION for (column,) in columns):
            yield f"has the index {index!r:.100}, which is not of columns alone"
