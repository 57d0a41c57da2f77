"""Ranges for the knobs of a pruning stage: shown as YAML, and written into a space without touching anything else.

A range belongs to an option of ``prune``: ``ratio.mid`` or ``threshold``, under whatever criterion that is.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Mapping
from pathlib import Path

from search._open_value import Range, leaves_of
from search._yaml import flow_text
from search.space import Space
from search.space_error import Place
from trainers.atomic import write_atomically
from trainers.errors import UserError

Ranges = dict[str, tuple[float, float]]

# A stage stands in the recipe, or in a choice of the recipe.
_PRUNE = r"(recipe\.\d+\.)?prune(_\d+)?\.(.+\.)?"


def ranges_text(ranges: Mapping[str, tuple[float, float]]) -> str:
    """The ranges as YAML, as a space writes them."""
    lines = ["- prune:"]
    ratios = [option for option in ranges if option.startswith("ratio.")]
    lines += ["    ratio:"] if ratios else []
    lines += [f"      {option.removeprefix('ratio.')}: {_knob_text(ranges[option])}" for option in ratios]
    if "threshold" in ranges:
        lines.append(f"    criterion: {{diff_pruning: {{threshold: {_knob_text(ranges['threshold'])}}}}}")
    return "".join(f"{line}\n" for line in lines)


def check_knobs(space: Space, options: Iterator[str] | list[str], *, path: Path) -> None:
    """Refuse a space with no knob for any of ``options``, before anything is measured.

    Raises:
        UserError: with the knobs that it has.
    """
    wanted = list(options)
    if any(_knobs(space, option) for option in wanted):
        return
    floats = [knob.path for knob in space.knobs if knob.kind == "float"]
    raise UserError(
        f"--write: {path} has no knob for {_listed([f'prune.{option}' for option in wanted])}; "
        f"its knobs with a range are {_listed(floats) if floats else 'none'}. "
        "Open one as a knob, such as `ratio: {mid: {float: [0.0, 0.5]}}`, or analyse what the space opens (--by)."
    )


def write_ranges(
    space: Space, ranges: Mapping[str, tuple[float, float]], out: Path, *, reason: str
) -> tuple[list[str], list[str]]:
    """Write the space with ``ranges`` in place of its own to ``out``, and check it.

    Only the numbers change, so that comments, order and layout stay; ``reason`` is added as a last comment.

    Returns:
        Paths of the knobs that were changed, and the options that the space has no knob for.

    Raises:
        UserError: when ``out`` cannot be written.
        SpaceError: when the space is none with these ranges.
    """
    found = {option: _knobs(space, option) for option in ranges}
    changes: dict[Place, float] = {}
    for option, knobs in found.items():
        for knob in knobs:
            low, high = ranges[option]
            if knob.knob.log:
                # Zero has no logarithm: the knob's own lower end stays, below the new upper one.
                low = max(low, min(knob.knob.low, high / 10))
            changes |= {knob.low: low, knob.high: high}
    names = [knob.knob.path for knobs in found.values() for knob in knobs]
    comment = " ".join(f"# Ranges of {', '.join(names)}: {reason}".split())
    text = f"{_replaced(space.text, changes).rstrip()}\n{comment}\n"
    try:
        write_atomically(out, text.encode())
    except OSError as error:
        raise UserError(f"{out} cannot be written: {error.strerror}. Give another --out.") from error
    Space.read(out)
    return names, [option for option, knobs in found.items() if not knobs]


def rounded_down(value: float, *, digits: int = 2) -> float:
    """To so many significant digits, never above ``value``.

    >>> rounded_down(0.1279), rounded_down(0.0041)
    (0.12, 0.0041)
    """
    if value <= 0:
        return 0.0
    places = digits - 1 - math.floor(math.log10(value))
    # The tolerance keeps 0.29 what it is.
    return round(math.floor(value * 10**places * (1 + 1e-12)) / 10**places, max(places, 0))


def _knob_text(ends: tuple[float, float]) -> str:
    return flow_text({"float": list(ends)})


def _knobs(space: Space, option: str) -> list[Range]:
    leaves = (leaf for entry in space.recipe.entries for leaf in leaves_of(entry))
    return [
        leaf
        for leaf in leaves
        if isinstance(leaf, Range)
        and leaf.knob.kind == "float"
        and re.fullmatch(_PRUNE + re.escape(option), leaf.knob.path)
    ]


def _replaced(text: str, changes: Mapping[Place, float]) -> str:
    """``text`` with other numbers at these places."""
    lines = text.splitlines(keepends=True)
    # From the right, so that a place is still where it was when its turn comes.
    for place in sorted(changes, key=lambda place: (place.line, place.column), reverse=True):
        line, start = lines[place.line - 1], place.column - 1
        number = re.match(r"[^\s,\]}]+", line[start:])
        assert number, f"no number at {place}"
        lines[place.line - 1] = line[:start] + repr(changes[place]) + line[start + number.end() :]
    return "".join(lines)


def _listed(names: list[str], *, most: int = 12) -> str:
    return ", ".join(names[:most]) + (f" and {len(names) - most} more" if len(names) > most else "")
