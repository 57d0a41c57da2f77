"""From the place of a value in YAML data to the dataclass field it belongs to, for suggestions and defaults."""

from __future__ import annotations

import dataclasses
import types
import typing
from collections.abc import Iterator, Mapping, Sequence
from functools import cache
from typing import Annotated, Any

from pydantic.fields import FieldInfo

from trainers.registry import Registry


def owner_of(kind: object, location: Sequence[str | int]) -> type | None:
    """The dataclass that has, or should have, the option that ``location`` ends with; None when it is not an option.

    Args:
        kind: Annotation of the whole value, as pydantic reads it.
        location: Steps as in a pydantic mistake: keys, indices, names of pieces and tags of unions.
    """
    kinds = [kind]
    for step in location[:-1]:
        # Where nothing is found the step is the tag of a union: it leads nowhere further.
        kinds = [inner for kind in kinds for inner in _inside(kind, step)] or kinds
    found = (option for kind in kinds for option in _alternatives(kind) if dataclasses.is_dataclass(option))
    return next((option for option in found if isinstance(option, type)), None)


def options(owner: type) -> dict[str, dataclasses.Field[Any]]:
    """The fields of a dataclass by the name that YAML has for them."""
    hints = _hints(owner)
    return {_alias(hints[field.name]) or field.name: field for field in dataclasses.fields(owner)}


@cache
def _hints(owner: type) -> dict[str, Any]:
    # Evaluated anew, it takes milliseconds; a long list may have a mistake in each item.
    return typing.get_type_hints(owner, include_extras=True)


def default_of(owner: type, option: str) -> object:
    """What an option is when it is left out; ``dataclasses.MISSING`` when it cannot be, or has no plain value."""
    field = options(owner).get(option)
    return dataclasses.MISSING if field is None else field.default


def _inside(kind: object, step: str | int) -> Iterator[object]:
    for option in _alternatives(kind):
        arguments = typing.get_args(option)
        if isinstance(option, Registry):
            yield from (piece for name, piece in option if name == step)
        elif dataclasses.is_dataclass(option) and isinstance(option, type):
            field = options(option).get(str(step))
            if field is not None:
                yield _hints(option)[field.name]
        elif isinstance(step, int) and typing.get_origin(option) in (list, tuple):
            yield arguments[0]
        elif isinstance(step, str) and typing.get_origin(option) in (dict, Mapping) and "[" not in step:
            yield arguments[1]


def _alternatives(kind: object) -> Iterator[object]:
    """The members of a union, and the registry that an annotation names in place of its class."""
    origin = typing.get_origin(kind)
    if origin is Annotated:
        base, *metadata = typing.get_args(kind)
        registries = [item for item in metadata if isinstance(item, Registry)]
        for option in registries or [base]:
            yield from _alternatives(option) if option is base else [option]
    elif origin in (typing.Union, types.UnionType):
        for option in typing.get_args(kind):
            yield from _alternatives(option)
    else:
        yield kind


def _alias(kind: object) -> str | None:
    metadata = typing.get_args(kind)[1:] if typing.get_origin(kind) is Annotated else ()
    return next((item.alias for item in metadata if isinstance(item, FieldInfo)), None)
