"""From the folder of a kept study to what stands in for it: its table is fitted, its known costs are computed."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from random import Random
from typing import TYPE_CHECKING

import numpy as np

from search._study_folder import command_again
from search.samplers._one_thread import on_one_thread
from search.simulation.fit import Fit, Seen
from search.simulation.known_costs import CostSketch, KnownCosts
from search.simulation.stand_in import StandIn, measured
from trainers.errors import UserError

if TYPE_CHECKING:
    from search.samplers._knob_space import KnobSpace
    from search.space import Space
    from search.views import StudyViews

FEWEST = 8
"""Complete trials without which nothing is fitted."""
_FEWEST_PAIRS = 5
"""Trials measured both at a share and in full without which that share is not simulated."""
_RANDOM = 400


@on_one_thread
def stand_in(views: StudyViews) -> StandIn:
    """The stand-in for the study in a folder; nothing is trained.

    Raises:
        UserError: when too few trials are complete, nothing has a limit, or ``space.yaml`` is missing.
    """
    from search.space import Space

    _check(views)
    space = Space.read(views.space_file)
    costs = _known_costs(views, space)
    if all(costs.of(trial.candidate) is None for trial in views.complete):
        raise UserError(
            f"{views.folder}: no trial is within its limits on what is known before training, as computed now, so "
            "nothing could be searched. Run the space again under another --name."
        )
    knobs = knob_space(space)
    predicted = costs.foresight.costs(costs.foresight.teacher)
    seen = {
        item.name: list(seen_of(views, item.name, space.budget.images))
        for item in views.front.objectives
        if item.name not in predicted
    }
    learned = {
        name: Fit.of(knobs, column, is_log=all(each.value > 0 for each in column)) for name, column in seen.items()
    }
    changes = _changes(knobs, seen, learned)
    sign = {item.name: -1.0 if item.goal == "max" else 1.0 for item in views.front.objectives}
    spent = [
        Seen(trial=trial.number, candidate=trial.candidate, value=trial.seconds)
        for trial in views.complete
        if trial.seconds
    ]
    return StandIn(
        views=views,
        space=space,
        knobs=knobs,
        learned=learned,
        changes=changes,
        seconds=Fit.of(knobs, spent, is_log=True),
        costs=costs,
        sketch=CostSketch.of(costs),
        shares=(*sorted({share for _, share in changes}), 1.0),
        limits={name: sign[name] * limit for name, limit in views.front.limits.items()},
        sign=sign,
        workers=_workers(views),
    )


def knob_space(space: Space) -> KnobSpace:
    """The knobs of a space as a process measures distance between them."""
    from search._knob_distributions import distribution
    from search.samplers._knob_space import KnobSpace

    generator = Random(0)
    return KnobSpace.seen(
        {knob.path: distribution(knob) for knob in space.knobs},
        [space.random_candidate(generator) for _ in range(_RANDOM)],
    )


def seen_of(views: StudyViews, name: str, images: int) -> Iterator[Seen]:
    """All measurements of an objective; those of stopped trials and on the way with their shares of ``images``."""
    for trial in views.trials:
        if trial.state not in ("complete", "stopped"):
            continue
        reached = {rung.images: rung.values.get(name) for rung in trial.rungs}
        if trial.state == "stopped" and trial.images:
            reached.setdefault(trial.images, trial.values.get(name))
        for seen, value in reached.items():
            if value is not None and math.isfinite(value) and seen < images:
                yield Seen(trial=trial.number, candidate=trial.candidate, value=value, share=seen / images)
        if trial.state == "complete":
            yield Seen(trial=trial.number, candidate=trial.candidate, value=measured(trial)[name])


def _check(views: StudyViews) -> None:
    if len(views.complete) < FEWEST:
        raise UserError(
            f"{views.folder}: {len(views.complete)} trials are complete, and a model of the study needs at least "
            f"{FEWEST}. Continue the study with `{command_again(views.folder)}`."
        )
    if sum(bool(trial.seconds) for trial in views.complete) < FEWEST:
        raise UserError(
            f"{views.folder}: fewer than {FEWEST} complete trials say how long they took, so no time can be simulated. "
            "Run the space again under another --name."
        )
    if not any(views.front.limits.values()):
        raise UserError(
            f"{views.folder}: no objective has a limit, so no hypervolume tells one front from another. "
            "Write limits into the space, `limits: {fid: 60}`, and run it again."
        )
    if len(views.extractors) > 1:
        raise UserError(
            f"{views.folder}: {views.learned.name} was measured by {' and '.join(views.extractors)}; numbers by "
            "different extractors cannot be fitted together. Run the space again under another --name."
        )


def _known_costs(views: StudyViews, space: Space) -> KnownCosts:
    """With predictions scaled to what this study's own device measured, which may not be this one."""
    from objectives.device_model import calibrated
    from search.known import Foresight
    from search.preparation import pick_device, planned_teacher
    from trainers.cache import Cache

    device = calibrated(pick_device(space), Cache.default(), threads=space.resources.cpu)
    foresight = Foresight(space, planned_teacher(space), device, {})
    ratios: dict[str, list[float]] = {}
    for trial in views.complete:
        for name, value in foresight.of(trial.candidate).costs.items():
            if value > 0:
                ratios.setdefault(name, []).append(measured(trial)[name] / value)
    corrections = {name: float(np.median(found)) for name, found in ratios.items()}
    return KnownCosts(foresight=foresight, corrections=corrections, limits=views.front.limits)


def _changes(
    knobs: KnobSpace, seen: Mapping[str, list[Seen]], learned: Mapping[str, Fit]
) -> dict[tuple[str, float], Fit]:
    """For each share at which every learned objective was measured often enough."""
    found = {}
    for name, column in seen.items():
        fit = learned[name]
        full = {each.trial: each.value for each in column if each.share >= 1}
        for share in {each.share for each in column if each.share < 1}:
            pairs = [
                Seen(
                    trial=each.trial,
                    candidate=each.candidate,
                    value=_log(each.value, fit)
                    # A stopped trial has no end: what is expected of it stands in, or only strong ones would count.
                    - (_log(full[each.trial], fit) if each.trial in full else fit.expected(each.candidate)),
                )
                for each in column
                if each.share == share
            ]
            if sum(each.trial in full for each in pairs) >= _FEWEST_PAIRS:
                found[name, share] = Fit.of(knobs, pairs, is_log=False)
    everywhere = {share for _, share in found if all((name, share) in found for name in learned)}
    return {key: fit for key, fit in found.items() if key[1] in everywhere}


def _log(value: float, fit: Fit) -> float:
    return math.log(value) if fit.is_log else value


def _workers(views: StudyViews) -> int:
    busy = sum(trial.seconds or 0.0 for trial in views.trials)
    return max(1, round(busy / views.front.seconds)) if views.front.seconds else 1
