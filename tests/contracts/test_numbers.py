"""What every number that a user may write promises: none is true or false; whole ones are within what can be used."""

from __future__ import annotations

import dataclasses
import types
import typing
from collections.abc import Iterator, Mapping
from typing import Annotated, Any

import annotated_types
import pytest
from pydantic import TypeAdapter, ValidationError
from pydantic.fields import FieldInfo

from objectives.objective import OBJECTIVES
from search._option_types import options
from search.budget import HalvingOptions, WrittenBudget
from search.samplers.sampler import SAMPLERS
from search.trackers.tracker import TRACKERS
from search.watchdog import TrialLimits
from trainers.compression.criteria.criterion import CRITERIA
from trainers.data.dataset import DATA
from trainers.models.network import NETWORKS
from trainers.models.samplers.sampler import SAMPLERS as IMAGE_SAMPLERS
from trainers.registry import Registry
from trainers.resources import Resources
from trainers.stage import STAGES
from trainers.teacher import Teacher
from trainers.written import reader

REGISTRIES: tuple[Registry[Any], ...] = (
    *(OBJECTIVES, SAMPLERS, TRACKERS, CRITERIA, DATA, NETWORKS, IMAGE_SAMPLERS, STAGES),
)
PLAIN: tuple[type, ...] = (Teacher, WrittenBudget, HalvingOptions, TrialLimits, Resources)
SEEDS = {"teacher": Teacher, **dict(SAMPLERS)}
SEEDS |= {name: piece for name, piece in OBJECTIVES if "seed" in options(piece)}


def whole_numbers(owner: type, *, seen: set[type]) -> Iterator[tuple[str, list[object]]]:
    """Each option that may be a whole number, those of options' options too, with what is asked of it."""
    seen.add(owner)
    hints = typing.get_type_hints(owner, include_extras=True)
    for field in dataclasses.fields(owner):
        yield from ((f"{owner.__name__}.{field.name}", found) for found in _within(hints[field.name], [], seen))


def _within(kind: Any, asked: list[object], seen: set[type]) -> Iterator[list[object]]:
    arguments = typing.get_args(kind)
    if kind is int:
        yield asked
    elif typing.get_origin(kind) is Annotated:
        if not any(isinstance(each, Registry) for each in arguments[1:]):
            parts = [
                part for each in arguments[1:] for part in (each.metadata if isinstance(each, FieldInfo) else [each])
            ]
            yield from _within(arguments[0], parts, seen)
    elif typing.get_origin(kind) is not typing.Literal:
        for argument in arguments:
            yield from _within(argument, [], seen)
        if dataclasses.is_dataclass(kind) and isinstance(kind, type) and kind not in seen:
            yield from (found for _, found in whole_numbers(kind, seen=seen))


def test_whole_numbers_have_a_smallest_and_a_largest_value() -> None:
    pieces = [piece for registry in REGISTRIES for _, piece in registry]
    seen: set[type] = set()
    found = [each for piece in (*pieces, *PLAIN) for each in whole_numbers(piece, seen=seen)]
    assert len(found) > 60
    for name, asked in found:
        kinds = {type(each) for each in asked}
        assert kinds & {annotated_types.Ge, annotated_types.Gt}, f"{name} has no smallest value"
        assert kinds & {annotated_types.Le, annotated_types.Lt}, f"{name} has no largest value"


def booleans(kind: Any) -> Iterator[Any]:
    """What a user would write who gave true or false for a number, one for each number in a value of ``kind``."""
    arguments = typing.get_args(kind)
    origin = typing.get_origin(kind)
    if kind in (int, float) or (origin is typing.Literal and all(type(each) is int for each in arguments)):
        yield from (True, False)
    elif origin is Annotated and not any(isinstance(each, Registry) for each in arguments[1:]):
        yield from booleans(arguments[0])
    elif origin in (typing.Union, types.UnionType) and bool not in arguments:
        yield from (each for argument in arguments for each in booleans(argument))
    elif origin in (tuple, list):
        yield from ([each] for each in booleans(arguments[0]))
    elif origin in (dict, Mapping):
        yield from ({"mid": each} for each in booleans(arguments[1]))
    elif dataclasses.is_dataclass(kind) and isinstance(kind, type):
        hints = typing.get_type_hints(kind, include_extras=True)
        yield from ({name: each} for name in options(kind) if name in hints for each in booleans(hints[name]))


def test_no_number_is_true_or_false() -> None:
    readers = [(piece, name, registry.parse) for registry in REGISTRIES for name, piece in registry]
    readers += [(kind, "", reader(kind)) for kind in PLAIN]
    tried = 0
    for kind, name, read in readers:
        for written in booleans(kind):
            with pytest.raises(ValidationError) as refusal:
                read({name: written} if name else written)
            (option,) = written
            found = [each for each in refusal.value.errors() if option in each["loc"]]
            assert found, f"{name or kind.__name__} takes {written}"
            tried += 1
    assert tried > 200


@pytest.mark.parametrize(
    ("kind", "written", "value"),
    [
        (float, 3, 3.0),
        (int, 40_000.0, 40_000),
        (tuple[float, ...], [1, 2.5], (1.0, 2.5)),
        (bool | int, True, True),
        (Annotated[bool | float, "a share, or all"] | None, False, False),
        (typing.Literal["all", 8], 8, 8),
    ],
)
def test_what_is_a_number_or_may_be_true_or_false_is_read(kind: Any, written: object, value: object) -> None:
    read = reader(kind)(written)
    assert read == value
    assert type(read) is type(value)


@pytest.mark.parametrize("name", SEEDS)
def test_seeds_are_those_that_every_generator_takes(name: str) -> None:
    hint = typing.get_type_hints(SEEDS[name], include_extras=True)["seed"]
    assert TypeAdapter(hint).validate_python(2**31 - 1)
    for wrong in (-1, 2**31, 10**36):
        with pytest.raises(ValidationError):
            TypeAdapter(hint).validate_python(wrong)
