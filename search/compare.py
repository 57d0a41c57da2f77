"""Compare studies, or a few recipes by hand: ``python -m search.compare STUDY STUDY``, or a YAML file of recipes."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

from trainers.command import command
from trainers.errors import UserError
from trainers.foreign import place_of


def main(
    first: Path,
    *others: Path,
    workers: int | None = None,
    out: Path | None = None,
    json: Annotated[bool, Parameter(negative="")] = False,
) -> int:
    """Compare the fronts of studies; or train each recipe of a YAML file on equally many images, and judge its claims.

    Of recipes, nothing measured is lost: the same command goes on where it was stopped.

    Parameters
    ----------
    first
        Folder of a study; or a comparison in YAML: data, teacher, objectives, images, seeds, recipes and claims.
    others
        Folders of further studies.
    workers
        Of recipes: processes; one per core when left out.
    out
        Of studies: the page, an HTML file; in the first study's folder when left out. Of recipes: folder of the
        results; studies/runs/compare-NAME when left out.
    json
        Print the answer as JSON.
    """
    if workers is not None and workers < 1:
        raise UserError(f"--workers must be at least 1, got {workers}.")
    if not others and not place_of(first).is_dir():
        from search.comparison.telling import compare_recipes

        return compare_recipes(first, workers=workers, out=out, as_json=json)
    return _compare_studies([first, *others], workers=workers, out=out, as_json=json)


def _compare_studies(folders: Sequence[Path], *, workers: int | None, out: Path | None, as_json: bool) -> int:
    import sys
    from json import dumps

    from rich.console import Console

    from search.contrast.contrast import Contrast
    from search.contrast.page import write_page
    from search.contrast.telling import show
    from search.views import StudyViews

    if workers is not None:
        raise UserError("--workers is for a file of recipes; studies are only read. Leave it out.")
    if len(folders) < 2:
        raise UserError(f"{folders[0]} is one study: compare it with which other? Name two or more.")
    contrast = Contrast.of([StudyViews.open(folder) for folder in folders])
    page = write_page(contrast, out or folders[0] / "comparison.html")
    if as_json:
        sys.stdout.write(dumps({**contrast.as_json(), "page": str(page)}, indent=1) + "\n")
    else:
        console = Console(highlight=False, markup=False, emoji=False)
        show(contrast, console)
        console.print(f"page: {page}", soft_wrap=True, markup=False)
    return 0


if __name__ == "__main__":
    command(main, name="python -m search.compare")
