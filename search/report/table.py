"""Points of a study as a table in the terminal; the end of a run and ``search.best`` show it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from search.report.candidate import short
from search.report.number import with_error

if TYPE_CHECKING:
    from rich.table import Table

    from search.views import ObjectiveView, PointView, StudyViews, TrialView

_MOST_IN_A_LINE = 5


def front_table(views: StudyViews) -> Table:
    """The front, the largest model first, each with its candidate in short; knee and ties are marked.

    Candidates stand below the table where many objectives leave no room in it.
    """
    from rich.text import Text

    table = _empty_table()
    table.add_column("trial", justify="right", no_wrap=True)
    _add_objectives(table, views)
    points, is_wide = largest_first(views), _is_wide(views)
    if not is_wide:
        table.add_column("candidate", overflow="fold")
    for point in points:
        mark = ("~" if point.tied else "") + ("*" if point.trial == views.front.knee else "")
        # Text, not str: a candidate's square brackets are not rich's markup.
        cells = [f"{mark} {point.trial}".lstrip(), *_figures(views, point)]
        cells += [] if is_wide else [short(point.candidate)]
        table.add_row(*[Text(cell) for cell in cells])
    notes = [f"{point.trial}: {short(point.candidate)}" for point in points] if is_wide else []
    notes += ["* the knee"] if views.front.knee is not None else []
    if any(point.tied for point in points):
        notes.append("~ tied: another does the same for no more, as far as was measured")
    if notes:
        table.caption, table.caption_justify = Text("\n".join(notes)), "left"
    return table


def roles_table(views: StudyViews, roles: Mapping[str, TrialView | None]) -> Table:
    """One row for each role (best, runner-up) that a trial has."""
    table = _empty_table()
    table.add_column("", no_wrap=True)
    table.add_column("trial", justify="right", no_wrap=True)
    _add_objectives(table, views)
    for role, trial in roles.items():
        if trial is not None:
            table.add_row(role, str(trial.number), *_figures(views, trial))
    return table


def size_of(costs: Sequence[ObjectiveView]) -> ObjectiveView | None:
    """The cost that says how large a model is, the first that is to be small and not learned; None where none is."""
    return next((cost for cost in costs if cost.goal == "min" and not cost.learned), None)


def sort_value(point: PointView, learned: ObjectiveView, costs: Sequence[ObjectiveView]) -> float:
    """By which points are sorted: the largest come first, or where nothing says how large they are, the best."""
    size = size_of(costs)
    if size is not None:
        return -point.values[size.name]
    return point.values[learned.name] if learned.goal == "min" else -point.values[learned.name]


def order_in_words(costs: Sequence[ObjectiveView]) -> str:
    """How ``sort_value`` sorts."""
    return "from the largest model to the smallest" if size_of(costs) else "from the best model to the worst"


def largest_first(views: StudyViews) -> list[PointView]:
    """Points of the front in the order of ``sort_value``."""
    return sorted(views.front.points, key=lambda point: (sort_value(point, views.learned, views.costs), point.trial))


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
        said = heading(objective)
        table.add_column(said.replace("_", "_\n") if _is_wide(views) else said, justify="right", no_wrap=True)


def _is_wide(views: StudyViews) -> bool:
    """Whether 80 columns have no room for a candidate beside so many objectives, nor for their names in one line."""
    return len(views.front.objectives) > _MOST_IN_A_LINE


def _figures(views: StudyViews, point: PointView | TrialView) -> list[str]:
    # Standard errors of costs are left to the report, for the same 80 columns; all, where there are many objectives.
    return [
        with_error(
            point.counted.get(objective.name),
            point.counted_stderr.get(objective.name) if objective.learned and not _is_wide(views) else None,
        )
        for objective in (views.learned, *views.costs)
    ]
