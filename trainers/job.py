"""A training job: a recipe with no knob left, read from the ``recipe.yaml`` that export writes."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from pydantic import ConfigDict, ValidationError

from trainers.bounds import Count
from trainers.data.dataset import DATA, Dataset
from trainers.data.latent import Latent
from trainers.errors import UserError
from trainers.foreign import bytes_inside, json_inside, place_of, refuse_links_out
from trainers.plain_yaml import MOST_BYTES, plain_yaml
from trainers.recipe import Recipe
from trainers.resources import Resources
from trainers.teacher import Teacher
from trainers.written import reader

FILE = "recipe.yaml"
_LINEAGE = "lineage.json"


@dataclass(frozen=True, kw_only=True)
class Budget:
    """Images of the full training, all training stages together; ``trials`` is always 1."""

    __pydantic_config__ = ConfigDict(extra="forbid")

    images: Count
    trials: Count = 1


@dataclass(frozen=True, kw_only=True)
class Job:
    """What to train. It is a space with nothing left open, so ``search.run`` reads the same file.

    Args:
        objectives: As written; whoever measures reads them.
        seed: Of the trial that was exported, so that the full training sees the same noise.
        data_hash: Of the content of the data that the trial saw; empty for a recipe that is no trial's.
        micro_batches: Parts in which the trial computed each batch, for want of memory; 1 where it did not.
    """

    name: str
    data: Dataset
    teacher: Teacher
    recipe: Recipe
    budget: Budget
    resources: Resources
    objectives: tuple[Any, ...]
    seed: int
    data_hash: str
    micro_batches: int

    @classmethod
    def read(cls, folder: Path) -> Job:
        """The job in ``folder``.

        Raises:
            UserError: when there is no ``recipe.yaml``, or it is wrong or has a knob left.
        """
        path = folder / FILE
        content = bytes_inside(folder, FILE, most=MOST_BYTES)
        if content is None:
            raise UserError(f"{folder} has no {FILE}. Give a folder that `python -m search.export` wrote.")
        refuse_links_out(folder)
        written = {"data": "digits", "objectives": ["fid"], "resources": {}, **_yaml(path, content)}
        mistakes: list[str] = []
        data = _read(DATA.parse, written, "data", mistakes)
        teacher = _read(reader(Teacher), written, "teacher", mistakes)
        recipe = _read(Recipe.parse, written, "recipe", mistakes)
        budget = _read(reader(Budget), written, "budget", mistakes)
        resources = _read(reader(Resources), written, "resources", mistakes)
        objectives = _read(reader(tuple[Any, ...]), written, "objectives", mistakes)
        if teacher is not None and (teacher.network is None) == (teacher.source is None):
            mistakes.append("teacher: must have one of 'network' and 'from'")
        if mistakes:
            advice = "Every value must be fixed; correct it, or export the trial again."
            raise UserError("\n  ".join([f"{path} is no recipe to train:", *mistakes, advice]))
        lineage = json_inside(folder, _LINEAGE) or {}
        seed, data_hash, parts = (lineage.get(key) for key in ("seed", "data", "micro_batches"))
        return cls(
            name=str(written.get("name", folder.name)),
            data=_with_decoder_beside(data, folder),
            teacher=_beside(teacher, folder),
            recipe=recipe,
            budget=budget,
            resources=resources,
            objectives=objectives,
            seed=seed if isinstance(seed, int) else 0,
            data_hash=data_hash if isinstance(data_hash, str) else "",
            micro_batches=max(1, parts) if isinstance(parts, int) else 1,
        )


def _read(parse: Callable[[object], Any], written: Mapping[str, Any], key: str, mistakes: list[str]) -> Any:
    """The value under ``key``; None where it has mistakes, which are added."""
    if key not in written:
        mistakes.append(f"{key}: is missing")
        return None
    try:
        return parse(written[key])
    except ValidationError as error:
        for found in error.errors():
            place = ".".join(str(part) for part in (key, *found["loc"]))
            mistakes.append(f"{place}: {found['msg']}")
        return None


def _yaml(path: Path, content: bytes) -> Mapping[str, Any]:
    try:
        written = plain_yaml(content)
    except ValueError as error:
        raise UserError(f"{path} cannot be read: {' '.join(str(error).split())}. Export the trial again.") from None
    if not isinstance(written, Mapping):
        raise UserError(f"{path} must be a mapping with 'teacher' and 'recipe'. Export the trial again.")
    return written


def _beside(teacher: Teacher, folder: Path) -> Teacher:
    """A teacher that export put into the folder is found there, wherever the folder was moved to."""
    if teacher.source is not None and place_of(folder / teacher.source).is_dir():
        return replace(teacher, source=str(folder / teacher.source))
    return teacher


def _with_decoder_beside(data: Dataset, folder: Path) -> Dataset:
    """The same of an autoencoder."""
    if not isinstance(data, Latent) or not isinstance(data.autoencoder, str):
        return data
    place = folder / data.autoencoder
    return replace(data, autoencoder=str(place)) if place_of(place).is_dir() else data
