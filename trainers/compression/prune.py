"""Structured pruning: whole channels leave the network, together with everything that is coupled to them."""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Annotated, Any, Literal

from pydantic import Field

from trainers.bounds import Count
from trainers.compression.criteria.criterion import CRITERIA, Criterion
from trainers.compression.criteria.diff_pruning import DiffPruning
from trainers.errors import UserError
from trainers.stage import STAGES, Stage

if TYPE_CHECKING:
    from trainers.models.arch_spec import ArchSpec
    from trainers.models.diffusion_model import DiffusionModel
    from trainers.run import Run
    from trainers.stage import Place

Ratio = Annotated[float, Field(ge=0, lt=1)]


@STAGES.register("prune")
@dataclass(frozen=True, kw_only=True)
class Prune(Stage):
    """Removes channels; the student keeps the teacher's remaining weights.

    Channels go in coupled groups, together in every layer that a skip, a concatenation, an attention or the time
    embedding ties them to. The widths inside each residual block and each attention's query, key and value width are
    groups of their own. The channels of the image are never removed.

    Args:
        ratio: Share of channels to remove: one number for all groups; or by block (``down_0``, ``mid``, ``up_0``,
            ``time``), macro-block (``I``, ``D0`` .., ``M1``, ``M2``, ``U0`` .., ``O``; ``U0`` is the full size), or
            group: the name of the layer that produces it, or a pattern (``*.conv1``, ``*.to_q``). A name counts before
            patterns, a longer pattern before a shorter one, a pattern before blocks, and ``*`` last; what is not named
            stays whole, and a key that decides no group is refused.
        criterion: Which channels go first.
        rule: ``paper`` removes the same count, floor(ratio * s), from each norm group of s channels, as Diff-Pruning
            does. A norm over concatenated widths keeps as many equal groups, so some of its channels fall into another
            group than before. ``flexible`` ranks freely, every channel stays in its norm group, and groups become
            uneven (Flexible Group Normalization).
        statistics: Of norm groups that free ranking leaves uneven: ``proper`` over the channels that are left,
            ``zeroed`` as if those removed were there and zero; or ``shifted``, for comparison: plain norms with as many
            equal groups as before, so that channels fall into groups that are not theirs.
        heads: ``narrow`` takes the same count of channels from each attention head, ``drop`` takes whole heads.
        round_to: Pruned widths become multiples of this, as hardware likes them (8), never narrower than asked.
        greedy: Scores a group only after those before it lost their channels, from the input on (Li et al. 2017). For
            criteria without gradients.
    """

    ratio: Ratio | dict[str, Ratio] = 0.0
    criterion: Annotated[Criterion, CRITERIA] = field(default_factory=DiffPruning)
    rule: Literal["paper", "flexible"] = "paper"
    statistics: Literal["proper", "zeroed", "shifted"] = "proper"
    heads: Literal["narrow", "drop"] = "narrow"
    round_to: Count = 1
    greedy: bool = False

    def plan(self, spec: ArchSpec) -> ArchSpec:
        from trainers.compression import _pruning

        if self.greedy and self.criterion.needs_gradient:
            raise UserError(
                "greedy: scoring anew after each group would need new gradients each time. "
                "Use magnitude or random, or leave greedy out."
            )
        return _pruning.planned(self, spec)

    def check_place(self, spec: ArchSpec, place: Place) -> None:
        from trainers.compression import _mixing

        _mixing.check_place(self.criterion, place)

    def apply(self, model: DiffusionModel, run: Run) -> DiffusionModel:
        from trainers.compression import _pruning

        return _pruning.pruned(self, model, run)

    def up_to(self, share: float, *, start: ArchSpec, now: ArchSpec, after: Sequence[Stage] = ()) -> Prune:
        from trainers.compression import _pruning

        earlier = [stage for stage in after if isinstance(stage, Prune)]
        return _pruning.part(self, share, start=start, now=now, after=earlier)

    def notes(self, *, start: ArchSpec, now: ArchSpec, after: Sequence[Stage] = ()) -> tuple[Mapping[str, Any], ...]:
        from trainers.compression import _pruning

        earlier = [stage for stage in after if isinstance(stage, Prune)]
        return _pruning.notes(self, start=start, now=now, after=earlier)

    def prepare(self, run: Run) -> None:
        from trainers.compression import _scoring

        _scoring.prepare(run, self.criterion)

    def preparation(self) -> Hashable:
        return self.criterion.preparation()
