"""What the side panel shows of a trial: its pictures, values, candidate, folder and export command."""

from __future__ import annotations

from collections.abc import Mapping

from search.report.answer import export_command
from search.report.axes import title_of
from search.report.candidate import answer, named
from search.report.markup import Html, element, joined
from search.report.number import with_error
from search.views import ObjectiveView, PointView, StudyViews, TrialView


def cards(views: StudyViews, pictures: Mapping[str, str]) -> Html:
    """One inert ``<template>`` per trial that can be chosen; the script clones it into the side panel."""
    on_front = {point.trial for point in views.front.points}
    others = [trial for trial in views.complete if trial.number not in on_front]
    points: list[PointView | TrialView] = [*views.front.points, *others]
    return joined(*[_card(views, point, pictures) for point in points])


def objective_value(point: PointView | TrialView, objective: ObjectiveView) -> str:
    """The value with its error and unit."""
    value = with_error(point.values.get(objective.name), point.stderr.get(objective.name))
    return f"{value} {objective.unit}".rstrip()


def strip_image(who: str, source: str | None) -> Html:
    """The strip, or a line that says that there is none."""
    if source is None:
        return element("p", "No pictures kept.", class_="quiet")
    return element("img", class_="strip", src=source, alt=f"Images drawn by {who}, from the same noise as all others")


def _card(views: StudyViews, point: PointView | TrialView, pictures: Mapping[str, str]) -> Html:
    return element(
        "template",
        element("h3", f"Trial {point.number}", *_badges(views, point)),
        strip_image(f"trial {point.number}", pictures.get(point.path)),
        _definitions({title_of(item): objective_value(point, item) for item in (views.learned, *views.costs)}),
        element("h4", "Candidate"),
        _definitions({name: answer(value) for name, value in named(point.candidate).items()}),
        element("h4", "Take it"),
        element("code", export_command(views, point), class_="command", tabindex=0),
        id=f"card-{point.number}",
    )


def _badges(views: StudyViews, point: PointView | TrialView) -> list[Html]:
    is_on_front = any(point.number == other.trial for other in views.front.points)
    badges = [element("span", "on the front" if is_on_front else "dominated", class_="badge")]
    if point.number == views.front.knee:
        badges.append(element("span", "knee", class_="badge knee"))
    return badges


def _definitions(pairs: Mapping[str, str]) -> Html:
    return element("dl", *[element("div", element("dt", name), element("dd", value)) for name, value in pairs.items()])
