"""Progressive distillation, with pruning inside: each iteration halves the steps of drawing."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Annotated, Literal

from pydantic import Field

from trainers.bounds import Count, Steps
from trainers.distillation._stage import TrainingStage
from trainers.errors import UserError
from trainers.models.diffusion import Weighting
from trainers.models.samplers.ddim import Ddim
from trainers.stage import STAGES, Stage

if TYPE_CHECKING:
    from trainers.models.arch_spec import ArchSpec
    from trainers.models.diffusion import Diffusion
    from trainers.models.diffusion_model import DiffusionModel
    from trainers.run import Run


@STAGES.register("progressive")
@dataclass(frozen=True, kw_only=True)
class Progressive(TrainingStage):
    """Halves the sampling steps again and again; a student's DDIM step learns to go as far as two of its teacher's.

    Salimans and Ho (2022), Algorithm 2: the student begins as a copy of its teacher and is the teacher of the next
    iteration. With ``prune`` it loses channels on the way, in equal steps at equal intervals and without fine-tuning of
    its own (thesis on progressive distillation with pruning). Images are shared equally between the iterations. What a
    teacher draws with guidance, its student learns to draw without: one forward pass a step (Meng et al. 2023).

    A model whose training stops early, as at the first looks of a search, is drawn in the last number of steps and has
    lost all channels, though nothing was halved or tuned to that yet: such looks say little (``halving: false``).

    Args:
        halvings: Iterations.
        start: Sampling steps of the first teacher; those it draws with when left out.
        prune: Pruning of each iteration in turn; the last one also counts for all iterations after it. Left out: none.
        prune_steps: In so many steps, each after an equal part of the iteration's images.
        prune_of: What the ratios are shares of: the widths of the ``original``, the first teacher, so that they add up
            over the iterations (the thesis, table 4.1); or those that each ``iteration`` begins with.
        error_weight: Left out: ``truncated_snr``, or ``plain`` where the teacher predicts noise: the last timestep
            would have nearly all the weight there.
    """

    halvings: Annotated[int, Field(ge=0, le=16)] = 1
    start: Steps | None = None
    prune: tuple[Annotated[Stage, STAGES], ...] = ()
    prune_steps: Count = 4
    prune_of: Literal["original", "iteration"] = "original"
    learning_rate: Annotated[float, Field(gt=0)] = 2e-4
    # Only this stage has a default that depends on its teacher; it trains by `weighting` alone.
    error_weight: Weighting | None = None  # type: ignore[assignment]

    @property
    def tells_early(self) -> bool:
        # One halving alone is a training like any other.
        return self.halvings < 2 and not self.prunings()

    def plan(self, spec: ArchSpec) -> ArchSpec:
        from trainers.distillation._checks import check_training

        check_training(self, spec)
        if mistakes := self._mistakes(spec):
            raise UserError("\n".join(mistakes))
        return self.drawn(self.pruned(spec)[-1])

    def kept_specs(self, phase: int, *, spec: ArchSpec, run: Run) -> Mapping[str, ArchSpec]:
        from trainers.distillation import _progressive

        return _progressive.kept_specs(phase, spec, run, self)

    def apply(self, model: DiffusionModel, run: Run) -> DiffusionModel:
        from trainers.distillation import _progressive

        return _progressive.halved(model, run, self)

    def prepare(self, run: Run) -> None:
        if self.prune and self.halvings:
            self.prune[0].prepare(run)

    def preparation(self) -> object:
        return self.prune[0].preparation() if self.prune and self.halvings else type(self)

    def weighting(self, diffusion: Diffusion) -> Weighting:
        """``error_weight``, or what it is when left out."""
        return self.error_weight or ("plain" if diffusion.prediction == "epsilon" else "truncated_snr")

    def drawn(self, spec: ArchSpec) -> ArchSpec:
        """The spec drawn in the steps that are left."""
        return replace(self.unguided(spec), sampling_steps=self.steps_before(spec) >> self.halvings, sampler=Ddim())

    def unguided(self, spec: ArchSpec) -> ArchSpec:
        """The spec of a student, which has the guidance of its teacher in its weights."""
        return replace(spec, guidance=1.0) if self.halvings else spec

    def steps_before(self, spec: ArchSpec) -> int:
        """Sampling steps of the first teacher."""
        return self.start if self.start is not None else spec.sampling_steps

    def prunings(self) -> list[Stage]:
        """The pruning of each iteration; none without ``prune``."""
        return [self.prune[min(each, len(self.prune) - 1)] for each in range(self.halvings if self.prune else 0)]

    def pruned(self, spec: ArchSpec) -> list[ArchSpec]:
        """The architecture that each iteration that prunes begins with, and the one that comes out."""
        made = [spec]
        for iteration in range(len(self.prunings())):
            now = made[-1]
            made.append(self.pruning_up_to(1.0, iteration, original=spec, start=now, now=now).plan(now))
        return made

    def pruning_up_to(
        self, share: float, iteration: int, *, original: ArchSpec, start: ArchSpec, now: ArchSpec
    ) -> Stage:
        """What is left to prune of ``now`` for a share of what this iteration prunes, which began with ``start``."""
        *earlier, pruning = self.prunings()[: iteration + 1]
        if self.prune_of == "iteration":
            return pruning.up_to(share, start=start, now=now)
        return pruning.up_to(share, start=original, now=now, after=earlier)

    def _mistakes(self, spec: ArchSpec) -> list[str]:
        steps, found = self.steps_before(spec), []
        if steps % 2**self.halvings:
            found.append(
                f"halvings: {steps} sampling steps cannot be halved {self.halvings} times. "
                f"Set start to a multiple of {2**self.halvings}."
            )
        if steps > spec.diffusion.steps:
            found.append(f"start: {steps} is more than the {spec.diffusion.steps} timesteps of the process. Use fewer.")
        if not spec.diffusion.preserves_variance:
            found.append(
                f"DDIM steps need the schedule linear or cosine, this teacher has {spec.diffusion.schedule!r}."
            )
        if any(stage.trains for stage in self.prune):
            found.append("prune: must be stages that prune, such as `prune`.")
        return found
