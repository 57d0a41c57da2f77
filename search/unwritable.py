"""What is said when a study can no longer be written: its disk is full or read-only, its database locked."""

from __future__ import annotations

import errno
from collections.abc import Iterator

from sqlalchemy.exc import SQLAlchemyError

from search.storage_url import hidden

_FULL = "there is no space left"
_READ_ONLY = "it has become read-only"
_FAILS = "its disk takes no more"
_LOCKED = "another program keeps its database locked"
_ADVICE = {
    _FULL: "Free some disk space there",
    _READ_ONLY: "Make the folder writable again",
    _FAILS: "Free some disk space there, or see what the disk has",
    _LOCKED: "End what has study.db open for writing",
}
_CODES = {
    errno.ENOSPC: _FULL,
    errno.EDQUOT: _FULL,
    errno.EROFS: _READ_ONLY,
    errno.EACCES: _READ_ONLY,
    errno.EIO: _FAILS,
}
# SQLite tells these apart in words alone.
_WORDS = {
    "disk is full": _FULL,
    "readonly database": _READ_ONLY,
    "database is locked": _LOCKED,
    # What it says when it cannot make the files beside the database.
    "unable to open database file": _READ_ONLY,
    "disk I/O error": _FAILS,
}


def why_and_advice(error: BaseException) -> tuple[str, str] | None:
    """Why nothing can be written, and what to do about it; None where this is not what the error is about."""
    for each in _chain(error):
        code = each.errno if isinstance(each, OSError) else None
        why = _CODES.get(code) if code is not None else None
        why = why or next((found for words, found in _WORDS.items() if words in str(each)), None)
        if why is not None:
            return why, _ADVICE[why]
    failed = next((each for each in _chain(error) if isinstance(each, SQLAlchemyError)), None)
    return None if failed is None else (f"its database fails ({_first_line(failed)})", "Put that right")


def _first_line(error: SQLAlchemyError) -> str:
    return hidden(str(getattr(error, "orig", None) or error).strip().partition("\n")[0])


def _chain(error: BaseException | None) -> Iterator[BaseException]:
    while error is not None:
        yield error
        error = error.__cause__ or error.__context__
