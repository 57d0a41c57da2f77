"""A contrast of studies in the terminal."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

from search.contrast.contrast import Contrast
from search.contrast.wording import answer, fronts_headings, fronts_row, knobs_headings, knobs_row, notes

if TYPE_CHECKING:
    from rich.console import Console
    from rich.table import Table


def show(contrast: Contrast, console: Console) -> None:
    """Both tables, what they rest on, and the answer."""
    from rich.text import Text

    console.print(_table(fronts_headings(contrast), (fronts_row(contrast, side) for side in contrast.best_first)))
    console.print(_table(knobs_headings(contrast), (knobs_row(contrast, knob) for knob in contrast.knobs)))
    for note in notes(contrast):
        console.print(Text(note), style="dim")
    console.print(Text(answer(contrast)), style="bold")


def _table(titles: Sequence[str], rows: Iterable[Sequence[str]]) -> Table:
    from rich.box import SIMPLE_HEAD
    from rich.table import Table
    from rich.text import Text

    table = Table(box=SIMPLE_HEAD, pad_edge=False, padding=(0, 1, 0, 0))
    for place, title in enumerate(titles):
        table.add_column(title, overflow="fold", no_wrap=not place)
    for row in rows:
        table.add_row(*[Text(cell) for cell in row])
    return table
