"""``python -m search.best``: the best model of a study within a budget, the runner-up and the nearest miss."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from cyclopts import Parameter

from trainers.command import command
from trainers.errors import UserError

if TYPE_CHECKING:
    from search.views import ObjectiveView, StudyViews, TrialView


@dataclass(frozen=True, kw_only=True)
class Answer:
    """The trials that answer a budget; None where there is no such trial.

    Args:
        best: The best learned objective (FID) within the budget.
        runner_up: The next one within the budget.
        nearest_miss: Better than ``best`` but outside the budget, by the least; when nothing fits, the nearest of all.
        excess: By which share of its limit the nearest miss is outside: ``{"size_mb": 0.07}`` is 7 % too large.
        tied: Every other trial within the budget whose learned objective cannot be told apart from that of ``best``
            at this sample count, best first.
    """

    best: TrialView | None
    runner_up: TrialView | None
    nearest_miss: TrialView | None
    excess: Mapping[str, float]
    tied: Sequence[TrialView]
    maxima: Mapping[str, float]
    minima: Mapping[str, float]


def best(views: StudyViews, maxima: Mapping[str, float], minima: Mapping[str, float] | None = None) -> Answer:
    """The best complete trial of ``views`` within the budget; not only those on the front are asked.

    Once trials were measured again, the others are asked only where none of these fits: their first measurement may
    be luck.
    """
    from search.front import best_within, fits, minimised

    minima = minima or {}
    objectives = [views.learned, *views.costs]
    _check_bounds(objectives, maxima, flag="--max", goal="min")
    _check_bounds(objectives, minima, flag="--min", goal="max")
    _check_trials(views)
    goals = [objective.goal for objective in objectives]
    names = [objective.name for objective in objectives]
    bounds = {**maxima, **minima}
    turned = [
        minimised([bounds[name]], [goal])[0] if name in bounds else math.inf
        for name, goal in zip(names, goals, strict=True)
    ]
    trials = views.eligible
    values = minimised([[trial.value(name) for name in names] for trial in trials], goals)
    if not fits(values, turned).any():
        trials = views.complete
        values = minimised([[trial.value(name) for name in names] for trial in trials], goals)
    choice = best_within(values, turned)
    first = _at(trials, choice.best)
    fitting = [trial for trial, is_fitting in zip(trials, fits(values, turned), strict=True) if is_fitting]
    return Answer(
        best=first,
        runner_up=_at(trials, choice.runner_up),
        nearest_miss=_at(trials, choice.nearest_miss),
        excess={name: float(excess) for name, excess in zip(names, choice.excess, strict=True) if excess > 0},
        tied=_tied(first, fitting, views.learned) if first else (),
        maxima=dict(maxima),
        minima=dict(minima),
    )


def main(
    study: Path,
    *,
    maxima: Annotated[Sequence[str], Parameter(name="--max", negative=(), show_default=False)] = (),
    minima: Annotated[Sequence[str], Parameter(name="--min", negative=(), show_default=False)] = (),
    json: Annotated[bool, Parameter(negative=())] = False,
) -> int:
    """Best model of a study within a budget, the runner-up, and the nearest miss.

    Example: `python -m search.best studies/runs/pruning_ratios --max size_mb=1 --max latency_ms=5`

    Args:
        study: Folder of a study.
        maxima: What it may cost at most, as OBJECTIVE=NUMBER; repeat for several.
        minima: What an objective that is to be large must reach, as OBJECTIVE=NUMBER; repeat for several.
        json: Print one JSON object. Its "trial" is null when nothing fits.
    """
    from search.views import StudyViews

    views = StudyViews.open(study)
    answer = best(views, read_bounds(maxima, "--max"), read_bounds(minima, "--min"))
    if json:
        _write_json(answer)
    else:
        from rich.console import Console

        from search.report.answer import show

        show(views, answer, Console())
    return 0


def as_json(answer: Answer) -> dict[str, Any]:
    """The answer as plain data; "trial" is None when nothing fits."""
    miss = _record(answer.nearest_miss)
    return {
        **(_record(answer.best) or dict.fromkeys(("trial", "values", "stderr", "confirmed", "candidate", "path"))),
        "runner_up": _record(answer.runner_up),
        "nearest_miss": miss and {**miss, "excess": dict(answer.excess)},
        "tied": bool(answer.tied),
        "tied_with": [trial.number for trial in answer.tied],
        "max": dict(answer.maxima),
        "min": dict(answer.minima),
    }


def _record(trial: TrialView | None) -> dict[str, Any] | None:
    if trial is None:
        return None
    return {
        "trial": trial.number,
        "values": trial.counted,
        "stderr": trial.counted_stderr,
        "confirmed": bool(trial.confirmed),
        "candidate": trial.candidate,
        "path": trial.path,
    }


def _write_json(answer: Answer) -> None:
    import json
    import sys

    sys.stdout.write(json.dumps(as_json(answer), indent=2, ensure_ascii=False) + "\n")


def _at(trials: Sequence[TrialView], index: int | None) -> TrialView | None:
    return None if index is None else trials[index]


def _tied(best: TrialView, trials: Sequence[TrialView], learned: ObjectiveView) -> list[TrialView]:
    from search.front import indistinguishable

    def is_tied(trial: TrialView) -> bool:
        name = learned.name
        errors = {"stderr": best.error(name), "stderr_other": trial.error(name)}
        return bool(indistinguishable(best.value(name), trial.value(name), **errors))

    sign = 1 if learned.goal == "min" else -1
    tied = [trial for trial in trials if trial is not best and is_tied(trial)]
    return sorted(tied, key=lambda trial: sign * trial.value(learned.name))


def read_bounds(texts: Sequence[str], flag: str) -> dict[str, float]:
    """Bounds by objective from ``OBJECTIVE=NUMBER`` texts. ``UserError`` where one is written otherwise."""
    bounds: dict[str, float] = {}
    for text in texts:
        name, equals, number = (part.strip() for part in text.partition("="))
        try:
            value = float(number) if name and equals else math.nan
        except ValueError:
            value = math.nan
        if not math.isfinite(value):
            raise UserError(f"{flag} {text!r} is not OBJECTIVE=NUMBER. Write, for example, {flag} size_mb=1.5")
        if name in bounds:
            raise UserError(f"{flag} {name} is given twice ({bounds[name]:g} and {value:g}). Keep one of the two.")
        bounds[name] = value
    return bounds


def _check_bounds(objectives: Sequence[ObjectiveView], bounds: Mapping[str, float], *, flag: str, goal: str) -> None:
    import difflib

    goals = {objective.name: objective.goal for objective in objectives}
    for name, bound in bounds.items():
        if name not in goals:
            close = difflib.get_close_matches(name, goals, n=1)
            hint = f" Did you mean {close[0]!r}?" if close else " Take one of these."
            raise UserError(f"{flag}: unknown objective {name!r}; this study has {', '.join(goals)}.{hint}")
        if not math.isfinite(bound):
            raise UserError(f"{flag} {name}={bound}: a bound must be a finite number. Leave it out for no bound.")
        if goals[name] != goal:
            other = "--min" if flag == "--max" else "--max"
            wish = "larger is better" if goals[name] == "max" else "smaller is better"
            raise UserError(
                f"{flag} {name}={bound:g}: of {name} {wish}, so only {other} bounds it. Use {other} {name}=..."
            )


def _check_trials(views: StudyViews) -> None:
    if not views.complete:
        ended = f"{len(views.trials)} ended otherwise" if views.trials else "none has ended"
        raise UserError(
            f"{views.folder}: no trial is complete yet ({ended}), and only complete trials can be chosen.\n"
            f"Continue the study with `python -m search.run {views.folder / 'space.yaml'}`."
        )
    if len(views.extractors) > 1:
        raise UserError(
            f"{views.folder}: {views.learned.name} was measured by {' and '.join(views.extractors)}; numbers by "
            "different extractors cannot be compared. Run the space again under another --name to measure all by one."
        )


if __name__ == "__main__":
    command(main, name="python -m search.best")
