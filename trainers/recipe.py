"""A recipe: stages in order, no value left open. A trial and the final full training are both a recipe that runs."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, fields
from functools import lru_cache
from typing import TYPE_CHECKING, Annotated, Any

from pydantic import Field

from trainers.errors import UserError
from trainers.run import UnfitStateError
from trainers.stage import STAGES, Place, Stage
from trainers.written import reader

_MOST_STAGES = 100
"""Each is planned and run; thousands would take hours before the first mistake is found."""

if TYPE_CHECKING:
    from trainers.models.arch_spec import ArchSpec
    from trainers.models.diffusion_model import DiffusionModel
    from trainers.run import Run, TrainingState


@dataclass(frozen=True)
class Recipe:
    """Stages in the order in which they are applied."""

    stages: tuple[Stage, ...]

    @classmethod
    def parse(cls, written: object) -> Recipe:
        """The recipe that YAML writes as a list of ``name: {options}``.

        Raises:
            pydantic.ValidationError: with every mistake; places are (index, stage name, option ...).
        """
        return cls(tuple(_reader()(written)))

    def written(self) -> list[Any]:
        """The YAML data that ``parse`` reads."""
        return [STAGES.written(stage) for stage in self.stages]

    def names(self) -> list[str]:
        """One name per stage, as paths use it: a second stage of a kind is ``distil_2``."""
        return stage_names([STAGES.name_of(stage) for stage in self.stages])

    def plan(self, spec: ArchSpec) -> ArchSpec:
        """The architecture that comes out, before anything is trained.

        Raises:
            UserError: when a stage cannot be applied to what the ones before it make; one line per mistake.
        """
        planned, mistakes = self._planned(spec)
        if mistakes:
            raise UserError("\n".join(mistakes))
        return planned

    def mistakes(self, spec: ArchSpec) -> list[str]:
        """Why stages cannot be applied; one that cannot is left out for those after it."""
        return self._planned(spec)[1]

    def _planned(self, spec: ArchSpec) -> tuple[ArchSpec, list[str]]:
        teacher, begun_anew = spec, ""
        mistakes: list[str] = []
        trainings: list[Stage] = []
        for index, (name, stage) in enumerate(zip(self.names(), self.stages, strict=True)):
            occurrence, occurrences = self._occurrence(index)
            place = Place(teacher=teacher, begun_anew=begun_anew, occurrence=occurrence, occurrences=occurrences)
            try:
                planned = stage.plan(spec)
                stage.check_place(spec, place)
                spec = planned
            except UserError as error:
                mistakes += [_placed(name, stage, line) for line in str(error).splitlines()]
            if stage.begins_anew:
                begun_anew, trainings = name, []
            trainings += [stage] if stage.trains else []
        is_unlabelled_shown = any(stage.shows_unlabelled for stage in trainings)
        if spec.guidance != 1 and begun_anew and trainings and not is_unlabelled_shown:
            mistakes.append(
                f"{begun_anew}: gives the model new weights, and no stage then teaches it to answer without labels, "
                "which guidance leads away from. Write `label_dropout: 0.1` for the stage that trains it, or "
                "`sample: {guidance: 1}`."
            )
        return spec, mistakes

    def run(self, run: Run) -> DiffusionModel:
        """The model that comes out when training stops at ``run.until_images``.

        Stages after the training are applied in any case, so an unfinished model is measured as what it would become.
        ``run.kept_state`` then holds what is needed to go on.

        Raises:
            UnfitStateError: when ``run.state`` is none that this recipe leaves, before anything is trained.
        """
        model, first = run.teacher, 0
        if run.state is not None:
            self._check_state(run.state, run)
            model, first = run.state.model, run.state.stage
            run.kept_state = run.state
        spans = list(self.image_spans(run.budget_images))
        for index in range(first, len(self.stages)):
            run.stage_name, run.stage_index = self.names()[index], index
            is_going_on = run.state is not None and index == first
            run.begun_with = self._spec_before(index, run.teacher.spec) if is_going_on else None
            run.occurrence, run.occurrences = self._occurrence(index)
            run.first_image, run.last_image = spans[index]
            with run.timed(run.stage_name):
                model = self.stages[index].apply(model, run)
            run.processes.check_agreement(model, run.stage_name)
        return model

    def _check_state(self, state: TrainingState, run: Run) -> None:
        from trainers.compression.descent import NotDescendedError, check_survivors

        if not 0 <= state.stage < len(self.stages):
            raise UnfitStateError(f"it stopped in stage {state.stage} of a recipe with {len(self.stages)}")
        spec = self._spec_before(state.stage, run.teacher.spec)
        self.stages[state.stage].check_state(state, spec=spec, run=run)
        for model in (state.model, *state.beside.values()):
            try:
                check_survivors(model)
            except NotDescendedError as error:
                raise UnfitStateError(f"its model {error}") from None

    def _spec_before(self, index: int, spec: ArchSpec) -> ArchSpec:
        # Half a recipe may lack what the other half teaches, so nobody asks for its mistakes.
        return Recipe(self.stages[:index])._planned(spec)[0]

    def _occurrence(self, index: int) -> tuple[int, int]:
        """Which stage of its kind this is, from 0, and how many there are."""
        alike = [place for place, stage in enumerate(self.stages) if type(stage) is type(self.stages[index])]
        return alike.index(index), len(alike)

    def image_spans(self, budget_images: int) -> Iterator[tuple[int, int]]:
        """For each stage, the first and last image of the budget that it sees; empty for stages that do not train."""
        parts = [stage.part if stage.trains else 0.0 for stage in self.stages]  # type: ignore[attr-defined]
        seen = 0.0
        for part in parts:
            end = seen + budget_images * part / (sum(parts) or 1.0)
            yield round(seen), round(end)
            seen = end


def _placed(name: str, stage: Stage, mistake: str) -> str:
    """A mistake of a stage with its key path: ``group.groups: ...`` where it begins with an option, ``prune: ...``."""
    options = {field.name for field in fields(stage)}
    key = mistake.partition(":")[0]
    return f"{name}.{mistake}" if key.partition(".")[0] in options else f"{name}: {mistake}"


@lru_cache(maxsize=1)
def _reader() -> Callable[[object], list[Any]]:
    return reader(Annotated[list[Annotated[Any, STAGES]], Field(max_length=_MOST_STAGES)])


def stage_names(kinds: Sequence[str]) -> list[str]:
    """Names that tell stages of one kind apart.

    >>> stage_names(["distil", "prune", "distil"])
    ['distil', 'prune', 'distil_2']
    """
    counts: Counter[str] = Counter()
    names = []
    for kind in kinds:
        counts[kind] += 1
        names.append(kind if counts[kind] == 1 else f"{kind}_{counts[kind]}")
    return names
