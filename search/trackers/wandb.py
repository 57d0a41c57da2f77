"""Weights & Biases: a run for each trial."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

from search.trackers.tracker import TRACKERS, Log, Told, Tracker


@TRACKERS.register("wandb")
@dataclass(frozen=True, kw_only=True)
class Wandb(Tracker):
    """A run for each trial, in a group for the study; who and where is as in wandb's own settings.

    Args:
        project: Name of the project.
    """

    package: ClassVar[str] = "wandb"

    project: str = "slimfront"

    @contextmanager
    def log(self, study: str, folder: Path) -> Iterator[Log]:
        yield _Runs(self.project, folder)


class _Runs:
    def __init__(self, project: str, folder: Path) -> None:
        self._project = project
        self._folder = folder

    def tell(self, told: Told) -> None:
        import wandb

        run = wandb.init(
            project=self._project,
            group=told.study,
            name=told.name,
            # A trial that is measured again, or a study that goes on, adds to the same run.
            id=told.name,
            resume="allow",
            config=dict(told.knobs),
            tags=[told.state],
            dir=str(self._folder),
            reinit="finish_previous",
            settings=wandb.Settings(silent=True),
        )
        pictures = {} if told.strip is None else {"samples": wandb.Image(str(told.strip))}
        run.log({**told.values, **pictures})
        run.finish()
