"""Why the knee is the knee, in words."""

from __future__ import annotations

from search.report.axes import title_of
from search.report.cards import objective_value
from search.report.number import number
from search.views import ObjectiveView, PointView, StudyViews


def knee_reason(views: StudyViews) -> str | None:
    """Which gains below the limits make it the point to keep if only one could be kept; None where there is no knee."""
    point = next((point for point in views.front.points if point.trial == views.front.knee), None)
    if point is None:
        return None
    objectives = [views.learned, *views.costs]
    gains = "; ".join(_gain(views, point, objective) for objective in objectives)
    if len(views.front.points) == 1:
        return f"Trial {point.trial} is the knee, as the only point of the front: {gains}."
    return (
        f"Trial {point.trial} is the knee, the model to keep if only one could be kept: {gains}. "
        "Multiplied with each other, these gains are the largest on the front: what any other point wins in one of "
        "them costs more than that in the others."
    )


def _gain(views: StudyViews, point: PointView, objective: ObjectiveView) -> str:
    said = f"{title_of(objective)} {objective_value(point, objective)}"
    value, limit = point.values[objective.name], views.front.limits.get(objective.name)
    against = "the limit"
    if limit is None:
        values = [other.values[objective.name] for other in views.front.points]
        limit, against = (max if objective.goal == "min" else min)(values), "the worst on the front"
    bound = f"{against}, {number(limit)}"
    if limit == value:
        return f"{said}, no better than {bound}"
    if objective.learned and objective.goal == "min" and min(value, limit) > 0:
        return f"{said}, {number(limit / value, digits=2)} times below {bound}"
    side = "below" if value < limit else "above"
    share = f"{number(100 * abs(value / limit - 1), digits=2)} %" if limit else number(abs(value - limit))
    return f"{said}, {share} {side} {bound}"
