"""What the page knows of each trial: the table from which its script makes hover texts, cards and answers to a budget.

One table for all figures keeps the page small: with ten thousand trials, texts for each would be most of it.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from search.front import TIED_WITHIN, best_first, minimised
from search.report.answer import NO_MODEL, listed
from search.report.axes import title_of
from search.report.candidate import answer, named
from search.report.markup import Html, element
from search.report.number import number, with_error
from search.report.table import largest_first, size_of
from search.views import ObjectiveView, PointView, StudyViews, TrialView

STANDINGS = ("on the front", "dominated", "measured once", "stopped early", "timed on another device")


def trial_table(views: StudyViews, pictures: Mapping[str, str]) -> dict[str, Any]:
    """Of every trial with a value: where it stands, its values in full and as text, its candidate and its pictures.

    Rows are trials in the order of their numbers, columns objectives with the learned one first. Answers that occur
    often are kept once. Pictures of the front are left out: they are in its table.
    """
    objectives, size = [views.learned, *views.costs], size_of(views.costs)
    points = {point.trial: point for point in views.front.points}
    eligible = {trial.number for trial in views.eligible}
    strangers = {each.trial for each in views.front.elsewhere}
    trials = sorted([*views.complete, *views.stopped], key=lambda trial: trial.number)
    answers: dict[tuple[str, str, bool], int] = {}
    candidates = [[answers.setdefault(one, len(answers)) for one in _answers(trial)] for trial in trials]

    def standing(trial: TrialView) -> int:
        if trial.state == "stopped":
            return 3
        if trial.number in strangers:
            return 4
        return 0 if trial.number in points else 1 if trial.number in eligible else 2

    return {
        "folder": str(views.folder),
        "objectives": [
            {"name": item.name, "title": title_of(item), "unit": item.unit, "goal": item.goal} for item in objectives
        ],
        "standings": STANDINGS,
        "tiedWithin": TIED_WITHIN,
        "trials": [trial.number for trial in trials],
        "standing": [standing(trial) for trial in trials],
        "values": [[_finite(trial.counted.get(item.name)) for item in objectives] for trial in trials],
        "errors": [trial.error(views.learned.name) for trial in trials],
        "texts": [[_text(trial, item) for item in objectives] for trial in trials],
        "answers": list(answers),
        "candidates": candidates,
        "elsewhere": sorted(strangers),
        "first": {trial.number: values for trial in trials if (values := _first(objectives, trial))},
        "reached": {trial.number: reached(views, trial) for trial in views.stopped},
        "ties": {point.trial: said for point in points.values() if (said := tie(point))},
        "pictures": {
            trial.number: pictures[trial.path]
            for trial in trials
            if trial.path in pictures and (trial.number not in points or not pictures[trial.path])
        },
        # Of a copy of the results alone there is nothing to export.
        "gone": [trial.number for trial in views.complete if not views.has_model(trial)],
        "noModel": NO_MODEL,
        "front": [point.trial for point in largest_first(views)],
        "size": [item.name for item in objectives].index(size.name) if size else None,
        "knee": views.front.knee,
        # What a budget is asked of, each best first: who may be on the front, then all that can be compared.
        "orders": [_order(views, group) for group in _groups(views)],
    }


def objective_value(point: PointView | TrialView, objective: ObjectiveView) -> str:
    """The value with its error and unit."""
    return f"{_text(point, objective)} {objective.unit}".rstrip()


def reached(views: StudyViews, trial: TrialView) -> str:
    """How far a trial was trained: ``8,000 of 24,000 images (33 %)``."""
    if trial.images is None:
        return "not kept"
    full = views.front.budget_images
    if not full:
        return f"{trial.images:,} images"
    return f"{trial.images:,} of {full:,} images ({100 * trial.images / full:.0f} %)"


def tie(point: PointView | TrialView) -> str | None:
    """With whom a point of the front is tied, and what that means; None where it is not."""
    if isinstance(point, TrialView) or not point.tied:
        return None
    those = f"trials {listed(point.tied)}, which do" if len(point.tied) > 1 else f"trial {point.tied[0]}, which does"
    return f"Tied with {those} the same for no more, as far as this sample count can tell."


def strip_image(who: str, source: str | None) -> Html:
    """The strip, or a line that says that there is none, or no room for it (an empty text)."""
    if not source:
        said = "No pictures kept." if source is None else "Left out, as the page is full: samples.webp in its folder."
        return element("p", said, class_="quiet")
    return element("img", class_="strip", src=source, alt=f"Images drawn by {who}, from the same noise as all others")


def _text(point: PointView | TrialView, objective: ObjectiveView) -> str:
    return with_error(point.counted.get(objective.name), point.counted_stderr.get(objective.name))


def _finite(value: float | None) -> float | None:
    return value if value is not None and math.isfinite(value) else None


def _answers(trial: TrialView) -> list[tuple[str, str, bool]]:
    """Name, answer, and whether the answer speaks for itself."""
    return [(name, answer(value), isinstance(value, str)) for name, value in named(trial.candidate).items()]


def _first(objectives: list[ObjectiveView], trial: TrialView) -> dict[str, str]:
    """What the search measured, of the objectives that were measured again since."""
    return {title_of(item): number(trial.values.get(item.name)) for item in objectives if item.name in trial.confirmed}


def _groups(views: StudyViews) -> list[list[TrialView]]:
    eligible, comparable = views.eligible, views.comparable
    if len(views.extractors) > 1 or not comparable:
        return []
    return [eligible] if len(eligible) == len(comparable) else [eligible, comparable]


def _order(views: StudyViews, trials: list[TrialView]) -> list[int]:
    objectives = [views.learned, *views.costs]
    values_NM = minimised(
        [[trial.value(item.name) for item in objectives] for trial in trials], [item.goal for item in objectives]
    )
    return [trials[index].number for index in best_first(values_NM)]
