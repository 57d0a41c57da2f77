"""``python -m search.best``: the best model of a study within a budget, the runner-up and the nearest miss.

Where the study's own model expects more of a candidate that was not tried, that is said too, and how to try it.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from cyclopts import Parameter

from search._study_folder import command_again
from search.samplers._one_thread import on_one_thread
from trainers.command import command
from trainers.errors import UserError

if TYPE_CHECKING:
    from search.insight.proposal import Proposal
    from search.views import ObjectiveView, StudyViews, TrialView
    from search.weighing import Weighing

GOOD_CHANCE = 2 / 3
"""A candidate that was not tried is named unasked when it is better than the best with this probability."""


@dataclass(frozen=True, kw_only=True)
class Answer:
    """The trials that answer a budget; None where there is no such trial.

    Args:
        best: The best learned objective (FID) within the budget, or the lowest weighted sum.
        runner_up: The next one within the budget.
        nearest_miss: Better than ``best`` but outside the budget, by the least; when nothing fits, the nearest of all.
        excess: By which share of its limit the nearest miss is outside: ``{"size_mb": 0.07}`` is 7 % too large.
        tied: Every other trial within the budget that cannot be told apart from ``best`` at this sample count, best
            first: by its learned objective, or its weighted sum.
        weighing: None: the learned objective alone decides.
        proposal: A candidate that was not tried and may be better; None where none was looked for or found.
    """

    best: TrialView | None
    runner_up: TrialView | None
    nearest_miss: TrialView | None
    excess: Mapping[str, float]
    tied: Sequence[TrialView]
    maxima: Mapping[str, float]
    minima: Mapping[str, float]
    weighing: Weighing | None = None
    proposal: Proposal | None = None


def best(
    views: StudyViews,
    maxima: Mapping[str, float],
    minima: Mapping[str, float] | None = None,
    *,
    weights: Mapping[str, float] | None = None,
) -> Answer:
    """The best comparable trial of ``views`` within the budget; not only those on the front are asked.

    Once trials were measured again, the others are asked only where none of these fits: their first measurement may
    be luck. With ``weights`` the lowest sum of weight x value / limit is best.
    """
    from search.bounds import check_bounds
    from search.front import best_within, fits, minimised
    from search.weighing import Weighing

    minima = minima or {}
    objectives = [views.learned, *views.costs]
    check_bounds(objectives, maxima, flag="--max", goal="min")
    check_bounds(objectives, minima, flag="--min", goal="max")
    _check_trials(views)
    weighing = Weighing.of(views, weights) if weights else None
    goals = [objective.goal for objective in objectives]
    names = [objective.name for objective in objectives]
    bounds = {**maxima, **minima}
    turned = [
        minimised([bounds[name]], [goal])[0] if name in bounds else math.inf
        for name, goal in zip(names, goals, strict=True)
    ]
    # What decides comes first; a weighted sum is one more objective, without a bound.
    first = [weighing.score] if weighing else []
    names, turned = ["" for _ in first] + names, [math.inf for _ in first] + turned

    def values_of(trials: Sequence[TrialView]) -> list[list[float]]:
        found = minimised([[trial.value(each.name) for each in objectives] for trial in trials], goals).tolist()
        return [[*(score(trial) for score in first), *row] for trial, row in zip(trials, found, strict=True)]

    trials = views.eligible
    values = values_of(trials)
    if not fits(values, turned).any():
        trials = views.comparable
        values = values_of(trials)
    choice = best_within(values, turned)
    chosen = _at(trials, choice.best)
    fitting = [trial for trial, is_fitting in zip(trials, fits(values, turned), strict=True) if is_fitting]
    return Answer(
        best=chosen,
        runner_up=_at(trials, choice.runner_up),
        nearest_miss=_at(trials, choice.nearest_miss),
        excess={name: float(excess) for name, excess in zip(names, choice.excess, strict=True) if excess > 0},
        tied=_tied(chosen, fitting, views.learned, weighing) if chosen else (),
        maxima=dict(maxima),
        minima=dict(minima),
        weighing=weighing,
    )


@on_one_thread
def with_proposal(views: StudyViews, answer: Answer, *, least_chance: float = GOOD_CHANCE) -> Answer:
    """The answer with what the study's model expects of a candidate that was not tried.

    Where a trial fits, only one that is better with at least ``least_chance``.
    """
    if not (views.folder / "space.yaml").is_file():
        return answer  # without loading what it takes to fit a process
    from search.insight.proposal import proposal
    from search.insight.study_model import study_model

    model = study_model(views)
    if model is None:
        return answer
    learned = views.learned
    bounds = {**answer.maxima, **answer.minima}
    aims = [answer.best.value(learned.name)] if answer.best else []
    aims += [bounds[learned.name]] if learned.name in bounds else []
    aim = (min if learned.goal == "min" else max)(aims) if aims else None
    chance = least_chance if answer.best else 0.0
    return replace(answer, proposal=proposal(model, bounds, better_than=aim, least_chance=chance))


def main(
    study: Path,
    *,
    maxima: Annotated[Sequence[str], Parameter(name="--max", negative=(), show_default=False)] = (),
    minima: Annotated[Sequence[str], Parameter(name="--min", negative=(), show_default=False)] = (),
    weights: Annotated[Sequence[str], Parameter(name="--weight", negative=(), show_default=False)] = (),
    knee: Annotated[bool, Parameter(negative=())] = False,
    write_candidate: Path | None = None,
    json: Annotated[bool, Parameter(negative=())] = False,
) -> int:
    """Best model of a study within a budget, the runner-up, and the nearest miss.

    Example: `python -m search.best studies/runs/pruning_ratios --max size_mb=1 --max latency_ms=5`

    Within a budget the study's model is asked as well: what it expects of a candidate that was not tried is said where
    no trial fits, or where that candidate is probably better.

    Args:
        study: Folder of a study.
        maxima: What it may cost at most, as OBJECTIVE=NUMBER; repeat for several.
        minima: What an objective that is to be large must reach, as OBJECTIVE=NUMBER; repeat for several.
        weights: How much an objective counts, as OBJECTIVE=NUMBER; repeat for several. The lowest sum of weight x value
            / limit is best, with the teacher's value where there is no limit; what is to be large is subtracted.
        knee: The model to keep if only one could be kept, and why.
        write_candidate: File for the candidate that the model expects most of, for `python -m search.run --try`.
        json: Print one JSON object. Its "trial" is null when nothing fits.
    """
    from search.bounds import read_bounds
    from search.report.answer import as_json, show
    from search.views import StudyViews

    views = StudyViews.open(study)
    if knee:
        _check_alone("--knee", [*maxima, *minima, *weights, *([str(write_candidate)] if write_candidate else [])])
        _tell_knee(views, as_json=json)
        return 0
    if write_candidate is not None:
        _check_alone("--write-candidate", weights)
    answer = best(
        views,
        read_bounds(maxima, "--max"),
        read_bounds(minima, "--min"),
        weights=read_bounds(weights, "--weight"),
    )
    if write_candidate is not None:
        answer = with_proposal(views, answer, least_chance=0.0)
        _write_candidate(views, answer, write_candidate)
    elif (answer.maxima or answer.minima) and not answer.weighing:
        answer = with_proposal(views, answer)
    if json:
        _write_json(as_json(answer))
    else:
        from rich.console import Console

        show(views, answer, Console(markup=False, emoji=False), written=write_candidate)
    return 0


def knee_of(views: StudyViews) -> TrialView:
    """The trial at the knee of the front.

    Raises:
        UserError: when no trial is within the limits.
    """
    _check_trials(views)
    found = next((trial for trial in views.complete if trial.number == views.front.knee), None)
    if found is None:
        raise UserError(
            f"{views.folder} has no knee: no trial is within all limits. Ask for the best within a budget, --max."
        )
    return found


def _tell_knee(views: StudyViews, *, as_json: bool) -> None:
    from search.report.answer import record, show_knee
    from search.report.knee import knee_reason

    trial = knee_of(views)
    if as_json:
        _write_json({**(record(trial) or {}), "reason": knee_reason(views)})
        return
    from rich.console import Console

    show_knee(views, trial, Console(markup=False, emoji=False))


def _write_candidate(views: StudyViews, answer: Answer, path: Path) -> None:
    from io import StringIO

    from ruamel.yaml import YAML

    from search.report.answer import expectation
    from trainers.atomic import write_atomically

    if answer.proposal is None:
        raise UserError(
            f"--write-candidate: the model of {views.folder} knows no candidate to try within this budget. It needs "
            "eight complete trials from which the others can be foretold, and a budget that something can meet."
        )
    text = StringIO()
    YAML().dump(dict(answer.proposal.candidate), text)
    try:
        write_atomically(path, f"# Expected: {expectation(views, answer.proposal)}\n{text.getvalue()}".encode())
    except OSError as error:
        raise UserError(f"--write-candidate {path} cannot be written: {error.strerror}. Give another file.") from error


def _check_alone(flag: str, others: Sequence[str]) -> None:
    if others:
        others_said = ", ".join(map(repr, others))
        allowed = "a budget (--max, --min)" if flag == "--write-candidate" else "no budget, weight or file"
        raise UserError(f"{flag} goes with {allowed}, got {others_said} as well. Leave one of the two out.")


def _write_json(content: Mapping[str, Any]) -> None:
    import json
    import sys

    sys.stdout.write(json.dumps(content, indent=2, ensure_ascii=False) + "\n")


def _at(trials: Sequence[TrialView], index: int | None) -> TrialView | None:
    return None if index is None else trials[index]


def _tied(
    best: TrialView, trials: Sequence[TrialView], learned: ObjectiveView, weighing: Weighing | None
) -> list[TrialView]:
    from search.front import indistinguishable

    sign = 1 if learned.goal == "min" else -1

    def value(trial: TrialView) -> float:
        return weighing.score(trial) if weighing else sign * trial.value(learned.name)

    def error(trial: TrialView) -> float:
        return weighing.error(trial) if weighing else trial.error(learned.name)

    def is_tied(trial: TrialView) -> bool:
        return bool(indistinguishable(value(best), value(trial), stderr=error(best), stderr_other=error(trial)))

    return sorted((trial for trial in trials if trial is not best and is_tied(trial)), key=value)


def _check_trials(views: StudyViews) -> None:
    if not views.complete:
        ended = f"{len(views.trials)} ended otherwise" if views.trials else "none has ended"
        raise UserError(
            f"{views.folder}: no trial is complete yet ({ended}), and only complete trials can be chosen.\n"
            f"Continue the study with `{command_again(views.folder)}`."
        )
    if not views.comparable:
        devices = ", ".join(sorted({each.device for each in views.front.elsewhere}))
        raise UserError(
            f"{views.folder}: all complete trials measured their times on {devices}, the teacher on another device, "
            "and times of different devices are not compared. Continue the study on the teacher's device, or leave "
            "times out of the objectives under another --name."
        )
    if len(views.extractors) > 1:
        raise UserError(
            f"{views.folder}: {views.learned.name} was measured by {' and '.join(views.extractors)}; numbers by "
            "different extractors cannot be compared. Run the space again under another --name to measure all by one."
        )


if __name__ == "__main__":
    command(main, name="python -m search.best")
