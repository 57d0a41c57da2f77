"""pydantic's mistakes in our words, at the place where the user wrote the value."""

from __future__ import annotations

import dataclasses
import difflib
import re
from collections.abc import Mapping, Sequence
from typing import Any

from pydantic import ValidationError
from pydantic_core import ErrorDetails

from search._open_value import Origin, Steps
from search._option_types import default_of, options, owner_of
from search._yaml import flow_text
from search.space_error import Mistake
from trainers.registry import suggestion

# After "must be".
_BOUNDS = {
    "less_than": "less than {lt}",
    "less_than_equal": "at most {le}",
    "greater_than": "greater than {gt}",
    "greater_than_equal": "at least {ge}",
    "multiple_of": "a multiple of {multiple_of}",
    "finite_number": "a finite number",
}
_KINDS = {
    "int_type": "a whole number",
    "int_parsing": "a whole number",
    "int_from_float": "a whole number",
    "float_type": "a number",
    "float_parsing": "a number",
    "string_type": "text",
    "bool_type": "true or false",
    "bool_parsing": "true or false",
    "dict_type": "a mapping",
    "list_type": "a list",
    "tuple_type": "a list",
    "none_required": "null",
    "dataclass_type": "a mapping of options",
    "dataclass_exact_type": "a mapping of options",
    "model_attributes_type": "a mapping of options",
}
_OWN = ("unknown_piece", "not_a_piece")
_UNKNOWN = ("unexpected_keyword_argument", "extra_forbidden")
_MISSING = ("missing", "missing_argument", "missing_keyword_only_argument")
_MOST = 100
"""As many as are shown; each is compared with all others."""
_LONGEST_VALUE = 60
_LONGEST_NUMBER = 8


@dataclasses.dataclass(frozen=True)
class _Found:
    """One of pydantic's mistakes.

    Args:
        steps: Those of its location that the user wrote.
        option: The location without tags of unions after the last of ``steps``.
        union_at: How many of ``steps`` precede the first tag; None when there is no tag.
    """

    error: ErrorDetails
    steps: Steps
    option: Steps
    union_at: int | None


def explained(error: ValidationError, *, data: object, origins: Mapping[Steps, Origin], kind: object) -> list[Mistake]:
    """Every mistake of ``error`` once, with the path and place that ``origins`` has for it; not too many of them.

    Args:
        data: What was validated.
        origins: Where each part of ``data`` was written.
        kind: The annotation it was validated as; its dataclass fields give suggestions and defaults.
    """
    found = [_located(details, data) for details in error.errors(include_url=False)[:_MOST]]
    mistakes = [_mistake(group, origins, kind) for group in _by_value(found)]
    return list(dict.fromkeys(mistakes))


def _located(details: ErrorDetails, data: object) -> _Found:
    """Follow a location through the data; steps that it does not have are tags of unions or names of pieces."""
    steps: list[str | int] = []
    union_at, end = None, 0
    for index, step in enumerate(details["loc"]):
        is_key = isinstance(data, Mapping) and step in data
        is_index = isinstance(data, list) and isinstance(step, int) and step < len(data)
        if is_key or is_index:
            data = data[step]  # type: ignore[index]
            steps.append(step)
            end = index + 1
        elif details["type"] in _MISSING and index == len(details["loc"]) - 1:
            steps.append(step)
            end = index + 1
        elif union_at is None:
            union_at = len(steps)
    return _Found(details, tuple(steps), details["loc"][:end], union_at)


def _by_value(found: Sequence[_Found]) -> list[list[_Found]]:
    """Group what the members of one union say of one value, leaving out members that the value was not meant for."""
    groups: dict[tuple[Steps, bool], list[_Found]] = {}
    for one in found:
        union = None if one.union_at is None else one.steps[: one.union_at]
        rivals = [other for other in found if other.union_at is not None and other.steps[: other.union_at] == union]
        # A member that looked inside the value recognised its form.
        if (
            union is not None
            and len(one.steps) == len(union)
            and any(len(rival.steps) > len(union) for rival in rivals)
        ):
            continue
        # So did a member that only finds it too large or too small.
        if one.error["type"] in _KINDS and any(
            rival.steps == one.steps and rival.error["type"] in _BOUNDS for rival in rivals
        ):
            continue
        groups.setdefault((one.steps, union is None), []).append(one)
    return list(groups.values())


def _mistake(group: Sequence[_Found], origins: Mapping[Steps, Origin], kind: object) -> Mistake:
    first, steps, option = group[0].error, group[0].steps, group[0].option
    owner = owner_of(kind, option)
    if first["type"] in _MISSING:
        parent = origins[steps[:-1]]
        return Mistake(text="is missing.", path=_joined(parent.path, str(steps[-1])), place=parent.place)
    origin = origins[steps]
    if first["type"] in _UNKNOWN:
        known = options(owner) if owner else {}
        hint = suggestion(str(steps[-1]), known) if known else "It has no options."
        text = f"unknown option {str(steps[-1])!r}. {hint}"
        return Mistake(text=text, path=origins[steps[:-1]].path, place=origin.key_place)
    if first["type"] in _OWN:
        return Mistake(text=first["msg"], path=origin.path, place=origin.place)
    text = _requirement([one.error for one in group])
    if origin.note:
        text += f" ({origin.note})"
    else:
        text += _hint(first["input"]) or _default_hint(owner, str(option[-1]) if option else "")
    return Mistake(text=text, path=origin.path, place=origin.place)


def _requirement(errors: Sequence[ErrorDetails]) -> str:
    allowed = list(dict.fromkeys(phrase for error in errors if (phrase := _allowed(error))))
    if not allowed:
        context = errors[0].get("ctx", {})
        reason = str(context.get("error", errors[0]["msg"]))
        return f"{reason[:1].lower()}{reason[1:].rstrip('.')}, got {_shown(errors[0]['input'])}"
    return f"must be {' or '.join(allowed)}, got {_shown(errors[0]['input'])}"


def _allowed(error: ErrorDetails) -> str | None:
    context: dict[str, Any] = error.get("ctx", {})
    kind = error["type"]
    if kind in _BOUNDS:
        return _BOUNDS[kind].format(**{name: _number(bound) for name, bound in context.items()})
    if kind == "literal_error":
        return _sorted_numbers(str(context["expected"]))
    if kind == "too_short":
        return f"at least {context['min_length']} long"
    if kind == "too_long":
        return f"at most {context['max_length']} long"
    return _KINDS.get(kind)


def _number(bound: Any) -> str:
    return f"{bound:,}" if isinstance(bound, int) else f"{bound:g}"


def _sorted_numbers(expected: str) -> str:
    """pydantic's "32, 8 or 4" as "4, 8 or 32"; names keep their order."""
    if not re.fullmatch(r"[\d, or]+", expected):
        return expected
    *others, last = sorted(re.findall(r"\d+", expected), key=int)
    return f"{', '.join(others)} or {last}" if others else last


def _shown(value: object) -> str:
    text = repr(value) if isinstance(value, str) else flow_text(value)
    if isinstance(value, float) and len(text) > _LONGEST_NUMBER:
        return f"{value:.6g}"
    return text if len(text) <= _LONGEST_VALUE else f"{text[: _LONGEST_VALUE - 3]}..."


def _hint(value: object) -> str:
    """A mapping in the place of a value may be a knob whose key is misspelt."""
    if isinstance(value, Mapping):
        for key in value:
            near = difflib.get_close_matches(str(key), ("float", "int", "choice"), n=1)
            if near:
                return f". Did you mean the knob {near[0]!r} in place of {key!r}?"
    return ""


def _default_hint(owner: type | None, option: str) -> str:
    default = default_of(owner, option) if owner else dataclasses.MISSING
    if default is dataclasses.MISSING or not isinstance(default, str | int | float):
        return "."
    return f". Leave it out for {_shown(default)}."


def _joined(path: str, step: str) -> str:
    return f"{path}.{step}" if path else step
