"""A mapping such as ``{float: [0, 1], log: true}`` in a space to a knob, or to everything that is wrong with it."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

from search._yaml import Entries, Items, Leaf, Node, flow_text, plain
from search.knob import Knob, Value
from search.space_error import Place
from trainers.registry import suggestion

_KINDS = ("float", "int", "choice")
_MOST_CHOICES = 1_000
_LARGEST = 2**53
"""Beyond it a float, which databases and samplers take all numbers for, no longer tells whole numbers apart."""
_OPTIONS = {"float": ("log", "step"), "int": ("log", "step"), "choice": ()}
_EXAMPLE = {"float": "`float: [0.1, 0.5]`", "int": "`int: [1, 8]`"}
_IF_TWICE = "Open an option inside one of them as a knob instead."
# An item of a choice that has no name is found under its number: ``item_0``.
ITEM = "item_"

Report = Callable[[str, Place], None]
Condition = tuple[tuple[str, Value], ...]


def is_knob(node: Node) -> bool:
    """Whether a value is meant as a knob: a mapping with one of the keys that only knobs have."""
    return isinstance(node, Entries) and any(kind in node.entries for kind in _KINDS)


def read_knob(
    node: Entries, *, path: str, condition: Condition, report: Report, if_twice: str = _IF_TWICE
) -> Knob | None:
    """The knob that ``node`` writes; None when it has mistakes, which are reported.

    Args:
        if_twice: What to do where two items of a choice have one name.
    """
    kinds = [key for key in node.entries if key in _KINDS]
    if len(kinds) > 1:
        report(f"has {' and '.join(map(repr, kinds))}. A knob has one of float, int and choice; keep one.", node.place)
        return None
    kind = kinds[0]
    unknown = [key for key in node.entries if key != kind and key not in _OPTIONS[kind]]
    for key in unknown:
        allowed = (kind, *_OPTIONS[kind])
        hint = suggestion(key, allowed) if len(allowed) > 1 else "It takes no other key; leave it out."
        report(f"unknown key {key!r} beside {kind!r} of a knob. {hint}", node.entries[key].place)
    written = node.entries[kind].node
    if kind == "choice":
        labels = _labels(written, report, if_twice)
        found = Knob(path=path, kind="choice", choices=labels, condition=condition) if labels else None
    else:
        bounds = _range(node, "float" if kind == "float" else "int", report)
        found = bounds.knob(path, condition) if bounds else None
    return None if unknown else found


def label_of(node: Node) -> Value:
    """What an item of a choice is called: itself, the name it begins with, or its JSON text."""
    name = name_of(node)
    if name is not None:
        return name
    return node.value if isinstance(node, Leaf) else json.dumps(plain(node), separators=(",", ":"), ensure_ascii=False)


def name_of(node: Node) -> str | None:
    """The name that a mapping stands for: of ``{name: x, ...}`` or its only key; None for anything else."""
    if not isinstance(node, Entries) or is_knob(node):
        return None
    named = node.entries.get("name")
    if named and isinstance(named.node, Leaf) and isinstance(named.node.value, str):
        return named.node.value
    return next(iter(node.entries)) if len(node.entries) == 1 else None


@dataclass(frozen=True, kw_only=True)
class _Range:
    kind: Literal["float", "int"]
    low: float
    high: float
    log: bool
    step: float | None

    def knob(self, path: str, condition: Condition) -> Knob:
        high = self.high
        if self.step is not None:
            # The tolerance keeps 0.3 in reach of 0 by steps of 0.1.
            high = self.low + self.step * math.floor((self.high - self.low) / self.step + 1e-8)
        return Knob(
            path=path, kind=self.kind, low=self.low, high=high, log=self.log, step=self.step, condition=condition
        )


def _range(node: Entries, kind: Literal["float", "int"], report: Report) -> _Range | None:
    ends = _ends(node.entries[kind].node, kind, report)
    log = _option(node, "log", lambda value: isinstance(value, bool), "must be true or false", report)
    what = "a number above 0" if kind == "float" else "a whole number above 0"
    step = _option(node, "step", lambda value: _is_number(value, kind) and value > 0, f"must be {what}", report)
    if ends is None or log is _WRONG or step is _WRONG:
        return None
    low, high = ends
    place = node.entries[kind].node.place
    if low > high:
        report(f"must go from low to high, got [{low}, {high}]. Write [{high}, {low}].", place)
        return None
    if log and step is not None:
        report("has both log and step; a knob takes one of them. Leave one out.", node.entries["step"].place)
        return None
    if log and low <= 0:
        report(f"must begin above 0 with log, got {low}.", place)
        return None
    if max(abs(low), abs(high)) > _LARGEST or (step and (high - low) / step > _LARGEST):
        report(f"goes from {low:g} to {high:g}, which is too far or in too many steps. Write a smaller range.", place)
        return None
    return _Range(kind=kind, low=low, high=high, log=bool(log), step=step)


def _ends(node: Node, kind: str, report: Report) -> tuple[float, float] | None:
    written = plain(node)
    if isinstance(written, list) and len(written) == 2 and all(_is_number(end, kind) for end in written):
        return (float(written[0]), float(written[1])) if kind == "float" else (written[0], written[1])
    if isinstance(written, list) and any(isinstance(end, float) and not math.isfinite(end) for end in written):
        # Infinity and NaN are reported wherever they stand.
        return None
    what = "two numbers" if kind == "float" else "two whole numbers"
    report(f"must be {what} as in {_EXAMPLE[kind]}, got {flow_text(written)}.", node.place)
    return None


_WRONG = object()


def _option(node: Entries, key: str, is_right: Callable[[Any], bool], what: str, report: Report) -> Any:
    """The value beside the kind, None when it is absent, ``_WRONG`` when it is (and that is reported)."""
    if key not in node.entries:
        return None
    written = plain(node.entries[key].node)
    if is_right(written):
        return written
    report(f"{key} {what}, got {flow_text(written)}.", node.entries[key].node.place)
    return _WRONG


def _labels(node: Node, report: Report, if_twice: str) -> tuple[Value, ...]:
    if not isinstance(node, Items) or not node.items:
        report(f"must be a list of at least one choice, got {flow_text(plain(node))}.", node.place)
        return ()
    if len(node.items) > _MOST_CHOICES:
        report(f"has {len(node.items):,} choices, at most {_MOST_CHOICES:,} are searched. Open a range.", node.place)
        return ()
    labels: list[Value] = []
    is_right = True
    for item in node.items:
        label = label_of(item)
        # 1 and true differ as labels, but Python dictionaries and databases take them for one.
        if any(label == other for other in labels):
            hint = "Keep one." if isinstance(item, Leaf) else if_twice
            report(f"has two choices called {label!r}. {hint}", item.place)
            is_right = False
        # Reported wherever it stands; NaN would never be found among the choices, since it does not equal itself.
        is_right = is_right and not (isinstance(label, float) and not math.isfinite(label))
        labels.append(label)
    return tuple(labels) if is_right else ()


def _is_number(value: object, kind: str) -> bool:
    if isinstance(value, bool) or not isinstance(value, int | float):
        return False
    return math.isfinite(value) and (kind == "float" or isinstance(value, int))
