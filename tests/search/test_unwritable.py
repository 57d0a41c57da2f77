"""Why a study cannot be written, found in what libraries raise."""

from __future__ import annotations

import errno
import sqlite3

import optuna
import pytest
from sqlalchemy.exc import OperationalError

from search.unwritable import why_and_advice


@pytest.mark.parametrize(
    ("error", "words"),
    [
        (OSError(errno.ENOSPC, "No space left on device"), "no space left"),
        (OSError(errno.EROFS, "Read-only file system"), "read-only"),
        (sqlite3.OperationalError("database or disk is full"), "no space left"),
        (sqlite3.OperationalError("attempt to write a readonly database"), "read-only"),
        (sqlite3.OperationalError("database is locked"), "another program"),
    ],
)
def test_the_cause_is_found_through_optuna(error: Exception, words: str) -> None:
    try:
        try:
            raise error
        except Exception as cause:
            raise optuna.exceptions.StorageInternalError("An exception is raised during the commit.") from cause
    except optuna.exceptions.StorageInternalError as raised:
        found = why_and_advice(raised)
    assert found is not None and words in found[0]


def test_any_other_fault_of_the_database_is_one_line_without_a_password() -> None:
    gone = OperationalError("SELECT 1", {}, Exception("no answer from postgresql://me:s3cret@host/studies\nhint"))
    assert why_and_advice(gone) == (
        "its database fails (no answer from postgresql://me@host/studies)",
        "Put that right",
    )


def test_other_errors_are_not_explained_away() -> None:
    assert why_and_advice(ValueError("no such trial")) is None
    assert why_and_advice(OSError(errno.ENOENT, "No such file or directory")) is None
