"""What every analysis gives back: a sentence, a table, figures, pictures, and ranges for knobs."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

from search.analysis.ranges import Ranges


@dataclass(frozen=True, kw_only=True)
class Panel:
    """A figure of the page.

    Args:
        figure: Plotly's, in plain data.
        legend: Name of each of its series, in the order of ``figures.role``.
    """

    title: str
    figure: dict[str, Any]
    legend: Sequence[str]


@dataclass(frozen=True, kw_only=True)
class Picture:
    """What a model draws from the noise that all strips share.

    Args:
        row, column: Where it stands in the table of pictures.
        strip: A WEBP file.
        text: What it shows, for those who cannot see it.
    """

    row: str
    column: str
    strip: bytes
    text: str


class Finding(ABC):
    """An analysis that ended, or was interrupted."""

    #: As on the command line, and its title.
    what: ClassVar[str]
    title: ClassVar[str]
    #: Of the model.
    name: str

    @property
    def is_whole(self) -> bool:
        """False when it was interrupted: what there is was measured all the same."""
        return True

    @abstractmethod
    def answer(self) -> str:
        """What was found, in one sentence."""

    @abstractmethod
    def headings(self) -> list[str]:
        """Of the columns of ``rows``."""

    @abstractmethod
    def rows(self) -> list[list[str]]:
        """The table."""

    @abstractmethod
    def notes(self) -> list[str]:
        """What it rests on, one sentence each."""

    @abstractmethod
    def panels(self) -> list[Panel]:
        """The figures of the page."""

    @abstractmethod
    def as_json(self) -> dict[str, Any]:
        """Everything that was measured, as plain data."""

    def ranges(self) -> Ranges:
        """What a search should try, by knob; empty where nothing follows."""
        return {}

    def pictures(self) -> list[Picture]:
        """What the models draw."""
        return []
