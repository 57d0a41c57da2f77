"""Mistakes in a space: collected with their places, shown all at once in the order of the file."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from trainers.errors import UserError
from trainers.redaction import without_passwords

_MOST_SHOWN = 100
_LONGEST = 1_000


@dataclass(frozen=True, kw_only=True)
class Place:
    """Where something is written: a line and column of the file (from 1), or the ``--set`` option that brought it."""

    line: int
    column: int
    override: str = ""

    def __str__(self) -> str:
        return f"(from --set {self.override})" if self.override else f"line {self.line}, column {self.column}:"


@dataclass(frozen=True, kw_only=True)
class Mistake:
    """One thing to put right.

    Args:
        text: What was found, what is allowed, what to do.
        path: Key path, such as ``prune.ratio.mid``; empty when the text says it.
        place: None when it is about the whole file.
    """

    text: str
    path: str = ""
    place: Place | None = None

    def __str__(self) -> str:
        where = f"{self.place} " if self.place else ""
        said = where + (f"{self.path}: " if self.path else "") + self.text
        return said if len(said) <= _LONGEST else f"{said[: _LONGEST // 2]} ... {said[-_LONGEST // 4 :]}"


class SpaceError(UserError):
    """Everything that is wrong with a space, or with a candidate of it.

    Args:
        subject: The file, or the candidate.
        mistakes: In the order in which they are shown.
    """

    def __init__(self, subject: str, mistakes: Iterable[Mistake]) -> None:
        self.subject = subject
        self.mistakes = tuple(mistakes)
        super().__init__(subject, self.mistakes)

    def __str__(self) -> str:
        count = len(self.mistakes)
        lines = [f"{self.subject} has {count} {'mistake' if count == 1 else 'mistakes'}:"]
        lines += [str(mistake) for mistake in self.mistakes[:_MOST_SHOWN]]
        lines += [f"and {count - _MOST_SHOWN} more."] if count > _MOST_SHOWN else []
        return without_passwords("\n  ".join(lines))


class Mistakes:
    """The mistakes found so far; one place is reported once, by whoever knows most about it and comes first."""

    def __init__(self) -> None:
        # As a dictionary for its order: a file of nothing but mistakes has thousands.
        self._found: dict[Mistake, None] = {}
        self._marked: set[Place] = set()

    def __len__(self) -> int:
        return len(self._found)

    def add(self, text: str, *, path: str = "", place: Place | None = None) -> None:
        """Keep a mistake, unless the same is known already."""
        self._found.setdefault(Mistake(text=text, path=path, place=place))

    def mark(self, place: Place) -> None:
        """Let ``places`` name ``place`` although the mistake itself is elsewhere."""
        self._marked.add(place)

    def places(self) -> set[Place]:
        """All places with a mistake or a mark: what stands there needs no second complaint."""
        return self._marked | {mistake.place for mistake in self._found if mistake.place}

    def paths(self) -> set[str]:
        """All key paths with a mistake."""
        return {mistake.path for mistake in self._found}

    def raise_for(self, subject: str) -> None:
        """Raise one SpaceError with all mistakes: those of the whole file, then by line, then those of ``--set``."""
        if self._found:
            raise SpaceError(subject, sorted(self._found, key=_order))


def _order(mistake: Mistake) -> tuple[bool, int, int]:
    place = mistake.place
    return (bool(place and place.override), place.line, place.column) if place else (False, 0, 0)
