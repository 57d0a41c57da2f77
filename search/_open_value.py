"""A written value with knobs in it, and what it becomes when they are answered; every part remembers its place."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace

from search._knob_reading import ITEM, Condition, is_knob, label_of, name_of, read_knob
from search._yaml import Entries, Items, Leaf, Node, Primitive
from search.knob import Knob, Value, is_same
from search.space_error import Mistakes, Place

Pick = Callable[[Knob], Value]
Steps = tuple[str | int, ...]


@dataclass(frozen=True)
class Origin:
    """Where a part of filled data was written.

    Args:
        path: Its key path, as knobs and messages have it.
        place: Of the value.
        key_place: Of the key that it stands under, or of the value where there is no key.
        note: Which end of a knob it is; empty for a value that is written out.
    """

    path: str
    place: Place
    key_place: Place
    note: str = ""


@dataclass(frozen=True)
class Fixed:
    """A single value that is written out."""

    value: Primitive
    origin: Origin


@dataclass(frozen=True)
class Branch:
    """A list (keys are indices) or a mapping."""

    children: tuple[tuple[str | int, OpenValue], ...]
    is_list: bool
    origin: Origin


@dataclass(frozen=True)
class Choice:
    """A knob with items to choose from, in the order of its labels."""

    knob: Knob
    items: tuple[OpenValue, ...]
    origin: Origin

    def answered(self, pick: Pick) -> OpenValue:
        """The item that ``pick`` chooses."""
        label = pick(self.knob)
        return next(item for item, known in zip(self.items, self.knob.choices, strict=True) if is_same(known, label))


@dataclass(frozen=True)
class Range:
    """A knob between two numbers; the places are those of its ends."""

    knob: Knob
    low: Place
    high: Place
    origin: Origin


OpenValue = Fixed | Branch | Choice | Range


@dataclass(frozen=True)
class Trace:
    """What filling leaves behind: the origin of every part, and the values that were written out, by path."""

    origins: dict[Steps, Origin] = field(default_factory=dict)
    fixed: dict[str, Primitive] = field(default_factory=dict)


def opened(
    node: Node, path: str, *, mistakes: Mistakes, condition: Condition = (), key_place: Place | None = None
) -> OpenValue:
    """``node`` with its knobs recognised; a knob with mistakes becomes a null at its place, and they are added."""
    origin = Origin(path, node.place, key_place or node.place)
    if isinstance(node, Leaf):
        return Fixed(node.value, origin)
    if isinstance(node, Entries) and is_knob(node):
        return _opened_knob(node, origin, mistakes=mistakes, condition=condition)
    if isinstance(node, Entries):
        children: list[tuple[str | int, OpenValue]] = [
            (key, opened(entry.node, f"{path}.{key}", mistakes=mistakes, condition=condition, key_place=entry.place))
            for key, entry in node.entries.items()
        ]
    else:
        children = [
            (index, opened(item, f"{path}.{index}", mistakes=mistakes, condition=condition))
            for index, item in enumerate(node.items)
        ]
    return Branch(tuple(children), isinstance(node, Items), origin)


def item_path(item: Node, path: str, index: int) -> str:
    """Where knobs inside an item of the choice at ``path`` are found: under its name, or under its number."""
    if isinstance(item, Leaf) or (isinstance(item, Entries) and len(item.entries) == 1 and name_of(item)):
        return path
    return f"{path}.{name_of(item) or f'{ITEM}{index}'}"


def closed(node: Node, path: str, *, mistakes: Mistakes) -> OpenValue:
    """``node`` of a part of the space that is not searched: a knob in it is a mistake."""
    value = opened(_without_knobs(node, path, mistakes), path, mistakes=mistakes)
    assert not list(knobs_of(value))
    return value


def filled(value: OpenValue, pick: Pick, trace: Trace, at: Steps = ()) -> object:
    """Plain data with every knob answered by ``pick``, asked in the order written, a nested one after its choice."""
    if isinstance(value, Choice):
        return filled(value.answered(pick), pick, trace, at)
    if isinstance(value, Range):
        number = pick(value.knob)
        trace.origins[at] = _end(value, number)
        return number
    trace.origins[at] = value.origin
    if isinstance(value, Fixed):
        trace.fixed[value.origin.path] = value.value
        return value.value
    parts = {key: filled(child, pick, trace, (*at, key)) for key, child in value.children}
    return list(parts.values()) if value.is_list else parts


def leaves_of(value: OpenValue) -> Iterator[Fixed | Choice | Range]:
    """All values that are written out and all knobs, those inside choices included; a choice comes after its items."""
    for child in _children(value):
        yield from leaves_of(child)
    if not isinstance(value, Branch):
        yield value


def knobs_of(value: OpenValue) -> Iterator[Knob]:
    """All knobs, conditional ones included, in the order written."""
    if isinstance(value, Choice | Range):
        yield value.knob
    for child in _children(value):
        yield from knobs_of(child)


def _children(value: OpenValue) -> tuple[OpenValue, ...]:
    if isinstance(value, Branch):
        return tuple(child for _, child in value.children)
    return value.items if isinstance(value, Choice) else ()


def _opened_knob(node: Entries, origin: Origin, *, mistakes: Mistakes, condition: Condition) -> OpenValue:
    def report(text: str, place: Place) -> None:
        mistakes.add(text, path=origin.path, place=place)

    knob = read_knob(node, path=origin.path, condition=condition, report=report)
    if knob is None:
        # Nobody shall complain about this value again, wherever in the knob the mistake was.
        mistakes.mark(node.place)
        return Fixed(None, origin)
    written = node.entries[knob.kind].node
    assert isinstance(written, Items)
    if knob.kind != "choice":
        low, high = written.items
        return Range(knob, low.place, high.place, origin)
    items = tuple(
        opened(
            item,
            item_path(item, origin.path, index),
            mistakes=mistakes,
            condition=(*condition, (origin.path, label_of(item))),
            key_place=origin.key_place,
        )
        for index, item in enumerate(written.items)
    )
    return Choice(knob, items, origin)


def _without_knobs(node: Node, path: str, mistakes: Mistakes) -> Node:
    if is_knob(node):
        text = "is a knob, but only values inside 'recipe' can be left open. Write one value."
        mistakes.add(text, path=path, place=node.place)
        return Leaf(None, node.place)
    if isinstance(node, Items):
        items = (_without_knobs(item, f"{path}.{index}", mistakes) for index, item in enumerate(node.items))
        return Items(tuple(items), node.place)
    if isinstance(node, Entries):
        entries = {
            key: replace(entry, node=_without_knobs(entry.node, f"{path}.{key}", mistakes))
            for key, entry in node.entries.items()
        }
        return Entries(entries, node.place)
    return node


def _end(value: Range, number: Value) -> Origin:
    origin, knob = value.origin, value.knob
    if number == knob.low:
        return replace(origin, place=value.low, note="lower end of the knob")
    if number == knob.high:
        return replace(origin, place=value.high, note="upper end of the knob")
    return replace(origin, note="inside the knob")
