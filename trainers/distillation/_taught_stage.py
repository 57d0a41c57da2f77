"""What stages have in common whose student learns beside a teacher."""

from __future__ import annotations

from collections.abc import Hashable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Annotated, Literal

from pydantic import ConfigDict, Field

from trainers.distillation._stage import TrainingStage
from trainers.errors import UserError

if TYPE_CHECKING:
    from trainers.models.arch_spec import ArchSpec
    from trainers.run import Run
    from trainers.stage import Place

Weight = Annotated[float, Field(ge=0)]


@dataclass(frozen=True, kw_only=True)
class DistilWeights:
    """Weights of the loss terms.

    Args:
        noise: Of the denoising error on real images (Ho et al. 2020, Eq. 14).
        output: Of the squared distance to the teacher's prediction on the same noisy images.
        feature: Of the squared distance between features of student's and teacher's images (work on a compact CIFAR-10
            DDPM, loss 2).
        block: Of the squared distance between where corresponding blocks are active (Zagoruyko and Komodakis 2017).
    """

    __pydantic_config__ = ConfigDict(extra="forbid")

    noise: Weight = 1.0
    output: Weight = 0.0
    feature: Weight = 0.0
    block: Weight = 0.0

    @property
    def is_empty(self) -> bool:
        """Whether there is nothing to learn."""
        return not (self.noise or self.asks_teacher)

    @property
    def asks_teacher(self) -> bool:
        """Whether the teacher has to be run."""
        return bool(self.output or self.feature or self.block)


@dataclass(frozen=True, kw_only=True)
class TaughtStage(TrainingStage):
    """A stage whose student learns on real images beside a frozen teacher.

    Args:
        weights: Of the loss terms; with ``noise`` alone this is plain training and the teacher is not run.
        feature_of: Features are of the ``image`` that each prediction implies, or of the ``output`` as it is, as the
            work on a compact CIFAR-10 DDPM has them, where it is noise.
        extractor: Of features: ``inception`` (torchvision's, 2048 values), ``labels`` (the classifier of this data
            set), or ``auto``: Inception when its weights are on this machine.
        sampling_steps: Steps of the sampler when the student draws; None keeps the teacher's.
    """

    weights: DistilWeights = field(default_factory=DistilWeights)
    feature_of: Literal["image", "output"] = "image"
    extractor: Literal["auto", "inception", "labels"] = "auto"
    sampling_steps: Annotated[int, Field(ge=1, le=1000)] | None = None

    def plan(self, spec: ArchSpec) -> ArchSpec:
        from trainers.distillation._checks import check_drawing, check_training

        check_training(self, spec)
        if self.weights.is_empty:
            raise UserError(
                "weights: all are 0, so there is nothing to learn. Give noise, output, feature or block some."
            )
        if self.compile and self.weights.block:
            raise UserError("compile: a compiled network does not show its blocks. Leave out compile or weights.block.")
        return spec if self.sampling_steps is None else check_drawing(spec.with_sampling_steps(self.sampling_steps))

    def check_place(self, spec: ArchSpec, place: Place) -> None:
        from trainers.distillation._checks import check_teaching

        check_teaching(self, spec, teacher=place.teacher)

    def prepare(self, run: Run) -> None:
        if self.weights.feature:
            from trainers.distillation import _teaching

            _teaching.features_for(self, run)

    def preparation(self) -> Hashable:
        return (type(self), self.extractor if self.weights.feature else None)
