"""Whether studies measured alike, so that their fronts can share a figure."""

from __future__ import annotations

from collections.abc import Sequence

from search.report.axes import title_of, with_unit
from search.report.number import number
from search.views import ObjectiveView, StudyViews
from trainers.errors import UserError


def shared_objectives(studies: Sequence[StudyViews]) -> list[ObjectiveView]:
    """The learned objective and all costs that every study measured in the same way, in the first one's order.

    Raises:
        UserError: when one is named twice or has no front, when the learned ones differ or were measured by different
            extractors or on different numbers of samples, or when no cost is left.
    """
    first = studies[0]
    if len({views.folder.resolve() for views in studies}) < len(studies):
        raise UserError("a study is named twice. Name each study once.")
    for views in studies:
        if not views.front.points:
            raise UserError(f"{views.folder} has no front yet. Compare studies that have, or continue this one first.")
        if what(views.learned) != what(first.learned):
            raise UserError(
                f"{first.folder} is judged by {with_unit(first.learned)}, {views.folder} by "
                f"{with_unit(views.learned)}: they cannot share a figure. Explore them one by one."
            )
    if len({name for views in studies for name in views.extractors}) > 1:
        found = "; ".join(f"{views.folder}: {' and '.join(views.extractors) or 'not said'}" for views in studies)
        raise UserError(
            f"{first.learned.name} was measured by different extractors, or of different data, and such values cannot "
            f"be compared\n({found}).\n"
            "Explore these studies one by one, or run one of them again with the extractor of the other."
        )
    if len({count for views in studies for count in _samples(views)}) > 1:
        found = "; ".join(f"{views.folder}: {' and '.join(f'{n:,}' for n in _samples(views))}" for views in studies)
        raise UserError(
            f"{first.learned.name} was measured on different numbers of samples ({found}), and such values cannot be "
            "compared: fewer samples give a larger FID.\n"
            "Explore these studies one by one, or run one of them again with as many samples as the other."
        )
    costs = [cost for cost in first.costs if all(_has(views, cost) for views in studies)]
    costs = [cost for cost in costs if len({by for views in studies for by in _by(views, cost)}) < 2]
    if not costs:
        found = "; ".join(f"{views.folder}: {', '.join(cost.name for cost in views.costs)}" for views in studies)
        raise UserError(
            f"these studies have no cost in common that was measured on one device ({found}). Explore them one by one."
        )
    return [first.learned, *costs]


def unlike_teachers(studies: Sequence[StudyViews], names: Sequence[str]) -> str | None:
    """That students of different teachers are compared, and how good each is; None where it is one teacher."""
    teachers = [views.front.teacher for views in studies]
    if len({teacher.fingerprint for teacher in teachers if teacher}) < 2:
        return None
    learned = studies[0].learned
    told = [
        f"{number(teacher.values.get(learned.name))} in {name}"
        for name, teacher in zip(names, teachers, strict=True)
        if teacher
    ]
    found = ", ".join(told)
    return f"The teachers differ: {title_of(learned)} {found}. A front that lies further may owe it to its teacher."


def what(objective: ObjectiveView) -> tuple[str, str, str]:
    """What makes two studies' objectives the same."""
    return objective.name, objective.goal, objective.unit


def _has(views: StudyViews, cost: ObjectiveView) -> bool:
    return what(cost) in map(what, views.costs)


def _by(views: StudyViews, cost: ObjectiveView) -> set[str]:
    return {by for trial in views.complete if (by := trial.by.get(cost.name))}


def _samples(views: StudyViews) -> list[int]:
    return sorted({count for trial in views.complete if (count := trial.samples.get(views.learned.name))})
