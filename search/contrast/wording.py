"""A contrast in words and in cells, for the terminal and the page alike."""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence

from search.contrast.contrast import Contrast, Side
from search.contrast.knobs import KnobContrast, Numbers, Shares
from search.report.alike import unlike_teachers
from search.report.axes import title_of
from search.report.number import number, significant, with_error
from search.report.table import heading
from search.report.volume import is_share
from search.views import ObjectiveView

_ALIKE = 0.7
"""An agreement from which on it is worth saying."""


def answer(contrast: Contrast) -> str:
    """Which front is further, and how far each is behind the others."""
    first, *rest = contrast.best_first
    others = ", ".join(f"{side.name} {significant(side.hypervolume)}" for side in rest)
    most = "largest" if rest[1:] else "larger"
    said = [f"{first.name} has the {most} hypervolume, {significant(first.hypervolume)} against {others}."]
    if first.hypervolume == rest[0].hypervolume:
        said = [f"{first.name} and {rest[0].name} have the same hypervolume, {significant(first.hypervolume)}."]
    if not rest[1:]:
        other = rest[0]
        ahead, behind = (contrast.dominated[pair] for pair in ((other.name, first.name), (first.name, other.name)))
        said.append(f"It dominates {ahead:.0%} of the other front, which dominates {behind:.0%} of it.")
    alike = [knob.path for knob in contrast.knobs if knob.agreement is not None and knob.agreement >= _ALIKE]
    said.append(f"The fronts agree in {', '.join(alike)}." if alike else "The fronts agree in no knob.")
    return " ".join(said)


def fronts_headings(contrast: Contrast) -> list[str]:
    """Of the table of fronts."""
    return [
        "study",
        "points",
        f"best {heading(contrast.learned)}",
        *(f"least {heading(cost)}" if cost.goal == "min" else f"most {heading(cost)}" for cost in contrast.costs),
        "hypervolume",
        "dominated by",
    ]


def fronts_row(contrast: Contrast, side: Side) -> list[str]:
    """One study of the table of fronts."""
    best, *cheapest = (_extreme(side, each, with_stderr=each == contrast.learned) for each in contrast.objectives)
    dominated = [
        f"{other} {share:.0%}" for (name, other), share in contrast.dominated.items() if name == side.name and share
    ]
    return [
        side.name,
        str(len(side.points)),
        best,
        *cheapest,
        significant(side.hypervolume),
        ", ".join(dominated) or "none",
    ]


def _extreme(side: Side, objective: ObjectiveView, *, with_stderr: bool) -> str:
    pick = min if objective.goal == "min" else max
    point = pick(side.points, key=lambda point: point.values[objective.name])
    return with_error(point.values[objective.name], point.stderr.get(objective.name) if with_stderr else None)


def knobs_headings(contrast: Contrast) -> list[str]:
    """Of the table of knobs."""
    return ["knob", "agreement", *(side.name for side in contrast.sides)]


def knobs_row(contrast: Contrast, knob: KnobContrast) -> list[str]:
    """One knob of the table of knobs."""
    agreement = "-" if knob.agreement is None else f"{knob.agreement:.2f}"
    return [knob.path, agreement, *(_values(knob.found[side.name]) for side in contrast.sides)]


def notes(contrast: Contrast) -> list[str]:
    """What the figures rest on."""
    reference = ", ".join(f"{title_of(each)} {number(contrast.reference[each.name])}" for each in contrast.objectives)
    points = [point.values for side in contrast.sides for point in side.points]
    what = "share of the region" if is_share(contrast.objectives, points) else "volume, in units of the reference,"
    lines = [
        f"Hypervolume: the {what} within the common reference that a front dominates. "
        f"Reference: {reference}; the loosest limit of the studies, or the worst point where not all have one.",
        "Dominated: another front has a point that is as good in every objective and better in one; standard errors "
        "are not counted.",
        "Agreement: 1 less the largest difference between the distributions of a knob on any two fronts (numbers: "
        "Kolmogorov-Smirnov; choices: total variation). 1 is alike.",
    ]
    if told := unlike_teachers([side.views for side in contrast.sides], [side.name for side in contrast.sides]):
        lines.append(told)
    for group in contrast.groups:
        volumes = [contrast.side(name).hypervolume for name in group]
        middle, low, high = (significant(pick(volumes)) for pick in (statistics.median, min, max))
        lines.append(
            f"{', '.join(group)} are of one space, with other seeds: hypervolume {middle} in the median, {low} to "
            f"{high}. Their attainment surfaces bound what one of them, half of them and all of them reach."
        )
    return lines


def _values(found: Numbers | Shares | None) -> str:
    match found:
        case None:
            return "-"
        case Numbers():
            if found.low == found.high:
                return number(found.median)
            return f"{number(found.median)} ({number(found.low)} to {number(found.high)})"
        case Shares():
            return _shares(found.parts)


def _shares(parts: Mapping[str, float]) -> str:
    said: Sequence[str] = [f"{label} {part:.0%}" for label, part in parts.items()]
    return next(iter(parts)) if len(parts) == 1 else ", ".join(said)
