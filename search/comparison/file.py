"""A comparison as a user writes it: recipes without a knob, and what is claimed of them."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated, Any

from pydantic import ConfigDict, Field, ValidationError

from objectives.objective import OBJECTIVES, Objective
from trainers.bounds import Count
from trainers.data.dataset import DATA, Dataset
from trainers.errors import UserError
from trainers.plain_yaml import MOST_BYTES, plain_yaml
from trainers.recipe import Recipe
from trainers.registry import suggestion
from trainers.teacher import Teacher
from trainers.written import reader

_Seeds = Annotated[int, Field(gt=0, le=1_000)]
_Several = Annotated[tuple[str, ...], Field(min_length=1)]
_Items = Annotated[list[Any], Field(min_length=1)]
_KEYS = ("name", "data", "teacher", "objectives", "images", "seeds", "looks", "recipes", "claims")


@dataclass(frozen=True, kw_only=True)
class Claim:
    """What is said of two recipes, or of two sets of them.

    Args:
        claim: In a sentence.
        theirs: The figures it was made with.
        better, than: Recipes; of several, the mean counts.
        by: The objective that decides; the first of the file when left out.
    """

    __pydantic_config__ = ConfigDict(extra="forbid")

    claim: str
    better: str | _Several
    than: str | _Several
    theirs: str = ""
    by: str = ""

    def sides(self) -> tuple[tuple[str, ...], tuple[str, ...]]:
        """The recipes said to be better, and the others."""
        better, than = ((side,) if isinstance(side, str) else side for side in (self.better, self.than))
        return better, than


@dataclass(frozen=True, kw_only=True)
class Comparison:
    """Recipes that are trained on equally many images, each with every seed.

    Args:
        images: Of each recipe, all its training stages together.
        seeds: How many; with each, a teacher that is trained here is another one, too.
        looks: How often the claims were judged; 2 when seeds were added after a first verdict.
        text: The file as read.
    """

    name: str
    data: Dataset
    teacher: Teacher
    objectives: tuple[Objective, ...]
    images: int
    seeds: int
    looks: int
    recipes: Mapping[str, Recipe]
    claims: tuple[Claim, ...]
    text: str

    @classmethod
    def read(cls, path: Path) -> Comparison:
        """The comparison in a YAML file.

        Raises:
            UserError: with every mistake, one a line.
        """
        text, written = _yaml(path)
        mistakes = [
            f"{key}: is not a key of a comparison. {suggestion(str(key), _KEYS)}" for key in written if key not in _KEYS
        ]
        written = {"data": "digits", "claims": [], "seeds": 3, "looks": 1, "name": path.parent.name, **written}
        mistakes += [f"{key}: is missing" for key in _KEYS if key not in written]

        def part(key: str, read: Any, value: Any = None) -> Any:
            if key.partition(".")[0] not in written:
                return None
            try:
                return read(written[key] if value is None else value)
            except ValidationError as error:
                mistakes.extend(
                    f"{'.'.join(str(step) for step in (key, *found['loc']))}: {found['msg']}"
                    for found in error.errors()
                )
                return None

        recipes = part("recipes", reader(Annotated[dict[str, list[Any]], Field(min_length=1)]))
        found = {
            "name": part("name", reader(str)),
            "data": part("data", DATA.parse),
            "teacher": part("teacher", reader(Teacher)),
            "objectives": part("objectives", lambda value: tuple(map(OBJECTIVES.parse, reader(_Items)(value)))),
            "images": part("images", reader(Count)),
            "seeds": part("seeds", reader(_Seeds)),
            "looks": part("looks", reader(_Seeds)),
            "claims": part("claims", reader(tuple[Claim, ...])),
            "recipes": {name: part(f"recipes.{name}", Recipe.parse, value) for name, value in (recipes or {}).items()},
        }
        if not mistakes:
            mistakes = _contradictions(found)
        if mistakes:
            raise UserError("\n  ".join([f"{path} is no comparison:", *mistakes]))
        return cls(**found, text=text)

    def key_of(self, recipe: str) -> str | None:
        """16 hex digits that change with anything that the figures of a recipe depend on; None when it is not here."""
        if recipe not in self.recipes:
            return None
        parts = [self.data, self.teacher, self.objectives, self.images, self.recipes[recipe]]
        return hashlib.sha256(repr(parts).encode()).hexdigest()[:16]

    def teacher_of(self, seed: int) -> Teacher:
        """The teacher that goes with a seed: the same for all where it is loaded."""
        return self.teacher if self.teacher.source is not None else replace(self.teacher, seed=self.teacher.seed + seed)


def _contradictions(found: Mapping[str, Any]) -> list[str]:
    names = [OBJECTIVES.name_of(objective) for objective in found["objectives"]]
    mistakes = []
    for place, claim in enumerate(found["claims"]):
        for name in (name for side in claim.sides() for name in side if name not in found["recipes"]):
            mistakes.append(f"claims.{place}: there is no recipe {name!r}. {suggestion(name, found['recipes'])}")
        if claim.by and claim.by not in names:
            mistakes.append(f"claims.{place}.by: {claim.by!r} is not measured. {suggestion(claim.by, names)}")
    if (found["teacher"].network is None) == (found["teacher"].source is None):
        return [*mistakes, "teacher: must have one of 'network' and 'from'"]
    try:
        spec = found["teacher"].planned_for(found["data"])
    except UserError as error:
        return [*mistakes, *str(error).splitlines()]
    for name, recipe in found["recipes"].items():
        mistakes += [f"recipes.{name}.{mistake}" for mistake in recipe.mistakes(spec)]
    return mistakes


def _yaml(path: Path) -> tuple[str, dict[str, Any]]:
    if not path.is_file():
        wrong = "is no regular file" if path.exists() else "does not exist"
        raise UserError(f"{path} {wrong}. Give a comparison, such as studies/compact_cifar10_small/claims.yaml.")
    try:
        with path.open("rb") as file:
            content = file.read(MOST_BYTES + 1)
        written = plain_yaml(content)
        text = content.decode()
    except (OSError, ValueError) as error:
        raise UserError(f"{path} cannot be read: {' '.join(str(error).split())}") from None
    if not isinstance(written, dict):
        raise UserError(f"{path} must be a mapping with {', '.join(_KEYS)}.")
    return text, written
