"""The Tracker contract: who is told of each trial that ends, beside the study itself."""

from __future__ import annotations

import importlib.util
from abc import ABC, abstractmethod
from collections.abc import Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar, Protocol

from trainers.errors import UserError
from trainers.registry import Registry


@dataclass(frozen=True, kw_only=True)
class Told:
    """What a tracker is told of a trial.

    Args:
        study: Name.
        knobs: Path -> value.
        values: Objective -> value; those measured again, too, as ``confirmed/fid``.
        strip: The image of what the model draws; None where there is none.
    """

    study: str
    trial: int
    state: str
    knobs: Mapping[str, str | int | float | bool | None]
    values: Mapping[str, float]
    strip: Path | None

    @property
    def name(self) -> str:
        """Of the trial among those of all studies."""
        return f"{self.study}-{self.trial:04d}"


class Log(Protocol):
    """An open connection to a tracker."""

    def tell(self, told: Told) -> None:
        """Log a trial that ended, or was measured again; one that was stopped early when the study is finished."""


@dataclass(frozen=True, kw_only=True)
class Tracker(ABC):
    """Where trials are logged. The fields of a subclass are its options in YAML."""

    #: What has to be installed.
    package: ClassVar[str]

    @abstractmethod
    def log(self, study: str, folder: Path) -> AbstractContextManager[Log]:
        """A connection for the study of that name, whose folder may hold what is logged."""

    def check(self) -> None:
        """The package is installed.

        Raises:
            UserError: when it is not.
        """
        if importlib.util.find_spec(self.package) is None:
            name = TRACKERS.name_of(self)
            raise UserError(
                f"tracker: {name} needs the package {self.package!r}, which is not installed. "
                f"Run `pip install {self.package}`, or leave tracker out."
            )


TRACKERS: Registry[Tracker] = Registry("tracker", folders=("search.trackers",))
