"""How far weights moved from each model to the next, by macro-block.

The thesis on progressive distillation with pruning, section 4.1 and Figure 4.3: the L1 distance of corresponding
weights, divided by the number of weights of the layer, and averaged over the layers of the macro-block.
"""

from __future__ import annotations

import html
import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import torch

from search.analysis.figures import beside, figure, names_axis, series
from search.analysis.finding import Finding, Panel
from search.report.axes import axis
from search.report.number import significant
from search.views import ObjectiveView
from trainers.compression.descent import NotDescendedError, inherited, query_scales
from trainers.errors import UserError

if TYPE_CHECKING:
    from trainers.models.arch_spec import ArchSpec
    from trainers.models.diffusion_model import DiffusionModel


@dataclass(frozen=True, kw_only=True)
class Step:
    """From one model to the next.

    Args:
        distance: Macro-block -> mean over its layers of the mean |change| of a weight.
    """

    before: str
    after: str
    distance: dict[str, float]

    @property
    def name(self) -> str:
        """Of the step."""
        return f"{self.before} → {self.after}"


@dataclass(frozen=True, kw_only=True)
class WeightVariation(Finding):
    """Every step, in order."""

    what = "weight-variation"
    title = "how far weights moved"

    name: str
    steps: tuple[Step, ...]

    def answer(self) -> str:
        found = [(distance, block, step) for step in self.steps for block, distance in step.distance.items()]
        distance, block, step = max(found, key=lambda each: each[0])
        if not distance:
            return "No weight moved."
        return (
            f"Weights moved most in {block} from {step.before} to {step.after}: by {significant(distance)} on average."
        )

    def headings(self) -> list[str]:
        return ["macro-block", *[step.name for step in self.steps]]

    def rows(self) -> list[list[str]]:
        blocks = self.steps[0].distance
        return [[block, *[significant(step.distance[block]) for step in self.steps]] for block in blocks]

    def notes(self) -> list[str]:
        return [
            "Mean |change| of a weight: of each convolution and linear layer the L1 distance of corresponding weights, "
            "divided by their number, then the mean over the layers of the macro-block.",
            "Where the next model was pruned, the channels that it still has are compared.",
        ]

    def panels(self) -> list[Panel]:
        blocks = list(self.steps[0].distance)
        values = [distance for step in self.steps for distance in step.distance.values() if distance > 0]
        traces = [
            series(
                place,
                [index + beside(place, len(self.steps)) for index in range(len(blocks))],
                # A logarithmic axis has no place for 0.
                [step.distance[block] or None for block in blocks],
                hover="<b>%{text}</b><br>%{y:.3g}",
                text=[html.escape(f"{block}, {step.name}") for block in blocks],
            )
            for place, step in enumerate(self.steps)
        ]
        axes = {
            "xaxis": names_axis("Macro-block, from input to output", blocks),
            "yaxis": axis(ObjectiveView(name="", title="Mean |change| of a weight", learned=True), values, limit=None),
        }
        legend = [step.name for step in self.steps]
        return [Panel(title="How far weights moved", figure=figure(axes, traces), legend=legend)]

    def as_json(self) -> dict[str, Any]:
        return {"steps": [{"from": step.before, "to": step.after, "distance": step.distance} for step in self.steps]}


def weight_variation(models: Sequence[tuple[str, DiffusionModel]]) -> WeightVariation:
    """The steps between successive models, given with their names.

    Raises:
        UserError: when one does not descend from the one before it, or holds weights that cannot be compared.
    """
    for name, model in models:
        _check_comparable(name, model.spec)
    steps = tuple(_step(*before, *after) for before, after in pairwise(models))
    return WeightVariation(name=f"{models[0][0]} to {models[-1][0]}", steps=steps)


def _step(before: str, ancestor: DiffusionModel, after: str, model: DiffusionModel) -> Step:
    try:
        expected = inherited(dict(ancestor.net.named_parameters()), model, ancestor)
    except NotDescendedError as found:
        raise UserError(
            f"{after} does not descend from {before}: it {found}. Give models that were trained or pruned one from the "
            "other, the first one first."
        ) from None
    scale_of = query_scales(ancestor.spec, model.spec)
    means: dict[str, list[float]] = {}
    for name, layer in model.spec.layers.items():
        if layer.is_product:
            weight, old = (held[f"{name}.weight"].detach().cpu().double() for held in (_parameters(model), expected))
            distance = (weight - old * scale_of.get(name, 1.0)).abs().mean()
            means.setdefault(model.spec.network.macro_block_of(name), []).append(float(distance))
    return Step(
        before=before, after=after, distance={block: math.fsum(each) / len(each) for block, each in means.items()}
    )


def _parameters(model: DiffusionModel) -> dict[str, torch.Tensor]:
    return dict(model.net.named_parameters())


def _check_comparable(name: str, spec: ArchSpec) -> None:
    reshaped = [layer for layer, held in spec.layers.items() if held.groups > 1 or held.is_quantised]
    if reshaped:
        raise UserError(
            f"{name}: {reshaped[0]} is grouped or quantised, so its weights cannot be compared one by one. "
            "Give models as they were before group and quantize."
        )
