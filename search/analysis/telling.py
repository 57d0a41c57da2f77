"""An analysis in the terminal, and as plain data for other programs."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from search.analysis.finding import Finding
from search.analysis.ranges import ranges_text

if TYPE_CHECKING:
    from rich.console import Console


def show(finding: Finding, console: Console) -> None:
    """What it rests on, the table, the answer, and the ranges as YAML."""
    from rich.box import SIMPLE_HEAD
    from rich.table import Table
    from rich.text import Text

    for note in finding.notes():
        console.print(Text(note))
    table = Table(box=SIMPLE_HEAD, pad_edge=False, padding=(0, 1, 0, 0))
    for place, heading in enumerate(finding.headings()):
        table.add_column(heading, justify="right" if place else "left", no_wrap=not place)
    for row in finding.rows():
        table.add_row(*[Text(cell) for cell in row])
    console.print(table)
    console.print(Text(finding.answer()), style="bold")
    if finding.ranges():
        console.print(Text(f"\nsuggested ranges:\n{ranges_text(finding.ranges())}".rstrip()), soft_wrap=True)


def as_json(finding: Finding) -> dict[str, Any]:
    """Plain data; what could not be measured is null."""
    return {
        "what": finding.what,
        "name": finding.name,
        "is_whole": finding.is_whole,
        "answer": finding.answer(),
        "ranges": {f"prune.{option}": list(ends) for option, ends in finding.ranges().items()},
        **finding.as_json(),
    }
