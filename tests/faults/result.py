"""What became of a study under a fault: the line of the table."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from sqlalchemy import Engine

from tests.faults.driver import Driver, database, paid_file
from tests.faults.home import study_of
from tests.faults.ledger import acknowledged, lost, paid_twice


@dataclass(frozen=True, kw_only=True)
class Result:
    """A row.

    Args:
        times: How often the fault struck.
        acknowledged: Results that the database held when it struck.
        lost: Those that were gone or changed afterwards, and files of complete trials that cannot be read.
        paid_twice: Trainings to a rung that were begun more than once.
        in_flight: How many of them had not ended when the fault struck, at most; more must not be paid twice.
        outcome: What the study did, in a few words, or what it said.
        seconds: From the command after the fault, or from the fault, until it trained again.
    """

    times: int = 1
    acknowledged: int = 0
    lost: Sequence[str] = field(default_factory=tuple)
    paid_twice: int = 0
    in_flight: int = 0
    outcome: str = ""
    seconds: float | None = None

    @property
    def holds(self) -> bool:
        """Whether there was something to lose, nothing was lost, and nothing more paid than what was in flight."""
        return self.acknowledged > 0 and not self.lost and self.paid_twice <= self.in_flight


class CannotTryError(Exception):
    """This machine does not let us do that."""


Row = Callable[[Path, bool], Result]


def has_begun(driver: Driver) -> bool:
    """Whether it trains or measures, after all that comes before."""
    return any(word in driver.said for word in (" starts: ", " goes on to ", " is measured again"))


def continued(home: Path, *, faults: Mapping[str, Any] | None = None) -> tuple[Driver, float]:
    """The command given again after a fault, run to its end; and the seconds until it did something new or ended."""
    driver = Driver.start(home, faults=faults)
    driver.wait_until(lambda: has_begun(driver))
    seconds = time.monotonic() - driver.begun
    driver.wait()
    return driver, seconds


def judged(
    home: Path,
    before: dict[str, str],
    *,
    in_flight: int,
    outcome: str,
    seconds: Sequence[float] = (),
    kept: Engine | None = None,
) -> Result:
    """Compare the study with what it had acknowledged; ``kept`` where that is in no file."""
    return Result(
        acknowledged=len(before),
        lost=(*lost(before, acknowledged(database(home) if kept is None else kept)), *unreadable(study_of(home))),
        paid_twice=paid_twice(paid_file(home)),
        in_flight=in_flight,
        outcome=outcome,
        seconds=statistics.median(seconds) if seconds else None,
    )


def ended(driver: Driver) -> str:
    """What the last command did: ``ends``, or its exit code and last line."""
    code = driver.process.exitcode
    if code == 0:
        return "ends"
    lines = [line for line in driver.said.splitlines() if line.strip()]
    return f"exit {code}: {lines[-1].strip() if lines else 'nothing said'}"


def has_traceback(driver: Driver) -> bool:
    """Whether it fell over instead of saying what to do."""
    return "Traceback (most recent call last)" in driver.said


def unreadable(study: Path) -> list[str]:
    """Files of complete trials, and views, that cannot be used."""
    import json

    from ruamel.yaml import YAML

    from search.views import StudyViews
    from trainers.errors import UserError
    from trainers.models import files

    try:
        views = StudyViews.open(study)
    except UserError as error:
        return [f"views: {error}"]
    bad = []
    for trial in views.complete:
        folder = study / trial.path
        try:
            files.load(folder)
            json.loads((folder / "measurements.json").read_text())
            assert YAML(typ="safe").load((folder / "recipe.yaml").read_text())["recipe"], "recipe.yaml is empty"
            assert (folder / "log.txt").read_text(), "log.txt is empty"
        except (UserError, OSError, ValueError, TypeError, AssertionError) as error:
            bad.append(f"{trial.path}: {str(error).splitlines()[0]}")
    return bad
