"""The Stage contract: one step that turns a model into a smaller, cheaper or better one."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from trainers.registry import Registry

if TYPE_CHECKING:
    from trainers.models.arch_spec import ArchSpec
    from trainers.models.diffusion_model import DiffusionModel
    from trainers.run import Run, TrainingState


@dataclass(frozen=True, kw_only=True)
class Place:
    """Where a stage stands in its recipe.

    Args:
        teacher: The architecture that the recipe starts from.
        begun_anew: The last stage before it that gave the model new weights; empty where it has the teacher's.
        occurrence, occurrences, iteration: As ``Run`` says them when the stage is applied.
    """

    teacher: ArchSpec
    begun_anew: str = ""
    occurrence: int = 0
    occurrences: int = 1
    iteration: int | None = None


@dataclass(frozen=True, kw_only=True)
class Stage(ABC):
    """A step of a recipe. The fields of a subclass are its options in YAML, and any of them can be a knob."""

    #: A training stage sees images and takes its part of the budget; the others only reshape the model.
    trains = False
    #: Whether it gives the model new weights, so that nothing is left of the teacher's.
    begins_anew = False

    @property
    def tells_early(self) -> bool:
        """Whether the model after a share of the training says something of the one at the end."""
        return True

    @property
    def shows_unlabelled(self) -> bool:
        """Whether the model learns from images without their labels."""
        return False

    @abstractmethod
    def apply(self, model: DiffusionModel, run: Run) -> DiffusionModel:
        """The model after this stage; ``model`` itself stays as it is."""

    def plan(self, spec: ArchSpec) -> ArchSpec:
        """What ``apply`` makes of the architecture, without weights and before anything is trained.

        Costs computed from it equal those of the built model. Takes microseconds to milliseconds.

        Raises:
            UserError: when the stage cannot be applied to this architecture.
        """
        return spec

    def check_place(self, spec: ArchSpec, place: Place) -> None:  # noqa: B027 (most stages work anywhere)
        """Refuse what ``plan`` alone does not see: that ``apply`` to a model of ``spec`` fails beside this teacher.

        Raises:
            UserError: when the stage cannot do its work there.
        """

    def up_to(self, share: float, *, start: ArchSpec, now: ArchSpec, after: Sequence[Stage] = ()) -> Stage:
        """This stage in parts: what takes ``now`` as far as a share of the whole takes ``start``.

        Applied one after the other for rising shares up to 1, these make what the stage makes at once. Stages that it
        comes ``after`` took from ``start`` what they take, and this one takes its own of ``start`` besides.

        Raises:
            UserError: when it can only be applied at once.
        """
        from trainers.errors import UserError

        raise UserError(f"{STAGES.name_of(self)} cannot be applied in parts. Use prune.")

    def notes(self, *, start: ArchSpec, now: ArchSpec, after: Sequence[Stage] = ()) -> tuple[Mapping[str, Any], ...]:
        """What was asked of ``start``, by this stage and those it comes ``after``, and what ``now`` shows of it.

        As in ``DiffusionModel.notes``; empty for stages that always do what they are asked.
        """
        return ()

    def check_state(self, state: TrainingState, *, spec: ArchSpec, run: Run) -> None:
        """Make sure that a state is one that this stage leaves, applied to a model of ``spec``.

        Raises:
            UnfitStateError: when it is not, as far as its models tell; its tensors are checked where they are put back.
        """
        from trainers.run import UnfitStateError

        raise UnfitStateError(f"it stopped in {STAGES.name_of(self)}, which trains nothing")

    def prepare(self, run: Run) -> None:  # noqa: B027 (most stages need nothing)
        """Compute what this stage needs of the teacher and every trial shares; called before any trial."""

    def preparation(self) -> Hashable:
        """Of stages with equal values, only one has to ``prepare``."""
        return type(self)


STAGES: Registry[Stage] = Registry("stage", folders=("trainers.compression", "trainers.distillation"))
