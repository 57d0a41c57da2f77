"""The answer to a budget in the terminal: a table, what to make of it, and the command to paste next."""

from __future__ import annotations

import shlex
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

from search.report.candidate import short
from search.report.number import number
from search.report.table import roles_table

if TYPE_CHECKING:
    from rich.console import Console

    from search.best import Answer
    from search.views import PointView, StudyViews, TrialView

_FEW = 6  # trials that a sentence names


def show(views: StudyViews, answer: Answer, console: Console) -> None:
    """Print the answer."""
    roles = {"best": answer.best, "runner-up": answer.runner_up, "nearest miss": answer.nearest_miss}
    console.print(roles_table(views, roles))
    candidates = [f"Trial {trial.number}: {short(trial.candidate)}" for trial in roles.values() if trial]
    for line in (*candidates, "", *sentences(views, answer)):
        # Neither wrapped nor styled: the last line is there to be pasted.
        console.print(line, soft_wrap=True, markup=False, highlight=False)


def sentences(views: StudyViews, answer: Answer) -> Iterable[str]:
    """What the table does not say: ties, by how much the nearest misses, where the model lies, how to export it."""
    learned, miss = views.learned.name, answer.nearest_miss
    if answer.best is None:
        assert miss is not None, "a study with a complete trial has a nearest one"
        yield f"No trial fits the budget. Nearest is trial {miss.number}: {_outside(answer)}."
        yield f"To take it: {export_command(views, miss)}"
        return
    if not answer.best.confirmed and len(views.eligible) < len(views.complete):
        yield (
            f"No trial that was measured again fits. Trial {answer.best.number} was measured once, during the search, "
            f"so its {learned} may be luck."
        )
    if answer.tied:
        tied = listed([trial.number for trial in (answer.best, *answer.tied)])
        yield (
            f"Trials {tied} are tied at this sample count: "
            f"their {learned} is within 2 combined standard errors of the best."
        )
    if miss is not None:
        yield f"Nearest miss: trial {miss.number} has a better {learned}, but {_outside(answer)}."
    yield f"Folder: {views.folder / answer.best.path}"
    yield f"Export: {export_command(views, answer.best)}"


def listed(numbers: Sequence[int]) -> str:
    """Trials as a sentence has them, the first few.

    >>> listed([17]), listed([17, 22]), listed([17, 22, 30]), listed(range(9))
    ('17', '17 and 22', '17, 22 and 30', '0, 1, 2, 3, 4, 5 and 3 more')
    """
    shown = [str(number) for number in numbers[:_FEW]]
    shown += [f"{len(numbers) - _FEW} more"] if len(numbers) > _FEW else []
    return " and ".join(part for part in (", ".join(shown[:-1]), *shown[-1:]) if part)


def export_command(views: StudyViews, trial: PointView | TrialView) -> str:
    """The command that exports ``trial``, ready to paste."""
    return f"python -m search.export {shlex.quote(str(views.folder))} --trial {trial.number} --out my-student"


def _outside(answer: Answer) -> str:
    return ", ".join(_how_far(answer, name, share) for name, share in answer.excess.items())


def _how_far(answer: Answer, name: str, share: float) -> str:
    bound, side = (answer.maxima[name], "above") if name in answer.maxima else (answer.minima[name], "below")
    amount = f"{number(100 * share, digits=2)} %" if bound else number(share)
    return f"{name} is {amount} {side} {number(bound)}"
