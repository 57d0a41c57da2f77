"""Failures in a row: when they are of one kind, the fault is hardly the trials', and more of them burn the budget."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from search.ends import Kind

_TOO_MANY = 5


@dataclass
class Streak:
    """Failures of one kind without a success between them.

    Args:
        reason, path: Of the last one, and where its files are, relative to the study's folder.
    """

    kind: Kind | None = None
    length: int = 0
    reason: str = ""
    path: str = ""

    def add(self, kind: Kind, reason: str, path: str) -> None:
        """Another job failed."""
        self.length = self.length + 1 if kind == self.kind else 1
        self.kind, self.reason, self.path = kind, reason, path

    def end(self) -> None:
        """A job came to its end."""
        self.kind, self.length = None, 0

    @property
    def is_too_long(self) -> bool:
        """Whether nothing more should be begun."""
        return self.length >= _TOO_MANY
