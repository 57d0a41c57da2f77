"""A space: a recipe with some values left open, what to measure of each candidate, and how much to spend."""

from __future__ import annotations

import random
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from objectives.objective import OBJECTIVES, Objective
from search import _content
from search._constraints import read_constraints
from search._content import differences
from search._open_recipe import Candidate, OpenRecipe, read_recipe
from search._open_value import Pick
from search._overrides import overridden
from search._recipe_check import check_recipe, parsed_candidate
from search._sections import (
    check_finite,
    check_no_password,
    check_trade_off,
    read_budget,
    read_checkpoints,
    read_confirm,
    read_data,
    read_from_study,
    read_halving,
    read_limits,
    read_limits_per_trial,
    read_name,
    read_objectives,
    read_references,
    read_resources,
    read_sampler,
    read_storage,
    read_teacher,
    read_tracker,
)
from search._space_file import as_comment, head_comment, read_text
from search._yaml import Entries, Entry, Leaf, block_text, plain, read_yaml
from search.budget import Budget, HalvingOptions
from search.expression import Constraint
from search.knob import Knob, Value
from search.name import check_name
from search.reference import Reference
from search.samplers.sampler import SamplerOptions
from search.space_error import Mistakes, Place, SpaceError
from search.storage_url import has_password, override_shown, without_password
from search.trackers.tracker import Tracker
from search.watchdog import TrialLimits
from trainers.data.dataset import Dataset
from trainers.recipe import Recipe
from trainers.redaction import without_passwords
from trainers.registry import suggestion
from trainers.resources import Resources
from trainers.teacher import Teacher

__all__ = ["Candidate", "Knob", "Space", "SpaceError", "check_name", "differences"]

KEYS = ("name", "recipe", "teacher", *_content.with_defaults(Entries({}, Place(line=1, column=1))).entries)
_REQUIRED = {
    "teacher": "Write a network to train, as in `teacher: {network: {unet: {channels: [16, 32]}}}`, or `{from: ...}`.",
    "recipe": "Write a list of stages, `recipe: []` for none.",
}


@dataclass(frozen=True, kw_only=True)
class Space:
    """A checked space.

    Args:
        name: Of the study.
        question: The comment at the head of the file, one line each; empty when there is none.
        objectives: In the order written.
        limits: Values that still interest, by objective; objectives that are not named have no limit of their own.
        references: Points of other works, which the report marks for comparison.
        constraints: Conditions on knobs and known costs that every candidate has to meet.
        halving: How weak trials are stopped early; None where all are trained in full.
        confirm: How often each point of the front is measured again when the search has ended; 0 is never.
        limits_per_trial: What a trial may take before it is ended.
        from_study: Folders of other studies whose results help the sampler to begin with.
        tracker: Is told of each trial that ends, beside the study itself; None where nobody is.
        storage: URL of the PostgreSQL database that keeps the study; None where that is a file in the study's folder.
        checkpoints: URI under which all machines find trials' files; None where they share the study's folder.
        recipe: The stages with their knobs.
        text: The file exactly as read, unless there is a password in it: then as ``effective_text``.
        effective_text: The space after ``overrides``; ``text`` when there are none. No password is in it.
        overrides: As given to ``read``: ``path=value``, without passwords.
    """

    name: str
    question: str
    data: Dataset
    teacher: Teacher
    recipe: OpenRecipe
    objectives: tuple[Objective, ...]
    limits: Mapping[str, float]
    references: tuple[Reference, ...]
    constraints: tuple[Constraint, ...]
    budget: Budget
    halving: HalvingOptions | None
    confirm: int
    resources: Resources
    limits_per_trial: TrialLimits
    sampler: SamplerOptions
    from_study: tuple[str, ...]
    tracker: Tracker | None
    storage: str | None = field(repr=False)
    checkpoints: str | None
    text: str
    effective_text: str
    overrides: tuple[str, ...] = ()

    @classmethod
    def read(cls, path: str | Path, overrides: Sequence[str] = ()) -> Space:
        """The space in the file at ``path``, with ``overrides`` (``path=value``) in place of what it says there.

        Raises:
            SpaceError: listing every mistake.
        """
        return _read(read_text(Path(path)), subject=str(path), name=Path(path).stem, overrides=tuple(overrides))

    @property
    def knobs(self) -> tuple[Knob, ...]:
        """All knobs, conditional ones included, in the order of the file."""
        return self.recipe.knobs

    @property
    def objective_names(self) -> tuple[str, ...]:
        """The registered name of each objective, in order."""
        return tuple(OBJECTIVES.name_of(objective) for objective in self.objectives)

    @property
    def named_objectives(self) -> dict[str, Objective]:
        """The objectives by their registered names, in order."""
        return dict(zip(self.objective_names, self.objectives, strict=True))

    def is_named(self, key: str) -> bool:
        """Whether the user gave the value of this key by ``--set``; all else may be a stranger's word."""
        return any(override.partition("=")[0].strip() == key for override in self.overrides)

    @property
    def is_storage_named(self) -> bool:
        """Whether there is a storage, and the user named it."""
        return self.storage is not None and self.is_named("storage")

    def candidate(self, pick: Pick) -> Candidate:
        """Answers of ``pick`` to the active knobs, asked in the order of the file, a nested one after its choice."""
        return self.recipe.candidate(pick)

    def random_candidate(self, generator: random.Random) -> Candidate:
        """Independent draws for all active knobs; the constraints may not hold."""
        return self.candidate(lambda knob: knob.random(generator))

    def corners(self) -> Iterator[Candidate]:
        """All knobs at their first value, all at their last, then each at every extreme or choice in turn."""
        return self.recipe.corners()

    def fill(self, candidate: Mapping[str, Value]) -> Recipe:
        """The recipe of ``candidate``.

        Raises:
            SpaceError: when it does not answer exactly the active knobs, or a value is out of range.
        """
        mistakes = Mistakes()
        recipe = parsed_candidate(self.recipe, candidate, mistakes)
        mistakes.raise_for("the candidate")
        assert recipe is not None
        return recipe

    def filled(self, candidate: Mapping[str, Value]) -> list[Any]:
        """The recipe of ``candidate`` as plain YAML data. Raises the same as ``fill``."""
        return self.recipe.filled(candidate)[0]

    def fixed_values(self, candidate: Mapping[str, Value]) -> dict[str, Value]:
        """The values that the recipe writes out and ``candidate`` keeps, by path; constraints can name them too."""
        return self.recipe.filled(candidate)[1].fixed

    def violations(self, candidate: Mapping[str, Value], costs: Mapping[str, float]) -> tuple[float, ...]:
        """How far each constraint is from holding, 0 where it holds; ``costs`` are those known before training."""
        values = {**self.fixed_values(candidate), **candidate, **costs} if self.constraints else {}
        return tuple(constraint.violation(values) for constraint in self.constraints)

    def fingerprint(self) -> str:
        """A hash of what the space asks; its name, resources, number of trials and confirmation do not count."""
        root = read_yaml(self.effective_text, mistakes=Mistakes())
        assert isinstance(root, Entries)
        return _content.fingerprint(root)


def _read(text: str, *, subject: str, name: str, overrides: tuple[str, ...]) -> Space:
    mistakes = Mistakes()
    root = read_yaml(text, mistakes=mistakes)
    if not isinstance(root, Entries):
        if not mistakes:
            found = (
                "is empty" if root is None else "must be a mapping at the top, of keys such as 'teacher' and 'recipe'"
            )
            mistakes.add(f"{found}. Copy a file of spaces/ to begin with.", place=root.place if root else None)
        mistakes.raise_for(subject)
    assert isinstance(root, Entries)
    root = overridden(root, overrides, keys=KEYS, mistakes=mistakes)
    check_finite(root, "", mistakes)
    check_no_password(root, "", mistakes)
    _check_keys(root, mistakes)
    question = without_passwords(head_comment(text))
    parts = _parts(_content.with_defaults(root), name, mistakes)
    mistakes.raise_for(subject)
    storage = parts["storage"]
    is_secret = without_passwords(text) != text
    if storage is not None and has_password(storage):
        is_secret = True
        place = root.entries["storage"].place
        leaf = Entry(Leaf(without_password(storage), place), place)
        root = Entries({**root.entries, "storage": leaf}, root.place)
    effective = as_comment(question) + block_text(plain(root)) if overrides or is_secret else text
    return Space(
        **parts,
        question=question,
        text=effective if is_secret else text,
        effective_text=effective,
        overrides=tuple(map(override_shown, overrides)),
    )


def _check_keys(root: Entries, mistakes: Mistakes) -> None:
    for key, entry in root.entries.items():
        if key not in KEYS:
            mistakes.add(f"unknown key {key!r}. {suggestion(key, KEYS)}", place=entry.place)
    for key, advice in _REQUIRED.items():
        if key not in root.entries:
            mistakes.add(f"is missing. {advice}", path=key)


def _parts(root: Entries, name: str, mistakes: Mistakes) -> dict[str, Any]:
    """The fields of a Space that the tree gives; where it has mistakes they are added, and a field may be None."""
    nodes = {key: entry.node for key, entry in root.entries.items()}
    recipe = read_recipe(nodes["recipe"], mistakes) if "recipe" in nodes else OpenRecipe(())
    check_recipe(recipe, mistakes)
    before = len(mistakes)
    objectives = read_objectives(nodes["objectives"], mistakes)
    if recipe.knobs and len(mistakes) == before:
        check_trade_off(objectives, nodes["objectives"], mistakes)
    names = [OBJECTIVES.name_of(objective) for objective in objectives]
    sure_names = names if len(mistakes) == before else ()
    budget = read_budget(nodes["budget"], mistakes)
    sampler = read_sampler(nodes["sampler"], mistakes)
    return {
        "name": read_name(nodes.get("name", Leaf(name, Place(line=1, column=1))), mistakes),
        "data": read_data(nodes["data"], mistakes),
        "teacher": read_teacher(nodes["teacher"], mistakes) if "teacher" in nodes else None,
        "recipe": recipe,
        "objectives": objectives,
        "limits": read_limits(nodes["limits"], sure_names, mistakes),
        "references": read_references(nodes["references"], sure_names, mistakes),
        "constraints": read_constraints(nodes["constraints"], recipe, names, mistakes),
        "budget": budget,
        "halving": read_halving(nodes["halving"], budget, mistakes),
        "confirm": read_confirm(nodes["confirm"], mistakes),
        "resources": read_resources(nodes["resources"], mistakes),
        "limits_per_trial": read_limits_per_trial(nodes["limits_per_trial"], mistakes),
        "sampler": sampler,
        "from_study": read_from_study(nodes["from_study"], sampler, mistakes),
        "tracker": read_tracker(nodes["tracker"], mistakes),
        "storage": read_storage(nodes["storage"], mistakes),
        "checkpoints": read_checkpoints(nodes["checkpoints"], mistakes),
    }
