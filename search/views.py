"""The view files of a study folder: ``front.json`` and ``trials.jsonl``, read and checked.

They are written by the running study and only read here; ``study.db`` is the truth and stays closed.
"""

from __future__ import annotations

import gc
import math
import sys
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal, TypeVar

from pydantic import AfterValidator, Field, Strict

from search._study_folder import FRONT_FILE, RUNS, TRIALS_FILE, damaged, is_study, no_study
from search._view_content import check_figures, check_front, check_inside, check_record, content_of
from search.devices import Stranger
from search.rank_fidelity import RungFidelity
from search.reference import Reference
from trainers.errors import UserError
from trainers.foreign import bytes_inside, file_inside, place_of

if TYPE_CHECKING:
    from pydantic import TypeAdapter

T = TypeVar("T")


def _not_negative(error: float) -> float:
    if error < 0:  # NaN says that it is not known
        raise ValueError(f"a standard error is at least 0, got {error}")
    return error


def _of_finite_numbers(found: Any) -> Any:
    """JSON writes whole numbers of any length, which nothing can be computed with, and 1e999."""
    for value in found.values() if isinstance(found, dict) else found if isinstance(found, list) else (found,):
        if isinstance(value, dict | list):
            if value:
                _of_finite_numbers(value)
        elif isinstance(value, int | float) and not abs(value) <= sys.float_info.max:
            raise ValueError("a finite number was expected")
    return found


Seconds = Annotated[float, Field(ge=0, le=1e12)]
StandardError = Annotated[float, AfterValidator(_not_negative)]
_Whole = Annotated[int, Field(ge=-(10**15), le=10**15)]
if TYPE_CHECKING:
    _Plain = Any
else:
    # All but the last are what nearly all values are, and are told without a call of Python.
    _Plain = Annotated[
        Annotated[str, Strict()]
        | Annotated[_Whole, Strict()]
        | Annotated[float, Strict(), Field(gt=-1e15, lt=1e15)]
        | Annotated[bool, Strict()]
        | Annotated[Any, AfterValidator(_of_finite_numbers)]
        | None,
        Field(union_mode="left_to_right"),
    ]


@dataclass(frozen=True, kw_only=True)
class ObjectiveView:
    """An objective as the study names it."""

    name: str
    goal: Literal["min", "max"] = "min"
    unit: str = ""
    title: str = ""
    learned: bool = False


@dataclass(frozen=True, kw_only=True)
class PointView:
    """A point of the front.

    Args:
        values, stderr: What counts: the confirmed ones where the trial was measured again.
        first: What the search measured, of the objectives that were measured again.
        tied: Trials that do the same for no more, as far as this sample count can tell.
    """

    trial: _Whole
    values: dict[str, float]
    stderr: dict[str, StandardError | None] = field(default_factory=dict)
    confirmed: bool = False
    first: dict[str, float | None] = field(default_factory=dict)
    tied: list[_Whole] = field(default_factory=list)
    candidate: dict[str, _Plain] = field(default_factory=dict)
    path: str = ""

    @property
    def number(self) -> int:
        """The trial's number, under the name that ``TrialView`` has for it."""
        return self.trial

    @property
    def counted(self) -> dict[str, float]:
        """The values, under the name that ``TrialView`` has for them."""
        return self.values

    @property
    def counted_stderr(self) -> dict[str, float | None]:
        """The standard errors, under the name that ``TrialView`` has for them."""
        return self.stderr


@dataclass(frozen=True, kw_only=True)
class TeacherView:
    """What the teacher measures; the fingerprint tells it from others."""

    values: dict[str, float | None] = field(default_factory=dict)
    stderr: dict[str, float | None] = field(default_factory=dict)
    fingerprint: str = ""


@dataclass(frozen=True, kw_only=True)
class FrontView:
    """``front.json``.

    Args:
        elsewhere: Times that were measured on another device than the teacher's.
        reference: Where the hypervolume ends: the limits.
        references: Points of other works, to be marked for comparison; no trials.
        winners_curse: Median ratio of the confirmed to the first value of the learned objective.
        rank_fidelity: How well each share's order foretells the final one, the smallest share first.
        budget_images: Images of a full training.
        seconds: Wall time of the study so far, where the study wrote it.
    """

    study: str
    objectives: list[ObjectiveView]
    question: str = ""
    reference: list[float | None] = field(default_factory=list)
    limits: dict[str, float] = field(default_factory=dict)
    hypervolume: float | None = None
    teacher: TeacherView | None = None
    references: list[Reference] = field(default_factory=list)
    points: list[PointView] = field(default_factory=list)
    knee: _Whole | None = None
    elsewhere: list[Stranger] = field(default_factory=list)
    winners_curse: float | None = None
    rank_fidelity: list[RungFidelity] = field(default_factory=list)
    finished: bool = False
    budget_trials: _Whole | None = None
    budget_images: _Whole | None = None
    seconds: float | None = None

    def figures(self) -> Iterator[float | None]:
        """All that models measured, and what is made of it."""
        yield from (*self.reference, *self.limits.values(), self.hypervolume, self.winners_curse, self.seconds)
        for point in self.points:
            yield from (*point.values.values(), *point.stderr.values(), *point.first.values())
        for each in (self.teacher, *self.references):
            yield from each.values.values() if each is not None else ()
        yield from self.teacher.stderr.values() if self.teacher is not None else ()


@dataclass(frozen=True, kw_only=True)
class Shortfall:
    """A request that was met only in part."""

    what: str
    asked: _Plain = None
    achieved: _Plain = None
    note: str = ""


@dataclass(frozen=True, kw_only=True)
class Confirmation:
    """An objective measured again after the search, with ``draws`` fresh draws of noise."""

    value: float
    stderr: StandardError | None = None
    draws: _Whole | None = None


@dataclass(frozen=True, kw_only=True)
class Reached:
    """What a trial measured at a rung."""

    images: _Whole
    values: dict[str, float | None] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class TrialView:
    """One line of ``trials.jsonl``: an ended trial.

    Args:
        kind: How it failed; None of all others, and where an older version wrote the file.
        values, stderr: The first measurement; of a stopped trial at the share that it reached.
        by_hand: A user named the candidate, not the sampler.
        confirmed: What was measured again after the search, by objective.
    """

    number: _Whole
    state: Literal["complete", "failed", "rejected", "stopped"]
    reason: str | None = None
    kind: str | None = None
    candidate: dict[str, _Plain] = field(default_factory=dict)
    values: dict[str, float | None] = field(default_factory=dict)
    stderr: dict[str, StandardError | None] = field(default_factory=dict)
    samples: dict[str, _Whole | None] = field(default_factory=dict)
    by: dict[str, str | None] = field(default_factory=dict)
    achieved: list[Shortfall] = field(default_factory=list)
    seconds: Seconds | None = None
    stages: dict[str, Seconds | None] = field(default_factory=dict)
    images: _Whole | None = None
    rungs: list[Reached] = field(default_factory=list)
    by_hand: bool = False
    confirmed: dict[str, Confirmation] = field(default_factory=dict)
    versions: dict[str, _Plain] = field(default_factory=dict)
    path: str = ""

    @property
    def counted(self) -> dict[str, float | None]:
        """The values that count: confirmed ones where there are any."""
        return {**self.values, **{name: again.value for name, again in self.confirmed.items()}}

    @property
    def counted_stderr(self) -> dict[str, float | None]:
        """The standard errors of the values that count."""
        return {**self.stderr, **{name: again.stderr for name, again in self.confirmed.items()}}

    def figures(self) -> Iterator[float | None]:
        """All that it measured."""
        yield from (*self.values.values(), *self.stderr.values())
        for again in self.confirmed.values():
            yield from (again.value, again.stderr)
        for rung in self.rungs:
            yield from rung.values.values()

    def value(self, objective: str) -> float:
        """The value that counts; only complete trials promise one for each objective of the study."""
        value = self.counted[objective]
        assert value is not None, f"trial {self.number} has no {objective}"
        return value

    def error(self, objective: str) -> float:
        """The standard error of the value that counts; 0 where it is exact or not known."""
        stderr = self.counted_stderr.get(objective)
        return stderr if stderr is not None and math.isfinite(stderr) else 0.0


@dataclass(frozen=True, kw_only=True)
class StudyViews:
    """A study as its folder shows it."""

    folder: Path
    front: FrontView
    trials: list[TrialView]

    @classmethod
    def open(cls, folder: Path | str) -> StudyViews:
        """Read both files. ``UserError`` when the folder is not a study or a file is damaged."""
        folder = place_of(folder)
        if not is_study(folder):
            raise UserError(no_study(folder))
        with _without_collection():
            views = cls._read(folder)
            views._check()
        return views

    @classmethod
    def _read(cls, folder: Path) -> StudyViews:
        front = _parsed(FrontView, content_of(folder, FRONT_FILE), folder, FRONT_FILE)
        lines = content_of(folder, TRIALS_FILE).splitlines()
        trials = [
            _parsed(TrialView, line, folder, f"{TRIALS_FILE}, line {number}")
            for number, line in enumerate(lines, start=1)
            if line.strip()
        ]
        return cls(folder=folder, front=front, trials=trials)

    @property
    def complete(self) -> list[TrialView]:
        """Trials with a value for every objective, in the order of their numbers."""
        return sorted((trial for trial in self.trials if trial.state == "complete"), key=lambda trial: trial.number)

    @property
    def stopped(self) -> list[TrialView]:
        """Trials that were stopped early: their values are those of the share that they reached, never full results."""
        return sorted((trial for trial in self.trials if trial.state == "stopped"), key=lambda trial: trial.number)

    @property
    def comparable(self) -> list[TrialView]:
        """Complete trials whose times are all of the study's device: no other is the best within a budget."""
        strangers = {each.trial for each in self.front.elsewhere}
        return [trial for trial in self.complete if trial.number not in strangers]

    @property
    def eligible(self) -> list[TrialView]:
        """Comparable trials that may be points of the front: once any were measured again, only those."""
        comparable = self.comparable
        return [trial for trial in comparable if trial.confirmed] or comparable

    @property
    def learned(self) -> ObjectiveView:
        """What a model is judged by (FID): the first learned objective, or the first of all when none is."""
        return next((objective for objective in self.front.objectives if objective.learned), self.front.objectives[0])

    @property
    def costs(self) -> list[ObjectiveView]:
        """All other objectives."""
        return [objective for objective in self.front.objectives if objective != self.learned]

    @property
    def extractors(self) -> list[str]:
        """What measured the learned objective; numbers by different ones must never be compared."""
        return sorted({by for trial in self.complete if (by := trial.by.get(self.learned.name))})

    def file(self, path: str, name: str) -> Path | None:
        """The file ``name`` of a trial's (or the teacher's) folder, or None when it is not there."""
        check_inside(self.folder, path)
        return file_inside(self.folder, Path(path) / name)

    def has_model(self, trial: PointView | TrialView) -> bool:
        """Whether its model lies in the folder, which may be a copy of the results alone."""
        return bool(trial.path) and self.file(trial.path, "model.safetensors") is not None

    @property
    def can_go_on(self) -> bool:
        """Whether ``search.run`` from here would find this study again, by the name of its folder."""
        is_whole = any((self.folder / name).is_file() for name in ("study.db", "storage.json"))
        return is_whole and self.folder.resolve() == (RUNS / self.folder.resolve().name).resolve()

    @property
    def space_file(self) -> Path:
        """Where the space of the study lies, or would."""
        return self.file("", "space.yaml") or self.folder / "space.yaml"

    def bytes_of(self, path: str, name: str) -> bytes | None:
        """What such a file holds, up to a size that none of them has."""
        check_inside(self.folder, path)
        return bytes_inside(self.folder, Path(path) / name)

    def _check(self) -> None:
        if not self.front.objectives:
            raise UserError(damaged(self.folder, FRONT_FILE, "it names no objective"))
        names = [objective.name for objective in self.front.objectives]
        for what, numbers in (
            ("objective", names),
            ("point of trial", [point.trial for point in self.front.points]),
            ("trial", [trial.number for trial in self.trials]),
        ):
            if twice := [name for name, count in Counter(numbers).items() if count > 1]:
                file = TRIALS_FILE if what == "trial" else FRONT_FILE
                raise UserError(damaged(self.folder, file, f"it has the {what} {twice[0]} twice"))
        check_front(self.folder, self.front)
        check_figures(self.folder, FRONT_FILE, "it", self.front.figures())
        for point in self.front.points:
            check_record(self.folder, FRONT_FILE, f"trial {point.trial}", point.path, point.values, names)
        for trial in self.trials:
            who, needed = f"trial {trial.number}", names if trial.state == "complete" else []
            check_figures(self.folder, TRIALS_FILE, who, trial.figures())
            check_record(self.folder, TRIALS_FILE, who, trial.path, trial.values, needed)
            if trial.confirmed:
                check_record(self.folder, TRIALS_FILE, who, trial.path, trial.counted, list(trial.confirmed))


@contextmanager
def _without_collection() -> Iterator[None]:
    """What is read is kept: to look through all of it again and again for garbage takes twice as long as reading it."""
    was_enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_enabled:
            gc.enable()


@cache
def _adapter(kind: type[T]) -> TypeAdapter[T]:
    """Building one takes 100 times as long as reading a line with it."""
    from pydantic import TypeAdapter

    return TypeAdapter(kind)


def _parsed(kind: type[T], text: bytes, folder: Path, where: str) -> T:
    from pydantic import ValidationError

    try:
        # mypy takes a generic class for something that cannot be hashed.
        return _adapter(kind).validate_json(text)  # type: ignore[arg-type]
    except ValidationError as error:
        errors = error.errors()
        # Of a value that may be of any type, what it is not comes before what is wrong with it.
        first = next((each for each in errors if each["type"] == "value_error"), errors[0])
        place = ".".join(str(part) for part in first["loc"] if "[" not in str(part))
        raise UserError(damaged(folder, where, f"{place}: {first['msg']}" if place else first["msg"])) from error
