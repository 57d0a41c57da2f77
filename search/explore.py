"""``python -m search.explore``: write the report of one or more studies again, and say where it lies."""

from __future__ import annotations

from pathlib import Path

from trainers.command import command


def main(study: Path, *studies: Path) -> int:
    """Write the report of each study: one page with its front, pictures and figures that opens offline.

    Args:
        study: Folder of a study.
        studies: Folders of further studies.
    """
    from rich.console import Console

    from search.report.page import write_report
    from search.views import StudyViews

    console = Console()
    # All are read before any is written: a mistyped second folder costs nothing.
    for views in [StudyViews.open(folder) for folder in (study, *studies)]:
        console.print(str(write_report(views)), soft_wrap=True, markup=False, highlight=False)
    return 0


if __name__ == "__main__":
    command(main, name="python -m search.explore")
