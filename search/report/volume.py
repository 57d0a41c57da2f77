"""What a hypervolume is called: it is a share only of a region that ends."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from search.views import ObjectiveView, StudyViews


def is_share(objectives: Sequence[ObjectiveView], points: Iterable[Mapping[str, float | None]]) -> bool:
    """Whether the region below a reference ends: all ``objectives`` are to be small, and no value is below 0.

    >>> size, speed = ObjectiveView(name="size_mb"), ObjectiveView(name="images_per_s", goal="max")
    >>> is_share([size], [{"size_mb": 0.3}]), is_share([size, speed], []), is_share([size], [{"size_mb": -0.1}])
    (True, False, False)
    """
    names = [objective.name for objective in objectives]
    return all(objective.goal == "min" for objective in objectives) and all(
        (point.get(name) or 0.0) >= 0 for point in points for name in names
    )


def is_share_of(views: StudyViews) -> bool:
    """The same of a study's own hypervolume, which counts the objectives that have a limit."""
    limited = [objective for objective in views.front.objectives if objective.name in views.front.limits]
    return is_share(limited, [values for trial in views.complete for values in (trial.values, trial.counted)])
