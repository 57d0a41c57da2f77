"""``python -m search.explore``: write the report of one or more studies again, and say where it lies."""

from __future__ import annotations

from pathlib import Path

from trainers.command import command
from trainers.errors import UserError


def main(study: Path, *studies: Path, out: Path | None = None) -> int:
    """Write the report of each study, one page that opens offline; of several also one with all fronts in one figure.

    Args:
        study: Folder of a study.
        studies: Folders of further studies.
        out: The page with all fronts; `overlay.html` in the first study's folder when left out.
    """
    from rich.console import Console

    from search.report.alike import shared_objectives
    from search.report.overlay import OVERLAY_FILE, write_overlay
    from search.report.page import write_report
    from search.views import StudyViews

    if out is not None and not studies:
        raise UserError(f"--out {out} is for a page with several studies. Name another one, or leave --out away.")
    console = Console(markup=False, emoji=False)
    # All are read and compared before any is written: a mistyped second folder costs nothing.
    opened = [StudyViews.open(folder) for folder in (study, *studies)]
    if studies:
        shared_objectives(opened)
    try:
        pages = [write_report(views) for views in opened]
    except OSError as error:
        raise UserError(
            f"the report of a study lies in its folder, where it cannot be written ({error}). "
            "Make the folder writable, or free some disk space."
        ) from error
    pages += [write_overlay(opened, out or study / OVERLAY_FILE)] if studies else []
    for page in pages:
        console.print(str(page), soft_wrap=True, markup=False, highlight=False)
    return 0


if __name__ == "__main__":
    command(main, name="python -m search.explore")
