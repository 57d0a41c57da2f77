"""Points of a study as a table in the terminal; the end of a run and ``search.best`` show it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from search.report.candidate import short
from search.report.number import with_error

if TYPE_CHECKING:
    from rich.table import Table

    from search.views import ObjectiveView, PointView, StudyViews, TrialView


def front_table(views: StudyViews) -> Table:
    """The front from the largest model to the smallest, each with its candidate in short; knee and ties are marked."""
    from rich.text import Text

    table = _empty_table()
    table.add_column("trial", justify="right")
    _add_objectives(table, views)
    table.add_column("candidate", overflow="fold")
    for point in largest_first(views):
        mark = ("~" if point.tied else "") + ("*" if point.trial == views.front.knee else "")
        # Text, not str: a candidate's square brackets are not rich's markup.
        cells = [f"{mark} {point.trial}".lstrip(), *_figures(views, point), short(point.candidate)]
        table.add_row(*[Text(cell) for cell in cells])
    marks = ["* the knee"] if views.front.knee is not None else []
    if any(point.tied for point in views.front.points):
        marks.append("~ tied: another does the same for no more, as far as was measured")
    if marks:
        table.caption, table.caption_justify = "\n".join(marks), "left"
    return table


def roles_table(views: StudyViews, roles: Mapping[str, TrialView | None]) -> Table:
    """One row for each role (best, runner-up) that a trial has."""
    table = _empty_table()
    table.add_column("", no_wrap=True)
    table.add_column("trial", justify="right")
    _add_objectives(table, views)
    for role, trial in roles.items():
        if trial is not None:
            table.add_row(role, str(trial.number), *_figures(views, trial))
    return table


def largest_first(views: StudyViews) -> list[PointView]:
    """Points of the front by the first cost, or by the learned objective when nothing costs, largest first."""
    by = (views.costs or [views.learned])[0].name
    return sorted(views.front.points, key=lambda point: (-point.values[by], point.trial))


def heading(objective: ObjectiveView) -> str:
    """The name, with the unit where the name does not end in it already.

    >>> from search.views import ObjectiveView
    >>> heading(ObjectiveView(name="size_mb", unit="MB")), heading(ObjectiveView(name="energy", unit="J"))
    ('size_mb', 'energy [J]')
    """
    says_unit = not objective.unit or objective.name.lower().endswith("_" + objective.unit.lower().split(" ")[0])
    return objective.name if says_unit else f"{objective.name} [{objective.unit}]"


def _empty_table() -> Table:
    from rich.box import SIMPLE_HEAD
    from rich.table import Table

    # Narrow gaps: four objectives and a readable candidate have to share 80 columns.
    return Table(box=SIMPLE_HEAD, pad_edge=False, padding=(0, 1, 0, 0))


def _add_objectives(table: Table, views: StudyViews) -> None:
    for objective in (views.learned, *views.costs):
        table.add_column(heading(objective), justify="right", no_wrap=True)


def _figures(views: StudyViews, point: PointView | TrialView) -> list[str]:
    # Standard errors of costs are left to the report, for the same 80 columns.
    return [
        with_error(
            point.counted.get(objective.name), point.counted_stderr.get(objective.name) if objective.learned else None
        )
        for objective in (views.learned, *views.costs)
    ]
