"""YAML text to a tree in which every value knows its line and column; bounded, and without aliases, tags or objects."""

from __future__ import annotations

import io
import math
import re
from dataclasses import dataclass, field

from ruamel.yaml import YAML
from ruamel.yaml.error import MarkedYAMLError, YAMLError
from ruamel.yaml.events import (
    AliasEvent,
    DocumentStartEvent,
    Event,
    MappingEndEvent,
    MappingStartEvent,
    ScalarEvent,
    SequenceEndEvent,
    SequenceStartEvent,
)

from search.space_error import Mistakes, Place
from trainers.visible import HIDDEN

MAX_DEPTH = 32
MAX_VALUES = 5_000
MAX_MISTAKES = 100
# A longer number is a slip, and Python's own conversion is slow or refuses.
_MAX_DIGITS = 100

Primitive = str | int | float | bool | None

# Marks that let a text be read in another order than it is stored in.
_REORDERING = (*range(0x202A, 0x202F), *range(0x2066, 0x206A))

_INT = re.compile(r"[-+]?[0-9][0-9_]*$")
_OTHER_INT = re.compile(r"0x[0-9a-fA-F]+$|0o[0-7]+$")
# As in YAML 1.2, 1e-4 is a number although it has no point.
_FLOAT = re.compile(r"[-+]?(\.[0-9][0-9_]*|[0-9][0-9_]*(\.[0-9_]*)?)([eE][-+]?[0-9]+)?$")
_WORDS: dict[str, Primitive] = {
    **dict.fromkeys(("", "~", "null", "Null", "NULL"), None),
    **dict.fromkeys(("true", "True", "TRUE"), True),
    **dict.fromkeys(("false", "False", "FALSE"), False),
    **{sign + word: float(sign + "inf") for sign in ("", "+", "-") for word in (".inf", ".Inf", ".INF")},
    **dict.fromkeys((".nan", ".NaN", ".NAN"), math.nan),
}


@dataclass(frozen=True)
class Leaf:
    """A single value."""

    value: Primitive
    place: Place


@dataclass(frozen=True)
class Items:
    """A list."""

    items: tuple[Node, ...]
    place: Place


@dataclass(frozen=True)
class Entry:
    """What stands under a key, and where the key is."""

    node: Node
    place: Place


@dataclass(frozen=True)
class Entries:
    """A mapping; its keys are text."""

    entries: dict[str, Entry]
    place: Place


Node = Leaf | Items | Entries


def read_yaml(text: str, *, mistakes: Mistakes, override: str = "") -> Node | None:
    """The tree of ``text``; None when it is empty or cannot be read, which is then a mistake.

    Args:
        override: The ``--set`` option that ``text`` comes from; its places say so.
    """
    builder = _Builder(mistakes, override)
    # In a value it is found below, but not in a comment, which is shown as the space's question.
    hidden = HIDDEN.search(text.removeprefix("\ufeff").replace("\r", "\n"))
    if hidden and ord(hidden[0]) in _REORDERING:
        line = text.count("\n", 0, hidden.start()) + 1
        mistakes.add(_hidden(hidden[0]), place=Place(line=line, column=1, override=override))
        return None
    try:
        for event in YAML(typ="safe", pure=True).parse(text):
            if not builder.take(event):
                return None
    except MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        reason = " ".join(str(part) for part in (error.context, error.problem) if part)
        place = Place(line=mark.line + 1, column=mark.column + 1, override=override) if mark else None
        mistakes.add(f"is not valid YAML: {reason}. Check indentation, colons and brackets around it.", place=place)
        return None
    except (YAMLError, ValueError, OverflowError) as error:  # "\\U7fffffff" is a ValueError
        mistakes.add(f"is not valid YAML: {' '.join(str(error).split())}.")
        return None
    return builder.root


def plain(node: Node) -> object:
    """The tree as dicts, lists and primitive values."""
    if isinstance(node, Leaf):
        return node.value
    if isinstance(node, Items):
        return [plain(item) for item in node.items]
    return {key: plain(entry.node) for key, entry in node.entries.items()}


def flow_text(value: object) -> str:
    """Plain data as YAML on one line: ``{float: [0.0, 0.8]}``."""
    writer = YAML(typ="safe", pure=True)
    writer.default_flow_style = True
    writer.width = 1_000_000
    writer.sort_base_mapping_type_on_output = False  # type: ignore[assignment]  # as above
    stream = io.StringIO()
    writer.dump(value, stream)
    return stream.getvalue().removesuffix("\n").removesuffix("\n...")


def block_text(value: object) -> str:
    """Plain data as YAML on many lines; the innermost lists and mappings stay on one."""
    writer = YAML(typ="safe", pure=True)
    writer.default_flow_style = None
    writer.width = 120
    writer.sort_base_mapping_type_on_output = False  # type: ignore[assignment]  # as above
    stream = io.StringIO()
    writer.dump(value, stream)
    return stream.getvalue()


def primitive(text: str) -> Primitive:
    """The value of an unquoted scalar.

    >>> [primitive(text) for text in ("1e-4", "400_000", "null", "yes")]
    [0.0001, 400000, None, 'yes']
    """
    if text in _WORDS:
        return _WORDS[text]
    if len(text) > _MAX_DIGITS:
        return text
    if _INT.match(text):
        return int(text.replace("_", ""))
    if _OTHER_INT.match(text):
        return int(text, 0)
    return float(text.replace("_", "")) if _FLOAT.match(text) else text


def _hidden(character: str) -> str:
    return f"holds the hidden character {character!a}, which changes how text is shown. Take it out."


@dataclass
class _Open:
    """A list or mapping that has not ended yet."""

    place: Place
    is_mapping: bool
    items: list[Node] = field(default_factory=list)
    entries: dict[str, Entry] = field(default_factory=dict)
    key: tuple[str, Place] | None = None


class _Builder:
    """Builds the tree from events without recursion, so that depth costs nothing before it is refused."""

    def __init__(self, mistakes: Mistakes, override: str) -> None:
        self.root: Node | None = None
        self._mistakes = mistakes
        self._override = override
        self._open: list[_Open] = []
        self._documents = 0
        self._values = 0

    def take(self, event: Event) -> bool:
        """Work in one event; False when reading must stop."""
        place = Place(line=event.start_mark.line + 1, column=event.start_mark.column + 1, override=self._override)
        if len(self._mistakes) >= MAX_MISTAKES:
            return self._stop("is where reading ends, after so many mistakes.", place)
        if isinstance(event, DocumentStartEvent):
            self._documents += 1
            return self._documents == 1 or self._stop("begins a second document. Write one space per file.", place)
        if isinstance(event, MappingEndEvent | SequenceEndEvent):
            ended = self._open.pop()
            return self._add(
                Entries(ended.entries, ended.place) if ended.is_mapping else Items(tuple(ended.items), ended.place)
            )
        if isinstance(event, AliasEvent):
            self._mistakes.add(f"the alias '*{event.anchor}' is not used in a space. Write the value out.", place=place)
            return self._add(Leaf(None, place), key=f"*{event.anchor}")
        if isinstance(event, MappingStartEvent | SequenceStartEvent | ScalarEvent):
            return self._take_value(event, place)
        return True

    def _take_value(self, event: MappingStartEvent | SequenceStartEvent | ScalarEvent, place: Place) -> bool:
        self._values += 1
        if self._values > MAX_VALUES:
            return self._stop(f"is value number {MAX_VALUES + 1:,}; at most {MAX_VALUES:,} are read.", place)
        if event.tag not in (None, "!"):
            self._mistakes.add(f"the tag {str(event.tag)!r} is not used in a space. Leave it out.", place=place)
        if isinstance(event, ScalarEvent):
            if hidden := HIDDEN.search(event.value):
                return self._stop(_hidden(hidden[0]), place)
            is_plain = event.implicit[0] and event.style is None
            return self._add(Leaf(primitive(event.value) if is_plain else event.value, place), key=event.value)
        if self._open and self._open[-1].is_mapping and self._open[-1].key is None:
            return self._stop("a key must be text, not a list or mapping.", place)
        if len(self._open) >= MAX_DEPTH:
            return self._stop(f"is nested more than {MAX_DEPTH} deep. Write it flatter.", place)
        self._open.append(_Open(place, is_mapping=isinstance(event, MappingStartEvent)))
        return True

    def _add(self, node: Node, key: str = "") -> bool:
        if not self._open:
            self.root = node
            return True
        parent = self._open[-1]
        if not parent.is_mapping:
            parent.items.append(node)
        elif parent.key is None:
            parent.key = (key, node.place)
        else:
            name, place = parent.key
            parent.key = None
            if name in parent.entries:
                first = str(parent.entries[name].place).rstrip(":")
                self._mistakes.add(f"the key {name!r} is written twice, first at {first}. Keep one.", place=place)
            parent.entries.setdefault(name, Entry(node, place))
        return True

    def _stop(self, text: str, place: Place) -> bool:
        self._mistakes.add(text, place=place)
        return False
