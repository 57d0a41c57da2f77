"""``python -m search.validate``: does what the short trainings of a study found hold after full ones?"""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

from trainers.command import INTERRUPTED, command
from trainers.errors import UserError


def main(
    study: Path,
    *,
    points: int = 5,
    images: int | None = None,
    workers: int | None = None,
    json: Annotated[bool, Parameter(negative=())] = False,
) -> int:
    """Train points of a study's front in full, and compare their order and FID with what the trials foretold.

    Models and figures are kept in STUDY/validation; a run that was interrupted goes on when it is given again.

    Example: `python -m search.validate studies/runs/pruning_ratios --points 5`

    Args:
        study: Folder of a study.
        points: Of the front, spread evenly from the best FID to the worst.
        images: Of each full training; when left out as many as the teacher saw, and never fewer than a trial.
        workers: Trainings at a time; as many as this machine holds when left out.
        json: Print one JSON object.
    """
    import sys
    from json import dumps

    from rich.console import Console

    from search.analysis.telling import show
    from search.validation.run import PAGE_FILE, validated
    from search.validation.work import FOLDER
    from search.views import StudyViews

    for option, value, least in (("--points", points, 2), ("--images", images, 1), ("--workers", workers, 1)):
        if value is not None and value < least:
            raise UserError(f"{option} must be at least {least}, got {value}.")
    console = Console(stderr=json, highlight=False, soft_wrap=True, markup=False, emoji=False)
    tell = partial(console.print, markup=False)
    try:
        found = validated(StudyViews.open(study), points=points, images=images, workers=workers, tell=tell)
    except KeyboardInterrupt:
        tell("interrupted; trainings go on from their checkpoints when the same command is given again")
        return INTERRUPTED
    if json:
        sys.stdout.write(dumps(found.as_json(), indent=2, ensure_ascii=False, allow_nan=False) + "\n")
    else:
        show(found, console)
    tell(f"figures: {study / FOLDER / PAGE_FILE}")
    return 0


if __name__ == "__main__":
    command(main, name="python -m search.validate")
