"""What several studies found, on equal terms; everything is minimised in here and turned back where it is shown.

Legend: N points, M objectives that all studies have, the learned one first.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from search.contrast.knobs import KnobContrast, knob_contrasts
from search.front import hypervolume, minimised, non_dominated
from search.report.alike import shared_objectives
from search.views import ObjectiveView, PointView, StudyViews

if TYPE_CHECKING:
    from search.space import Space

Array = NDArray[np.float64]


@dataclass(frozen=True, kw_only=True)
class Side:
    """One study.

    Args:
        name: That tells it from the others.
        points: Its front in the shared objectives.
        values_NM: The same as numbers, minimised.
        hypervolume: Of points divided by the common reference: what they dominate of the region, in its units.
    """

    name: str
    views: StudyViews
    points: tuple[PointView, ...]
    values_NM: Array
    hypervolume: float


@dataclass(frozen=True, kw_only=True)
class Contrast:
    """Studies on equal terms.

    Args:
        objectives: That all studies have, the learned one first.
        reference: By objective, in its own units: the loosest limit of any study, else the worst point of any front.
        dominated: (name, other) -> the part of the first one's front that the other one's dominates.
        groups: Names of studies of one space that differ in nothing but the sampler's seed, two or more together.
    """

    sides: tuple[Side, ...]
    objectives: tuple[ObjectiveView, ...]
    reference: Mapping[str, float]
    dominated: Mapping[tuple[str, str], float]
    knobs: tuple[KnobContrast, ...]
    groups: tuple[tuple[str, ...], ...]

    @classmethod
    def of(cls, studies: Sequence[StudyViews]) -> Contrast:
        """The contrast of at least two studies.

        Raises:
            UserError: when one is named twice or has no front, or they were not measured alike.
        """
        objectives = shared_objectives(studies)
        goals = [objective.goal for objective in objectives]
        names = _names([views.folder for views in studies])
        fronts = [_front(views, objectives) for views in studies]
        values = [
            minimised([[point.values[each.name] for each in objectives] for point in front], goals) for front in fronts
        ]
        reference_M = _reference(studies, objectives, np.vstack(values))
        sides = tuple(
            Side(name=name, views=views, points=front, values_NM=values_NM, hypervolume=_volume(values_NM, reference_M))
            for name, views, front, values_NM in zip(names, studies, fronts, values, strict=True)
        )
        return cls(
            sides=sides,
            objectives=tuple(objectives),
            reference={
                each.name: float(value) for each, value in zip(objectives, minimised(reference_M, goals), strict=True)
            },
            dominated={
                (side.name, other.name): dominated_share(side.values_NM, other.values_NM)
                for side in sides
                for other in sides
                if side is not other
            },
            knobs=tuple(knob_contrasts({side.name: [point.candidate for point in side.points] for side in sides})),
            groups=tuple(_groups(sides)),
        )

    @property
    def learned(self) -> ObjectiveView:
        """What models are judged by."""
        return self.objectives[0]

    @property
    def costs(self) -> tuple[ObjectiveView, ...]:
        """What they cost."""
        return self.objectives[1:]

    @property
    def best_first(self) -> list[Side]:
        """The sides, the largest hypervolume first."""
        return sorted(self.sides, key=lambda side: -side.hypervolume)

    def side(self, name: str) -> Side:
        """The study of that name."""
        return next(side for side in self.sides if side.name == name)

    def as_json(self) -> dict[str, Any]:
        """Plain data."""
        return {
            "objectives": [objective.name for objective in self.objectives],
            "reference": dict(self.reference),
            "studies": [
                {
                    "name": side.name,
                    "folder": str(side.views.folder),
                    "hypervolume": side.hypervolume,
                    "points": len(side.points),
                    "dominated_by": {
                        other: share for (name, other), share in self.dominated.items() if name == side.name
                    },
                }
                for side in self.sides
            ],
            "knobs": [knob.as_json() for knob in self.knobs],
            "one_space": [list(group) for group in self.groups],
        }


def dominated_share(values_NM: Array, others_NM: Array) -> float:
    """The part of the points that one of the others dominates: as good in every objective and better in one.

    It is the coverage of Zitzler and Thiele (1999, Eq. 5), except that equal points do not cover each other.

    >>> dominated_share(np.array([[1.0, 3.0], [2.0, 2.0]]), np.array([[2.0, 1.0], [1.0, 3.0]]))
    0.5
    """
    is_no_worse_NN = np.all(others_NM[None] <= values_NM[:, None], axis=2)
    is_better_NN = np.any(others_NM[None] < values_NM[:, None], axis=2)
    return float(np.any(is_no_worse_NN & is_better_NN, axis=1).mean())


def _names(folders: Sequence[Path]) -> list[str]:
    """Of the folders, with as many of their parents as are needed to tell them apart."""
    for depth in range(1, 20):
        names = ["/".join(folder.resolve().parts[-depth:]) for folder in folders]
        if len(set(names)) == len(names):
            break
    return names


def _front(views: StudyViews, objectives: Sequence[ObjectiveView]) -> tuple[PointView, ...]:
    """What is left of the front when only these objectives count."""
    goals = [objective.goal for objective in objectives]
    points = views.front.points
    is_on = non_dominated(minimised([[point.values[each.name] for each in objectives] for point in points], goals))
    return tuple(point for point, is_it in zip(points, is_on, strict=True) if is_it)


def _reference(studies: Sequence[StudyViews], objectives: Sequence[ObjectiveView], values_NM: Array) -> Array:
    found = []
    for column, objective in enumerate(objectives):
        limits = [views.front.limits[objective.name] for views in studies if objective.name in views.front.limits]
        if len(limits) == len(studies):
            found.append(max(minimised([[limit] for limit in limits], [objective.goal])[:, 0]))
        else:
            found.append(values_NM[:, column].max())
    return np.array(found, float)


def _volume(values_NM: Array, reference_M: Array) -> float:
    # An objective whose reference is 0 has no unit to be measured in.
    has_unit_M = reference_M != 0
    reference = reference_M[has_unit_M]
    return hypervolume(values_NM[:, has_unit_M] / np.abs(reference), np.sign(reference)) if has_unit_M.any() else 0.0


def _groups(sides: Sequence[Side]) -> list[tuple[str, ...]]:
    """Studies of one space, seeds apart; those whose space cannot be read stay alone."""
    groups: list[tuple[Space, list[str]]] = []
    for side in sides:
        space = _space(side.views)
        if space is None:
            continue
        home = next((names for known, names in groups if _is_same(known, space)), None)
        if home is None:
            groups.append((space, [side.name]))
        else:
            home.append(side.name)
    return [tuple(names) for _, names in groups if len(names) > 1]


def _space(views: StudyViews) -> Space | None:
    from search.space import Space, SpaceError

    try:
        return Space.read(views.space_file)
    except SpaceError:
        return None


def _is_same(one: Space, other: Space) -> bool:
    from search.space import differences

    rest = [each for each in differences(one.text, other.text) if not each.startswith("sampler")]
    return not rest and replace(one.sampler, seed=0) == replace(other.sampler, seed=0)
