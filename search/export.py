"""Take one model out of a study, ready to be trained in full: ``python -m search.export STUDY --knee --out DIR``."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from cyclopts import Parameter

from trainers.command import command
from trainers.errors import UserError

if TYPE_CHECKING:
    from search.views import StudyViews, TrialView


def main(
    study: Path,
    *,
    out: Path,
    trial: int | None = None,
    knee: Annotated[bool, Parameter(negative="")] = False,
    maxima: Annotated[Sequence[str], Parameter(name="--max", negative=(), show_default=False)] = (),
    minima: Annotated[Sequence[str], Parameter(name="--min", negative=(), show_default=False)] = (),
    images: int | None = None,
) -> int:
    """Export one trial: its recipe without a knob, weights, measurements and lineage.

    Choose it by --trial, by --knee, or as the best within --max and --min.

    Parameters
    ----------
    study
        Folder of a study.
    out
        Folder to write; it must not exist yet.
    trial
        Number of the trial.
    knee
        The trial at the knee of the front.
    maxima
        The best within a budget, as OBJECTIVE=NUMBER; repeat for several.
    minima
        What an objective that is to be large must reach, as OBJECTIVE=NUMBER; repeat for several.
    images
        Images of the full training; when left out as many as the teacher saw, and never fewer than a trial.
    """
    from rich.console import Console

    from search.exported import export
    from search.views import StudyViews

    if images is not None and images < 1:
        raise UserError(f"--images must be at least 1, got {images}.")
    views = StudyViews.open(study)
    chosen = _chosen(views, trial=trial, knee=knee, maxima=maxima, minima=minima)
    images = export(views, chosen, out, images=images)
    console = Console(highlight=False, markup=False, emoji=False, soft_wrap=True)
    console.print(
        f"trial {chosen.number} is in {out}; train it in full, on {images:,} images, with\n"
        f"  {shlex.join(['python', '-m', 'trainers.full', str(out)])}"
    )
    return 0


def _chosen(
    views: StudyViews, *, trial: int | None, knee: bool, maxima: Sequence[str], minima: Sequence[str]
) -> TrialView:
    from search.best import best
    from search.bounds import read_bounds

    if (trial is not None) + knee + bool(maxima or minima) != 1:
        raise UserError("which trial? Give one of --trial NUMBER, --knee and a budget, --max OBJECTIVE=NUMBER.")
    if knee:
        if views.front.knee is None:
            raise UserError(f"{views.folder} has no knee: no trial is within the limits. Choose one with --trial.")
        trial = views.front.knee
    if trial is not None:
        found = next((known for known in views.complete if known.number == trial), None)
        if found is None:
            numbers = ", ".join(str(known.number) for known in views.complete[:40]) or "none yet"
            raise UserError(f"trial {trial} is not a completed trial of {views.folder}. Completed: {numbers}.")
        return found
    answer = best(views, read_bounds(maxima, "--max"), read_bounds(minima, "--min"))
    if answer.best is None:
        asked = " ".join([*maxima, *minima])
        raise UserError(f"no trial of {views.folder} fits {asked}. See search.best for the nearest.")
    return answer.best


if __name__ == "__main__":
    command(main, name="python -m search.export")
