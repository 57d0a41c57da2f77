"""What a stage may use: seed, device, data, teacher, budget, folder, cache, and ``report`` to say how far it is."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from time import perf_counter
from typing import TYPE_CHECKING, Any, TypeVar

from trainers.cache import Cache
from trainers.processes import Processes

if TYPE_CHECKING:
    import torch

    from trainers.data.dataset import Images
    from trainers.models.arch_spec import ArchSpec
    from trainers.models.diffusion_model import DiffusionModel


Made = TypeVar("Made")


class UnfitStateError(ValueError):
    """A training state that cannot be gone on from: damaged, of another training, or made up; the text says how."""


@dataclass(frozen=True)
class TrainingState:
    """Where a training stage stopped, so that it goes on as if it never had.

    Args:
        stage: Index of the stage in its recipe.
        images: Images seen since the first training stage began.
        model: The model in training: what earlier stages made, with the last weights.
        tensors: State of the optimiser and of averaged weights, by name.
        beside: Other models that the stage needs to go on, such as the teacher of its present phase.
    """

    stage: int
    images: int
    model: DiffusionModel
    tensors: Mapping[str, torch.Tensor]
    beside: Mapping[str, DiffusionModel] = field(default_factory=dict)


def going_on(
    load: Callable[[], TrainingState | None],
    use: Callable[[TrainingState | None], Made],
    *,
    tell: Callable[[UnfitStateError], None],
) -> Made:
    """What ``use`` makes of a kept state; where that is none to go on from, this is told, and what it makes of none.

    Either may find it out: what is wrong with a state shows when it is read, checked against a recipe, or put back.
    """
    try:
        return use(load())
    except UnfitStateError as error:
        tell(error)
    return use(None)


@dataclass(frozen=True)
class Progress:
    """One report of a training stage."""

    stage: str
    images: int
    images_in_all: int
    loss: float


@dataclass
class Run:
    """One passage through a recipe.

    Args:
        seed: Every random stream derives from it, the stage and the images seen.
        device: Where to compute.
        images: The data, at the network's size.
        teacher: The model the recipe starts from and distils.
        cache: What is computed once and shared by all runs.
        budget_images: Images of the full training, all training stages together.
        until_images: Stop here, a share of the budget; the run can go on from there later.
        state: Where an earlier run of the same recipe stopped.
        on_progress: Called about once a second while training.
        on_student: Called with its name, the number of an iteration, from 1, and what it made by a stage whose students
            follow each other; not for the last one, which the stage gives back.
        micro_batches: Parts in which a batch is computed, one after the other; the step is that of the whole batch.
        processes: Those that train together, each on its device.
    """

    seed: int
    device: torch.device
    images: Images
    teacher: DiffusionModel
    cache: Cache
    budget_images: int
    until_images: int
    state: TrainingState | None = None
    on_progress: Callable[[Progress], None] = lambda progress: None
    on_student: Callable[[str, int, DiffusionModel], None] = lambda stage, number, student: None
    micro_batches: int = 1
    processes: Processes = field(default_factory=Processes)
    seconds: dict[str, float] = field(default_factory=dict)
    kept_state: TrainingState | None = None
    #: Set by the recipe for the stage that is being applied.
    stage_name: str = ""
    #: The architecture that the stage began with, by its plan; None where it begins now.
    begun_with: ArchSpec | None = None
    stage_index: int = 0
    #: This stage is number ``occurrence`` (from 0) of ``occurrences`` stages of its kind.
    occurrence: int = 0
    occurrences: int = 1
    #: Of the progressive distillation that this stage prunes in, from 0; None outside of one.
    iteration: int | None = None
    first_image: int = 0
    last_image: int = 0

    def seed_for(self, *names: str | int) -> int:
        """A seed that depends on the run's seed, the stage and ``names``; equal on every machine."""
        text = ":".join(str(part) for part in (self.seed, self.stage_name, *names))
        return int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "big") >> 1

    def generator(self, *names: str | int) -> torch.Generator:
        """A CPU generator with that seed, so that a stream is the same on every device."""
        import torch

        return torch.Generator().manual_seed(self.seed_for(*names))

    @contextmanager
    def timed(self, name: str) -> Iterator[None]:
        """Add the seconds spent inside to ``seconds[name]``."""
        begun = perf_counter()
        try:
            yield
        finally:
            self.seconds[name] = self.seconds.get(name, 0.0) + perf_counter() - begun

    def up_to(self, images: int, state: TrainingState | None) -> Run:
        """The same run stopping elsewhere, going on from ``state``."""
        return replace(self, until_images=images, state=state, kept_state=None, seconds={})

    def report(self, images: int, loss: float) -> None:
        """Tell how far the training is."""
        self.on_progress(Progress(self.stage_name, images, self.budget_images, loss))

    def keep(
        self,
        images: int,
        model: DiffusionModel,
        tensors: Mapping[str, Any],
        *,
        beside: Mapping[str, DiffusionModel] | None = None,
    ) -> None:
        """Remember where training stopped; the caller of the recipe finds it in ``kept_state``."""
        self.kept_state = TrainingState(self.stage_index, images, model, tensors, beside or {})
