"""A command as on a command line, but in this process: what it said, and its exit code."""

from __future__ import annotations

import contextlib
import importlib
import io
import sys
from collections.abc import Sequence
from dataclasses import dataclass

import pytest

from trainers.command import command


@dataclass(frozen=True)
class Outcome:
    """What a command left behind: exit code, what it printed, and what it complained about."""

    code: int
    out: str
    err: str


def called(module: str, arguments: Sequence[object]) -> Outcome:
    """Start and end ``python -m module arguments`` as on a command line."""
    out, err, code = io.StringIO(), io.StringIO(), None
    with pytest.MonkeyPatch.context() as patch, contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        patch.setattr(sys, "argv", [module, *map(str, arguments)])
        try:
            command(importlib.import_module(module).main, name=f"python -m {module}")
        except SystemExit as end:
            code = end.code
    assert isinstance(code, int)
    return Outcome(code, out.getvalue(), err.getvalue())
