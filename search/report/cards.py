"""What the side panel shows of a trial: its pictures, values, candidate, folder and export command."""

from __future__ import annotations

from collections.abc import Mapping

from search.report.answer import export_command, listed
from search.report.axes import title_of
from search.report.candidate import answer, named
from search.report.markup import Html, element, joined
from search.report.number import number, with_error
from search.views import ObjectiveView, PointView, StudyViews, TrialView


def cards(views: StudyViews, pictures: Mapping[str, str]) -> Html:
    """One inert ``<template>`` per trial that can be chosen; the script clones it into the side panel."""
    on_front = {point.trial for point in views.front.points}
    others = [trial for trial in views.complete if trial.number not in on_front]
    points: list[PointView | TrialView] = [*views.front.points, *others]
    eligible = {trial.number for trial in views.eligible}
    standing = {trial.number: "dominated" if trial.number in eligible else "measured once" for trial in others}
    return joined(*[_card(views, point, pictures, standing.get(point.number, "on the front")) for point in points])


def objective_value(point: PointView | TrialView, objective: ObjectiveView) -> str:
    """The value with its error and unit."""
    value = with_error(point.counted.get(objective.name), point.counted_stderr.get(objective.name))
    return f"{value} {objective.unit}".rstrip()


def reached(views: StudyViews, trial: TrialView) -> str:
    """How far a trial was trained: ``8,000 of 24,000 images (33 %)``."""
    if trial.images is None:
        return "not kept"
    full = views.front.budget_images
    if not full:
        return f"{trial.images:,} images"
    return f"{trial.images:,} of {full:,} images ({100 * trial.images / full:.0f} %)"


def first_measured(point: PointView | TrialView) -> dict[str, float | None]:
    """What the search measured, of the objectives that were measured again since."""
    if isinstance(point, PointView):
        return point.first
    return {name: point.values.get(name) for name in point.confirmed}


def tie(point: PointView | TrialView) -> str | None:
    """With whom a point of the front is tied, and what that means; None where it is not."""
    if isinstance(point, TrialView) or not point.tied:
        return None
    those = f"trials {listed(point.tied)}, which do" if len(point.tied) > 1 else f"trial {point.tied[0]}, which does"
    return f"Tied with {those} the same for no more, as far as this sample count can tell."


def strip_image(who: str, source: str | None) -> Html:
    """The strip, or a line that says that there is none."""
    if source is None:
        return element("p", "No pictures kept.", class_="quiet")
    return element("img", class_="strip", src=source, alt=f"Images drawn by {who}, from the same noise as all others")


def _card(views: StudyViews, point: PointView | TrialView, pictures: Mapping[str, str], standing: str) -> Html:
    objectives = [views.learned, *views.costs]
    figures = {title_of(item): objective_value(point, item) for item in objectives}
    first = first_measured(point)
    figures |= {
        f"{title_of(item)}, first measured": number(first[item.name]) for item in objectives if item.name in first
    }
    tied = tie(point)
    return element(
        "template",
        element("h3", f"Trial {point.number}", *_badges(views, point, standing)),
        strip_image(f"trial {point.number}", pictures.get(point.path)),
        _definitions(figures),
        element("p", tied, class_="quiet") if tied else None,
        element("h4", "Candidate"),
        _definitions({name: answer(value) for name, value in named(point.candidate).items()}),
        element("h4", "Take it"),
        element("code", export_command(views, point), class_="command", tabindex=0),
        id=f"card-{point.number}",
    )


def _badges(views: StudyViews, point: PointView | TrialView, standing: str) -> list[Html]:
    badges = [element("span", standing, class_="badge")]
    if point.number == views.front.knee:
        badges.append(element("span", "knee", class_="badge knee"))
    return badges


def _definitions(pairs: Mapping[str, str]) -> Html:
    return element("dl", *[element("div", element("dt", name), element("dd", value)) for name, value in pairs.items()])
