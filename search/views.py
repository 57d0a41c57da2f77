"""The view files of a study folder: ``front.json`` and ``trials.jsonl``, read and checked.

They are written by the running study and only read here; ``study.db`` is the truth and stays closed.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import Any, Literal, TypeVar

from trainers.errors import UserError

FRONT_FILE, TRIALS_FILE = "front.json", "trials.jsonl"

T = TypeVar("T")


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
    """A point of the front."""

    trial: int
    values: dict[str, float]
    stderr: dict[str, float | None] = field(default_factory=dict)
    candidate: dict[str, Any] = field(default_factory=dict)
    path: str = ""

    @property
    def number(self) -> int:
        """The trial's number, under the name that ``TrialView`` has for it."""
        return self.trial


@dataclass(frozen=True, kw_only=True)
class TeacherView:
    """What the teacher measures."""

    values: dict[str, float | None] = field(default_factory=dict)
    stderr: dict[str, float | None] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class FrontView:
    """``front.json``. ``seconds`` is the wall time of the study so far, where the study wrote it."""

    study: str
    objectives: list[ObjectiveView]
    question: str = ""
    reference: list[float | None] = field(default_factory=list)
    limits: dict[str, float] = field(default_factory=dict)
    hypervolume: float | None = None
    teacher: TeacherView | None = None
    points: list[PointView] = field(default_factory=list)
    knee: int | None = None
    finished: bool = False
    budget_trials: int | None = None
    seconds: float | None = None


@dataclass(frozen=True, kw_only=True)
class Shortfall:
    """A request that was met only in part."""

    what: str
    asked: Any = None
    achieved: Any = None
    note: str = ""


@dataclass(frozen=True, kw_only=True)
class TrialView:
    """One line of ``trials.jsonl``: an ended trial."""

    number: int
    state: Literal["complete", "failed", "rejected", "stopped"]
    reason: str | None = None
    candidate: dict[str, Any] = field(default_factory=dict)
    values: dict[str, float | None] = field(default_factory=dict)
    stderr: dict[str, float | None] = field(default_factory=dict)
    samples: dict[str, int | None] = field(default_factory=dict)
    by: dict[str, str | None] = field(default_factory=dict)
    achieved: list[Shortfall] = field(default_factory=list)
    seconds: float | None = None
    stages: dict[str, float | None] = field(default_factory=dict)
    images: int | None = None
    rungs: list[dict[str, Any]] = field(default_factory=list)
    versions: dict[str, Any] = field(default_factory=dict)
    path: str = ""

    def value(self, objective: str) -> float:
        """The measured value; only complete trials promise one for each objective of the study."""
        value = self.values[objective]
        assert value is not None, f"trial {self.number} has no {objective}"
        return value

    def error(self, objective: str) -> float:
        """The standard error; 0 where it is exact or not known."""
        stderr = self.stderr.get(objective)
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
        folder = Path(folder)
        if not is_study(folder):
            raise UserError(_no_study(folder))
        front = _parsed(FrontView, _bytes_of(folder, FRONT_FILE), folder, FRONT_FILE)
        lines = _bytes_of(folder, TRIALS_FILE).splitlines()
        trials = [
            _parsed(TrialView, line, folder, f"{TRIALS_FILE}, line {number}")
            for number, line in enumerate(lines, start=1)
            if line.strip()
        ]
        views = cls(folder=folder, front=front, trials=trials)
        views._check()
        return views

    @property
    def complete(self) -> list[TrialView]:
        """Trials with a value for every objective, in the order of their numbers."""
        return sorted((trial for trial in self.trials if trial.state == "complete"), key=lambda trial: trial.number)

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
        place = self.folder / path / name
        if not place.resolve().is_relative_to(self.folder.resolve()):
            raise UserError(_leads_out(self.folder, path))
        return place if place.is_file() else None

    def _check(self) -> None:
        if not self.front.objectives:
            raise UserError(_damaged(self.folder, FRONT_FILE, "it names no objective"))
        names = [objective.name for objective in self.front.objectives]
        for point in self.front.points:
            _check_record(self.folder, FRONT_FILE, f"trial {point.trial}", point.path, point.values, names)
        for trial in self.trials:
            needed = names if trial.state == "complete" else []
            _check_record(self.folder, TRIALS_FILE, f"trial {trial.number}", trial.path, trial.values, needed)


def is_study(folder: Path) -> bool:
    """Whether both view files are there."""
    return (folder / FRONT_FILE).is_file() and (folder / TRIALS_FILE).is_file()


def _bytes_of(folder: Path, file: str) -> bytes:
    try:
        return (folder / file).read_bytes()
    except OSError as error:
        raise UserError(_damaged(folder, file, error.strerror or str(error))) from error


def _check_record(folder: Path, file: str, who: str, path: str, values: dict[str, Any], needed: Sequence[str]) -> None:
    parts = PurePosixPath(path)
    if parts.is_absolute() or ".." in parts.parts or "\\" in path or "\0" in path:
        raise UserError(_leads_out(folder, path))
    for name in needed:
        value = values.get(name)
        if value is None or not math.isfinite(value):
            raise UserError(_damaged(folder, file, f"{who} has {name} {value!r}, where a finite number must be"))


def _parsed(kind: type[T], text: bytes, folder: Path, where: str) -> T:
    from pydantic import TypeAdapter, ValidationError

    try:
        return TypeAdapter(kind).validate_json(text)
    except ValidationError as error:
        first = error.errors()[0]
        place = ".".join(str(part) for part in first["loc"])
        raise UserError(_damaged(folder, where, f"{place}: {first['msg']}" if place else first["msg"])) from error


def _damaged(folder: Path, where: str, fault: str) -> str:
    return (
        f"{folder / where} cannot be used: {fault}. It must be whole JSON as the study wrote it.\n"
        f"It is only a view of study.db: `python -m search.run {folder / 'space.yaml'}` writes it again."
    )


def _leads_out(folder: Path, path: str) -> str:
    return (
        f"{folder}: the path {path!r} of a trial leads out of the study folder; only paths inside it are followed.\n"
        f"`python -m search.run {folder / 'space.yaml'}` writes the view files again."
    )


def _no_study(folder: Path) -> str:
    if not folder.is_dir():
        what = "is a file, not a folder." if folder.exists() else "does not exist."
    else:
        what = f"has no {' and no '.join(name for name in (FRONT_FILE, TRIALS_FILE) if not (folder / name).is_file())}."
    inside = _studies_in(folder)
    found = inside or _studies_in(folder.parent)
    if found:
        advice = f"Studies {'in it' if inside else 'beside it'}: {', '.join(str(study) for study in found)}."
    else:
        advice = "No study lies beside it either. Start one with `python -m search.run spaces/pruning_ratios.yaml`."
    return f"{folder} {what} A study is a folder with {FRONT_FILE} and {TRIALS_FILE}. {advice}"


def _studies_in(folder: Path) -> list[Path]:
    return sorted(child for child in folder.iterdir() if is_study(child))[:10] if folder.is_dir() else []
