"""Which timesteps count in pruning: what they say about the weights, and what a threshold on their loss leaves.

Diff-Pruning (Fang et al. 2023), Algorithm 1 and Table 5: timesteps are kept from 0 upwards while L_t / L_max > T.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from typing import TYPE_CHECKING, Any

from search.analysis.figures import figure, series
from search.analysis.finding import Finding, Panel
from search.analysis.pruned_blocks import Rule
from search.analysis.ranges import Ranges, rounded_down
from search.report.axes import axis
from search.report.number import number
from search.views import ObjectiveView
from trainers.compression.channels import coupled_groups
from trainers.compression.prune import Prune
from trainers.compression.timesteps import TimestepImportance, timestep_importance

if TYPE_CHECKING:
    from trainers.compression.criteria.criterion import GradientCriterion
    from trainers.models.diffusion_model import DiffusionModel
    from trainers.run import Run

THRESHOLDS = (0.0, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5)
RATIO = 0.3
"""Of the channels that go when the order is compared, as where the paper compares thresholds."""
_FEWEST = 0.1
"""A threshold that keeps fewer of the timesteps than this is not suggested; the paper's largest keeps 12.7 %."""
_LEAST = 0.01
"""Where all timesteps are kept up to less than this, the range begins at 0: a rounder number, and no worse."""


@dataclass(frozen=True, kw_only=True)
class Kept:
    """What a threshold leaves.

    Args:
        timesteps: Of the grid.
        share: Of the grid.
        overlap: Share of the channels that go which would go without a threshold, too.
    """

    threshold: float
    timesteps: int
    share: float
    overlap: float


@dataclass(frozen=True, kw_only=True)
class Timesteps(Finding):
    """What every timestep says, and every threshold keeps.

    Args:
        timestep, loss, importance: Of each timestep of the grid; loss as a share of the largest.
        kept: Of each threshold, rising.
        gone: Share of the channels that went at each.
        steps: Timesteps of the model's schedule.
        scored: Criterion and rule, in words.
    """

    what = "timesteps"
    title = "which timesteps count in pruning"

    name: str
    timestep: tuple[int, ...]
    loss: tuple[float, ...]
    importance: tuple[float, ...]
    kept: tuple[Kept, ...]
    gone: float
    steps: int
    scored: str

    def ranges(self) -> Ranges:
        low, high = rounded_down(self._highest_keeping(1.0)), rounded_down(self._highest_keeping(_FEWEST))
        low = low if low >= _LEAST else 0.0
        return {"threshold": (low, high)} if low < high else {}

    def _highest_keeping(self, share: float) -> float:
        """The value that a threshold has to be below to keep this share of the timesteps."""
        count = max(1, math.ceil(share * len(self.loss) - 1e-9))
        # Rounding down must end below it, and below 1.
        return min(self.loss[:count]) * (1 - 1e-6)

    def answer(self) -> str:
        chosen = next(kept for kept in self.kept if kept.threshold == 0.05)
        most = self.timestep[self.importance.index(max(self.importance))]
        return (
            f"A threshold of {chosen.threshold} keeps {chosen.share:.0%} of the timesteps, and {chosen.overlap:.0%} of "
            f"the channels that go would go without one; timestep {most} of {self.steps} says most about the weights."
        )

    def headings(self) -> list[str]:
        return ["threshold", "timesteps kept", f"of {self.steps:,}", "same channels as without"]

    def rows(self) -> list[list[str]]:
        return [
            [
                number(kept.threshold),
                f"{kept.share:.0%}",
                f"{kept.share * self.steps:,.0f}",
                f"{kept.overlap:.0%}",
            ]
            for kept in self.kept
        ]

    def notes(self) -> list[str]:
        return [
            f"{len(self.timestep)} timesteps, evenly spaced from 0 to {self.timestep[-1]}; kept from 0 upwards while "
            "L_t / L_max is above the threshold, at least one.",
            f"Same channels: of those that go at a ratio of {RATIO} ({self.scored}; {self.gone:.0%} of all could go), "
            f"the share that goes with all timesteps, too; by chance it would be {self.gone:.0%}.",
            "Importance: mean of |weight * gradient of L_t| over all weights.",
            "For comparison, Diff-Pruning's CIFAR-10 model keeps 1000, 707, 433, 244 and 127 of 1,000 timesteps at "
            "thresholds 0, 0.01, 0.02, 0.05 and 0.1.",
        ]

    def panels(self) -> list[Panel]:
        steps = ObjectiveView(name="", title="Timestep", unit=f"of {self.steps:,}")
        xs = [float(step) for step in self.timestep]
        # The loss is one already; weights without a gradient have no importance.
        largest = max(self.importance) or 1.0
        curves = (
            ("Loss", "Loss, share of the largest", self.loss),
            ("Importance", "Importance, share of the largest", [value / largest for value in self.importance]),
        )
        panels = []
        for place, (title, label, values) in enumerate(curves):
            axes = {
                "xaxis": axis(steps, xs, limit=None),
                "yaxis": axis(ObjectiveView(name="", title=label, learned=True), values, limit=None),
            }
            trace = series(place, xs, values, hover="timestep %{x}: %{y:.4g}", is_line=True)
            panels.append(Panel(title=f"{title} of each timestep", figure=figure(axes, [trace]), legend=()))
        return [*panels, self._kept_panel()]

    def _kept_panel(self) -> Panel:
        xs = [kept.threshold for kept in self.kept]
        hover = "threshold %{x}: %{y:.0%}"
        traces = [
            series(0, xs, [kept.share for kept in self.kept], hover=hover, is_line=True),
            series(1, xs, [kept.overlap for kept in self.kept], hover=hover, is_line=True),
        ]
        share = axis(ObjectiveView(name="", title="Share"), [0.0, 1.0], limit=None)
        axes = {
            "xaxis": axis(ObjectiveView(name="", title="Threshold on L_t / L_max"), xs, limit=None),
            "yaxis": share | {"range": [0, 1.06], "tickformat": ".0%"},
        }
        legend = ["timesteps kept", f"same channels go as without (chance: {self.gone:.0%})"]
        return Panel(title="What a threshold keeps", figure=figure(axes, traces), legend=legend)

    def as_json(self) -> dict[str, Any]:
        curves = zip(self.timestep, self.loss, self.importance, strict=True)
        return {
            "steps": self.steps,
            "scored": self.scored,
            "ratio": RATIO,
            "gone": self.gone,
            "timesteps": [{"timestep": at, "loss": loss, "importance": found} for at, loss, found in curves],
            "thresholds": [asdict(kept) for kept in self.kept],
        }


def timesteps(
    run: Run, criterion: GradientCriterion, *, name: str, rule: Rule, scored: str, advance: Callable[[float], None]
) -> Timesteps:
    """The analysis of the run's teacher; gradients come from the cache where an analysis or a study left them."""
    model = run.teacher
    found = timestep_importance(model, run, criterion, advance=lambda done: advance(done / 2))
    gone = {}
    for place, threshold in enumerate(THRESHOLDS):
        gone[threshold] = _gone(model, run, replace(criterion, threshold=threshold), rule)
        advance(0.5 + (place + 1) / len(THRESHOLDS) / 2)
    return Timesteps(
        name=name,
        timestep=tuple(found.timestep_G.tolist()),
        loss=tuple((found.loss_G / found.loss_G.max()).tolist()),
        importance=tuple(found.importance_G.tolist()),
        kept=tuple(_kept(found, threshold, gone) for threshold in THRESHOLDS),
        gone=len(gone[0.0]) / sum(group.width for group in coupled_groups(model.spec)),
        steps=model.spec.diffusion.steps,
        scored=scored,
    )


def _kept(found: TimestepImportance, threshold: float, gone: dict[float, set[tuple[str, int]]]) -> Kept:
    kept = found.kept(threshold)
    return Kept(
        threshold=threshold,
        timesteps=kept,
        share=kept / len(found.loss_G),
        overlap=len(gone[threshold] & gone[0.0]) / max(1, len(gone[0.0])),
    )


def _gone(model: DiffusionModel, run: Run, criterion: GradientCriterion, rule: Rule) -> set[tuple[str, int]]:
    """The channels that go, each with its group."""
    smaller = Prune(ratio=RATIO, criterion=criterion, rule=rule).apply(model, run)
    return {
        (group.name, channel)
        for group in coupled_groups(model.spec)
        for channel in set(model.survivors.get(group.name, range(group.width)))
        - set(smaller.survivors.get(group.name, range(group.width)))
    }
