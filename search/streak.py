"""Failures in a row: when they are of one kind, the fault is hardly the trials', and more of them burn the budget."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from search.ends import Kind

_TOO_MANY = 5


@dataclass
class Streak:
    """Failures of one kind without a success between them that went as far as they were to go.

    A success on the way to less proves nothing: where the last rung alone fails, the first ones go on succeeding. Jobs
    that ran when the last node was lost, and are lost with it or with others, do not count again: machines are taken
    away many at a time, and with each goes all that runs on it.

    Args:
        share: Of a full training: the most that one of them was to reach.
        reason, path: Of the last one, and where its files are, relative to the study's folder.
        ever: How many failures were counted since the study was opened.
    """

    kind: Kind | None = None
    length: int = 0
    share: float = 0.0
    reason: str = ""
    path: str = ""
    ever: int = 0

    def add(self, kind: Kind, reason: str, path: str, *, share: float, since: int = 0) -> None:
        """Another job failed that was to take a trial to this share; ``since`` is ``ever`` when it began."""
        if kind != self.kind:
            self.length, self.share = 0, 0.0
        if not (kind == self.kind == "lost_node" and since < self.ever):
            self.length, self.ever = self.length + 1, self.ever + 1
        self.kind, self.reason, self.path, self.share = kind, reason, path, max(self.share, share)

    def end(self, share: float) -> None:
        """A job took a trial to this share."""
        if share >= self.share - 1e-9:
            self.kind, self.length, self.share = None, 0, 0.0

    @property
    def is_too_long(self) -> bool:
        """Whether nothing more should be begun."""
        return self.length >= _TOO_MANY
