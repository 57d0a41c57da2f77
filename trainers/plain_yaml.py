"""YAML to plain data, within bounds and without anchors or tags: a recipe may come from a stranger."""

from __future__ import annotations

from ruamel.yaml import YAML
from ruamel.yaml.error import YAMLError
from ruamel.yaml.events import (
    AliasEvent,
    CollectionEndEvent,
    CollectionStartEvent,
    DocumentStartEvent,
    Event,
    ScalarEvent,
)

from trainers.visible import HIDDEN

MOST_BYTES = 200_000
_MOST_VALUES = 10_000
_MOST_DEPTH = 32
_LONGEST_NUMBER = 100


def plain_yaml(content: bytes) -> object:
    """The data in a UTF-8 text.

    Raises:
        ValueError: when it is not such a text, is too large or too deep, or uses anchors, tags or hidden characters. An
            alias of an alias of an alias is a few lines, and billions of values.
    """
    if len(content) > MOST_BYTES:
        raise ValueError(f"it is larger than {MOST_BYTES:,} bytes")
    text = content.decode()
    try:
        _check(text)
        return YAML(typ="safe", pure=True).load(text)
    except (YAMLError, OverflowError) as error:
        raise ValueError(str(error)) from None


def _check(text: str) -> None:
    """Before any value is made: reading events is all that a hostile text gets."""
    depth = values = documents = 0
    for event in YAML(typ="safe", pure=True).parse(text):
        values += isinstance(event, ScalarEvent | CollectionStartEvent)
        depth += isinstance(event, CollectionStartEvent)
        depth -= isinstance(event, CollectionEndEvent)
        documents += isinstance(event, DocumentStartEvent)
        fault = _fault(event)
        if values > _MOST_VALUES or depth > _MOST_DEPTH or documents > 1:
            fault = f"it has more than {_MOST_VALUES:,} values, {_MOST_DEPTH} levels or one document"
        if fault:
            raise ValueError(f"line {event.start_mark.line + 1}: {fault}")


def _fault(event: Event) -> str | None:
    if isinstance(event, AliasEvent) or getattr(event, "anchor", None):
        return "anchors and aliases are not used in it"
    if not isinstance(event, ScalarEvent | CollectionStartEvent):
        return None
    if event.tag not in (None, "!"):
        return f"the tag {str(event.tag)!r} is not used in it"
    if isinstance(event, ScalarEvent) and HIDDEN.search(event.value):
        return f"it holds the hidden character {HIDDEN.search(event.value)[0]!a}"  # type: ignore[index]  # found
    if isinstance(event, ScalarEvent) and event.style is None and len(event.value) > _LONGEST_NUMBER:
        return "an unquoted text is too long. Put it in quotes" if event.value.strip("+-0123456789_.eE") == "" else None
    return None
