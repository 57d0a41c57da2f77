"""Whether an open recipe is right: it is when every extreme of every knob is, tried one knob at a time."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any

from pydantic import ValidationError

from search._open_recipe import OpenRecipe
from search._pydantic_mistakes import explained
from search.knob import Value
from search.space_error import Mistakes
from trainers.recipe import Recipe
from trainers.stage import STAGES

_KIND = list[Annotated[Any, STAGES]]


def check_recipe(recipe: OpenRecipe, mistakes: Mistakes) -> None:
    """Add every mistake that some candidate of ``recipe`` would have, at the place where its cause is written."""
    for candidate in recipe.corners():
        parsed_candidate(recipe, candidate, mistakes)
    # Between two ends that are wrong there is nothing to find.
    wrong = mistakes.paths()
    for candidate in recipe.corners(lambda knob: knob.extremes() if knob.path in wrong else knob.probes()):
        parsed_candidate(recipe, candidate, mistakes)


def parsed_candidate(recipe: OpenRecipe, candidate: Mapping[str, Value], mistakes: Mistakes) -> Recipe | None:
    """The recipe that a candidate makes; None when it has mistakes, which are added."""
    data, trace = recipe.filled(candidate)
    known = mistakes.places()
    try:
        return Recipe.parse(data)
    except ValidationError as error:
        for mistake in explained(error, data=data, origins=trace.origins, kind=_KIND):
            if mistake.place not in known:
                mistakes.add(mistake.text, path=mistake.path, place=mistake.place)
        return None
