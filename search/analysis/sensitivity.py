"""Which blocks bear pruning, and how far the search should let each of them go."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from itertools import pairwise
from typing import Any

from search.analysis.figures import beside, figure, names_axis, series
from search.analysis.finding import Finding, Panel, Picture
from search.analysis.pruned_blocks import RATIOS, By, Point
from search.analysis.ranges import Ranges
from search.report.axes import axis
from search.report.number import number, with_error
from search.views import ObjectiveView

_STEP = 0.05
"""Bounds are suggested in such steps, and none is lower: a knob that cannot move is none."""


@dataclass(frozen=True, kw_only=True)
class Sensitivity(Finding):
    """What became of each block.

    Args:
        unpruned: Of the whole model.
        points: In the order of the network, ratios rising; of an interrupted analysis, those that were measured.
        blocks: All that a whole one prunes, in the order of the network.
        times: A block is pruned too far where FID is above this many times that of the whole model.
        pruning: The criterion and the rule, in words.
    """

    what = "sensitivity"
    title = "which blocks bear pruning"

    name: str
    by: By
    unpruned: Point
    points: tuple[Point, ...]
    blocks: tuple[str, ...]
    times: float
    pruning: str

    @property
    def is_whole(self) -> bool:
        return len(self.points) == len(self.blocks) * len(RATIOS)

    @property
    def measured(self) -> dict[str, list[Point]]:
        """The points of each block."""
        found: dict[str, list[Point]] = {}
        for point in self.points:
            found.setdefault(point.block, []).append(point)
        return found

    @property
    def limit(self) -> float:
        """FID above which a block is pruned too far."""
        assert self.unpruned.fid is not None
        return self.times * self.unpruned.fid.value

    def bound(self, block: str) -> float | None:
        """The ratio at which FID passes the limit, in steps of 0.05; None while ratios are missing.

        Between two measured ratios log FID is taken to be straight.
        """
        points = [self.unpruned, *self.measured[block]]
        if len(points) <= len(RATIOS):
            return None
        passed = points[-1].ratio
        for before, after in pairwise(points):
            low, high = (math.log(max(_value(point), 1e-9) / max(self.limit, 1e-9)) for point in (before, after))
            if high > 0:
                share = -low / (high - low) if math.isfinite(high) else 0.0
                passed = before.ratio + share * (after.ratio - before.ratio)
                break
        return max(_STEP, round(math.floor(passed / _STEP + 1e-9) * _STEP, 2))

    def ranges(self) -> Ranges:
        bounds = {block: self.bound(block) for block in self.measured}
        return {f"ratio.{block}": (0.0, bound) for block, bound in bounds.items() if bound is not None}

    def answer(self) -> str:
        middle = {block: points[len(RATIOS) // 2] for block, points in self.measured.items() if len(points) > 1}
        if not middle:
            return f"{self.name} was not measured far enough to compare its {self.by}s."
        best, worst = (pick(middle.values(), key=_value) for pick in (min, max))
        return (
            f"{best.block} bears pruning best and {worst.block} worst: with {best.ratio:.0%} of one {self.by}'s "
            f"channels gone and nothing trained afterwards, FID is {_fid(best)} and {_fid(worst)} "
            f"({_fid(self.unpruned)} unpruned)."
        )

    def headings(self) -> list[str]:
        return [self.by, *[f"FID at {ratio:.0%}" for ratio in RATIOS], f"parameters gone at {RATIOS[-1]:.0%}", "up to"]

    def rows(self) -> list[list[str]]:
        rows = []
        for block, points in self.measured.items():
            cells = [_fid(point) + _shortfall(point) for point in points]
            cells += ["-"] * (len(RATIOS) - len(points))
            bound = self.bound(block)
            lighter = f"{points[-1].lighter:.0%}" if bound is not None else "-"
            rows.append([block, *cells, lighter, f"{bound:.2f}" if bound is not None else "-"])
        return rows

    def notes(self) -> list[str]:
        found = self.unpruned.fid
        assert found is not None
        return [
            f"Unpruned: FID {with_error(found.value, found.stderr)}, {found.samples:,} images, features {found.by}.",
            f"One {self.by} at a time loses channels, {self.pruning}; nothing is trained afterwards, so FID is far "
            "above what training brings back. What orders the blocks is the comparison.",
            f"Up to: the ratio at which FID passes {number(self.times)} times that of the whole model, from a straight "
            f"line through log FID, in steps of {_STEP}; at most {RATIOS[-1]}, at least {_STEP}.",
        ]

    def panels(self) -> list[Panel]:
        names = list(self.measured)
        traces, values = [], [_value(self.unpruned), self.limit]
        for place, ratio in enumerate(RATIOS):
            points = [point for point in self.points if point.ratio == ratio and point.fid is not None]
            values += [_value(point) for point in points]
            traces.append(
                series(
                    place,
                    [names.index(point.block) + beside(place, len(RATIOS)) for point in points],
                    [_value(point) for point in points],
                    hover="<b>%{text}</b><br>FID %{y:.4g}",
                    text=[
                        f"{point.block}, {ratio:.0%} of its channels asked, {point.achieved:.0%} gone"
                        for point in points
                    ],
                    error_y={"array": [point.fid.stderr for point in points if point.fid], "thickness": 1, "width": 3},
                )
            )
        axes = {
            "xaxis": names_axis(f"{self.by.capitalize()} that is pruned, from input to output", names),
            "yaxis": axis(
                ObjectiveView(name="", title="FID, nothing trained afterwards", learned=True), values, limit=None
            ),
        }
        levels = {"unpruned": _value(self.unpruned), f"{number(self.times)} times": self.limit}
        legend = [f"{ratio:.0%} of its channels" for ratio in RATIOS]
        title = f"FID with one {self.by} pruned"
        return [Panel(title=title, figure=figure(axes, traces, levels=levels), legend=legend)]

    def pictures(self) -> list[Picture]:
        return [
            Picture(
                row=block,
                column=f"{point.ratio:.0%}",
                strip=point.strip,
                text=f"{block}, {point.ratio:.0%} pruned" if point.ratio else "the whole model",
            )
            for block, points in self.measured.items()
            # The whole model again in each row, as what its pictures are compared with.
            for point in (self.unpruned, *points)
            if point.strip
        ]

    def as_json(self) -> dict[str, Any]:
        return {
            "by": self.by,
            "pruning": self.pruning,
            "times": self.times,
            "unpruned": _plain(self.unpruned),
            "points": [{"block": point.block, **_plain(point)} for point in self.points],
        }


def _value(point: Point) -> float:
    return point.fid.value if point.fid else math.inf


def _fid(point: Point) -> str:
    return with_error(point.fid.value, point.fid.stderr) if point.fid else "no finite images"


def _shortfall(point: Point) -> str:
    return "" if math.isclose(point.achieved, point.ratio, abs_tol=0.005) else f" ({point.achieved:.0%} went)"


def _plain(point: Point) -> Mapping[str, Any]:
    fid = asdict(point.fid) if point.fid else None
    return {"ratio": point.ratio, "achieved": point.achieved, "parameters_gone": point.lighter, "fid": fid}
