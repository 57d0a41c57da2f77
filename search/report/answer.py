"""The answer to a budget, as plain data and in the terminal: a table, what to make of it, and the command to paste."""

from __future__ import annotations

import math
import shlex
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from search._study_folder import command_again
from search.report.candidate import short
from search.report.number import number
from search.report.table import roles_table

if TYPE_CHECKING:
    from rich.console import Console

    from search.best import Answer
    from search.insight.proposal import Proposal
    from search.views import PointView, StudyViews, TrialView

NO_MODEL = "This copy of the study holds what was measured, not the models: search its space again to have them."
_FEW = 6  # trials that a sentence names


def show(views: StudyViews, answer: Answer, console: Console, *, written: Path | None = None) -> None:
    """Print the answer; ``written`` is the file that has the proposed candidate."""
    roles = {"best": answer.best, "runner-up": answer.runner_up, "nearest miss": answer.nearest_miss}
    _show(views, roles, console, sentences(views, answer, written=written))


def show_knee(views: StudyViews, trial: TrialView, console: Console) -> None:
    """Print the knee, why it is one and how to export it."""
    from search.report.knee import knee_reason  # it says values as cards do, and these name trials as is done here

    _show(views, {"knee": trial}, console, [knee_reason(views) or "", *_taking(views, trial)])


def _show(views: StudyViews, roles: Mapping[str, TrialView | None], console: Console, lines: Iterable[str]) -> None:
    console.print(roles_table(views, roles))
    candidates = [f"Trial {trial.number}: {short(trial.candidate)}" for trial in roles.values() if trial]
    for line in (*candidates, "", *lines):
        # Neither wrapped nor styled: the last line is there to be pasted.
        console.print(line, soft_wrap=True, markup=False, highlight=False)


def sentences(views: StudyViews, answer: Answer, *, written: Path | None = None) -> Iterable[str]:
    """What the table does not say: ties, by how much the nearest misses, what was not tried, how to export it."""
    judged, miss = _judged(views, answer), answer.nearest_miss
    if answer.weighing is not None and answer.best is not None:
        yield f"Lowest {answer.weighing.formula}: {number(answer.weighing.score(answer.best))}."
    if answer.best is None:
        assert miss is not None, "a study with a complete trial has a nearest one"
        yield f"No trial fits the budget. Nearest is trial {miss.number}: {_outside(answer)}."
        yield from _proposed(views, answer, written)
        yield f"To take it: {export_command(views, miss)}" if views.has_model(miss) else NO_MODEL
        return
    if not answer.best.confirmed and len(views.eligible) < len(views.comparable):
        yield (
            f"No trial that was measured again fits. Trial {answer.best.number} was measured once, during the search, "
            f"so its {views.learned.name} may be luck."
        )
    if answer.tied:
        tied = listed([trial.number for trial in (answer.best, *answer.tied)])
        yield (
            f"Trials {tied} are tied at this sample count: "
            f"their {judged} is within 2 combined standard errors of the best."
        )
    if miss is not None:
        yield f"Nearest miss: trial {miss.number} has a better {judged}, but {_outside(answer)}."
    yield from _proposed(views, answer, written)
    yield from _taking(views, answer.best)


def expectation(views: StudyViews, proposal: Proposal) -> str:
    """What is expected of a candidate that was not tried, in one line."""
    ends = f"{number(proposal.low, digits=2)} to {number(proposal.high, digits=2)}"
    learned = f"{views.learned.name} {number(proposal.expected)} (90 %: {ends})"
    return ", ".join([learned, *(f"{name} {number(value)}" for name, value in proposal.costs.items())])


def _judged(views: StudyViews, answer: Answer) -> str:
    return "weighted sum" if answer.weighing else views.learned.name


def _taking(views: StudyViews, trial: TrialView) -> list[str]:
    if not views.has_model(trial):
        return [NO_MODEL]
    return [f"Folder: {views.folder / trial.path}", f"Export: {export_command(views, trial)}"]


def _proposed(views: StudyViews, answer: Answer, written: Path | None) -> Iterable[str]:
    proposal = answer.proposal
    if proposal is None:
        return
    yield f"Not tried, but predicted: {expectation(views, proposal)}, for {short(proposal.candidate)}."
    if proposal.chance is not None:
        than = f"trial {answer.best.number}" if answer.best else "the bound"
        yield f"It is better than {than} with a probability of {100 * proposal.chance:.0f} %, says the study's model."
    file = written or Path("candidate.yaml")
    run = f"{command_again(views.folder)} --try {shlex.quote(str(file))}"
    if not views.can_go_on:
        yield f"The study cannot go on from {views.folder}, a copy; where it can, --write-candidate and --try do."
    elif written:
        yield f"To try it: {run}"
    else:
        yield f"To try it: the same with --write-candidate {file}, then {run}"


def listed(names: Sequence[object]) -> str:
    """Trials or studies as a sentence has them, the first few.

    >>> listed([17]), listed([17, 22]), listed([17, 22, 30]), listed(range(9))
    ('17', '17 and 22', '17, 22 and 30', '0, 1, 2, 3, 4, 5 and 3 more')
    """
    shown = [str(name) for name in names[:_FEW]]
    shown += [f"{len(names) - _FEW} more"] if len(names) > _FEW else []
    return " and ".join(part for part in (", ".join(shown[:-1]), *shown[-1:]) if part)


def export_command(views: StudyViews, trial: PointView | TrialView) -> str:
    """The command that exports ``trial``, ready to paste."""
    return f"python -m search.export {shlex.quote(str(views.folder))} --trial {trial.number} --out my-student"


def as_json(answer: Answer) -> dict[str, Any]:
    """The answer as plain data; "trial" is None when nothing fits."""
    miss = record(answer.nearest_miss)
    return {
        **(record(answer.best) or dict.fromkeys(("trial", "values", "stderr", "confirmed", "candidate", "path"))),
        "runner_up": record(answer.runner_up),
        "nearest_miss": miss and {**miss, "excess": dict(answer.excess)},
        "tied": bool(answer.tied),
        "tied_with": [trial.number for trial in answer.tied],
        "max": dict(answer.maxima),
        "min": dict(answer.minima),
        "weighing": _weighed(answer),
        "predicted": asdict(answer.proposal) if answer.proposal else None,
    }


def _weighed(answer: Answer) -> dict[str, Any] | None:
    if answer.weighing is None:
        return None
    found = {"best": answer.best, "runner_up": answer.runner_up}
    scores = {role: answer.weighing.score(trial) for role, trial in found.items() if trial is not None}
    return {"weights": dict(answer.weighing.weights), "formula": answer.weighing.formula, "scores": scores}


def record(trial: TrialView | None) -> dict[str, Any] | None:
    """A trial as plain data."""
    if trial is None:
        return None
    return {
        "trial": trial.number,
        "values": trial.counted,
        # JSON has no word for what is not known, which may be NaN.
        "stderr": {name: _known(error) for name, error in trial.counted_stderr.items()},
        "confirmed": bool(trial.confirmed),
        "candidate": trial.candidate,
        "path": trial.path,
    }


def _known(error: float | None) -> float | None:
    return error if error is not None and math.isfinite(error) else None


def _outside(answer: Answer) -> str:
    return ", ".join(_how_far(answer, name, share) for name, share in answer.excess.items())


def _how_far(answer: Answer, name: str, share: float) -> str:
    bound, side = (answer.maxima[name], "above") if name in answer.maxima else (answer.minima[name], "below")
    amount = f"{number(100 * share, digits=2)} %" if bound else number(share)
    return f"{name} is {amount} {side} {number(bound)}"
