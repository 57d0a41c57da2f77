"""What became of the points of a front in full training: order, FID reached, a table, a figure and pictures."""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from search.analysis.figures import figure, series
from search.analysis.finding import Finding, Panel, Picture
from search.report.axes import axis, title_of
from search.report.number import number, with_error
from search.validation.order import Figure, Order, order
from search.validation.work import check_measured_by
from trainers.errors import UserError

if TYPE_CHECKING:
    from search.validation.work import Reached
    from search.views import ObjectiveView, StudyViews, TrialView


@dataclass(frozen=True, kw_only=True)
class Point:
    """One model after its short and its full training.

    Args:
        trial: Its number.
        short, full: The learned objective; of the trial, the confirmed value where there is one.
        costs: Of the trial.
        changed: Exact costs that are others after full training.
        seconds: Of the full training.
        strips: Name of a model -> what it draws, as a WEBP file.
    """

    trial: int
    short: Figure
    full: Figure
    costs: dict[str, float]
    changed: tuple[str, ...]
    seconds: float
    strips: dict[str, bytes]

    @property
    def ratio(self) -> float | None:
        """Of the value reached to that of the trial; None where one has no size, as a KID at or below 0."""
        return self.full.value / self.short.value if self.short.value > 0 and self.full.value >= 0 else None


@dataclass(frozen=True, kw_only=True)
class Validation(Finding):
    """Points of a front, trained in full.

    Args:
        points: From the best of the trials to the worst.
        order: How far the trials foretold the order.
        learned: What it is an order of.
        costs: The other objectives.
        short_images, images: Of a trial, and of a full training.
        teacher: What the teacher measures; None where the study does not say.
        by: The extractor.
    """

    what = "validate"
    title = "short trainings against full ones"

    name: str
    points: tuple[Point, ...]
    order: Order
    learned: ObjectiveView
    costs: tuple[ObjectiveView, ...]
    short_images: int
    images: int
    teacher: float | None
    by: str

    @classmethod
    def of(cls, views: StudyViews, reached: Sequence[Reached], *, images: int) -> Validation:
        """What was reached, beside what the study measured.

        Raises:
            UserError: when other extractors measured it than the trials.
        """
        learned = views.learned
        sign = 1 if learned.goal == "min" else -1
        points = sorted((_point(views, one) for one in reached), key=lambda point: sign * point.short.value)
        trained_on = {one.trial.images for one in reached if one.trial.images}
        return cls(
            name=views.front.study,
            points=tuple(points),
            order=order([point.short for point in points], [point.full for point in points]),
            learned=learned,
            costs=tuple(views.costs),
            short_images=max(trained_on, default=0),
            images=images,
            teacher=views.front.teacher.values.get(learned.name) if views.front.teacher else None,
            by=", ".join(views.extractors),
        )

    def answer(self) -> str:
        found, name = self.order, title_of(self.learned)
        ratios = [point.ratio for point in self.points if point.ratio is not None]
        came = ""
        if ratios:
            span = f"{min(ratios):.2f} to {max(ratios):.2f}"
            came = f" {name} comes to {statistics.median(ratios):.2f} times the trial's ({span})."
        if found.kendall is None or found.chance is None:
            return f"All values are equal on one side, so there is no order to compare.{came}"
        if found.chance < 0.05:
            verdict = "The order of the trials survives full training"
        elif found.kendall > 0:
            verdict = f"The order looks alike, but {len(self.points)} points are too few to be sure"
        else:
            verdict = "The order of the trials does not survive full training"
        return (
            f"{verdict}: Kendall's tau {found.kendall:.2f}{_interval(found.low, found.high)}, Spearman's rho "
            f"{found.spearman.spearman or 0:.2f}{_interval(found.spearman.low, found.spearman.high)}; chance does as "
            f"well {_times(found.chance)}.{came}"
        )

    def headings(self) -> list[str]:
        name = title_of(self.learned)
        costs = [f"{cost.name}" for cost in self.costs]
        return ["trial", f"{name} in the trial", f"{name} in full", "ratio", "place", "in full", *costs]

    def rows(self) -> list[list[str]]:
        sign = 1 if self.learned.goal == "min" else -1
        in_full = sorted(self.points, key=lambda point: sign * point.full.value)
        return [
            [
                str(point.trial),
                with_error(point.short.value, point.short.stderr),
                with_error(point.full.value, point.full.stderr),
                "-" if point.ratio is None else f"{point.ratio:.2f}",
                str(place),
                str(in_full.index(point) + 1),
                *[
                    f"{number(point.costs[cost.name])}{'*' if cost.name in point.changed else ''}"
                    for cost in self.costs
                ],
            ]
            for place, point in enumerate(self.points, start=1)
        ]

    def notes(self) -> list[str]:
        found = self.order
        notes = [
            f"{len(self.points)} points of the front, {self.images:,} images each in place of {self.short_images:,}; "
            f"{title_of(self.learned)} by {self.by or 'the same measure'} on equally many samples.",
            f"Of {found.told_apart} pairs that the trials told apart (by more than 2 standard errors), {found.kept} "
            "are in the same order after full training.",
            "A front holds good models only, among which an order is harder to foretell than among all candidates.",
        ]
        if any(point.changed for point in self.points):
            notes.append("* not the same after full training: which channels went depends on the training.")
        return notes

    def panels(self) -> list[Panel]:
        name = title_of(self.learned)
        short, full = ([getattr(point, side).value for point in self.points] for side in ("short", "full"))
        axes = {
            "xaxis": axis(replace(self.learned, title=f"{name} in the trial"), [*short, *full], limit=None),
            "yaxis": axis(replace(self.learned, title=f"{name} in full"), [*short, *full], limit=self.teacher),
        }
        trace = series(0, short, full, hover="trial %{text}: %{x:.4g} in the trial, %{y:.4g} in full") | {
            "text": [str(point.trial) for point in self.points],
            "mode": "markers+text",
            "textposition": "top center",
            "error_x": {"array": [point.short.stderr for point in self.points], "thickness": 1.2},
            "error_y": {"array": [point.full.stderr for point in self.points], "thickness": 1.2},
        }
        levels = {} if self.teacher is None else {"teacher": self.teacher}
        drawn = figure(axes, [trace], levels=levels)
        ends = (min(*short, *full), max(*short, *full))
        equal = {"type": "line", "layer": "below", "x0": ends[0], "x1": ends[1], "y0": ends[0], "y1": ends[1]}
        drawn["layout"]["shapes"].append(equal | {"line": {"dash": "dot", "width": 1.2}})
        return [Panel(title=f"{name} after short and full training; dotted: no gain", figure=drawn, legend=())]

    def pictures(self) -> list[Picture]:
        return [
            Picture(
                row=f"trial {point.trial}", column=model, strip=strip, text=f"drawn by trial {point.trial}, {model}"
            )
            for point in self.points
            for model, strip in point.strips.items()
        ]

    def as_json(self) -> dict[str, Any]:
        return {
            "study": self.name,
            "objective": self.learned.name,
            "by": self.by,
            "answer": self.answer(),
            "images": {"trial": self.short_images, "full": self.images},
            "order": asdict(self.order),
            "teacher": self.teacher,
            "points": [
                {
                    "trial": point.trial,
                    "short": asdict(point.short),
                    "full": asdict(point.full),
                    "ratio": point.ratio,
                    "costs": point.costs,
                    "changed": list(point.changed),
                    "seconds": point.seconds,
                }
                for point in self.points
            ],
        }


def _point(views: StudyViews, reached: Reached) -> Point:
    try:
        return _read_point(views, reached)
    except (KeyError, TypeError, AttributeError):
        raise UserError(
            f"{reached.folder / 'measurements.json'} is damaged. Remove its folder to train this point again."
        ) from None


def _read_point(views: StudyViews, reached: Reached) -> Point:
    trial, measured, name = reached.trial, reached.record["measurements"], views.learned.name
    check_measured_by(trial, name, measured[name]["by"])
    costs = {cost.name: trial.value(cost.name) for cost in views.costs}
    exact = [cost for cost in costs if not measured[cost]["stderr"]]
    return Point(
        trial=trial.number,
        short=Figure(value=trial.value(name), stderr=trial.error(name)),
        full=Figure(value=measured[name]["value"], stderr=measured[name]["stderr"]),
        costs=costs,
        changed=tuple(cost for cost in exact if measured[cost]["value"] != costs[cost]),
        seconds=reached.record["seconds"],
        strips=_strips(views, trial, reached.folder),
    )


def _strips(views: StudyViews, trial: TrialView, folder: Path) -> dict[str, bytes]:
    files = {
        "in the trial": views.file(trial.path, "samples.webp"),
        "in full": folder / "samples.webp",
        "teacher": views.file("teacher", "samples.webp"),
    }
    return {name: file.read_bytes() for name, file in files.items() if file is not None and file.is_file()}


def _interval(low: float | None, high: float | None) -> str:
    return "" if low is None or high is None else f" ({low:.2f} to {high:.2f})"


def _times(chance: float) -> str:
    return f"once in {1 / chance:,.0f} times" if chance < 0.4 else f"{chance:.0%} of the time"
