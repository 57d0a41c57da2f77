"""What the view files of a study may say: read within bounds, and checked where a number or a path must be sensible."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from search._study_folder import FRONT_FILE, TRIALS_FILE, damaged, leads_out
from trainers.errors import UserError
from trainers.foreign import bytes_inside
from trainers.visible import all_visible

if TYPE_CHECKING:
    from search.views import FrontView

_MOST_BYTES = {FRONT_FILE: 64 * 2**20, TRIALS_FILE: 512 * 2**20}
"""Of a hundred thousand trials with 3 to 5 kB each, as of the next three numbers: read in less than ten seconds."""
_MOST_TRIALS = 200_000
_MOST_PARTS = 6_000_000
_MOST_COMMAS = 16_000_000
_MOST_LINE_BYTES = 2**20
_MOST_HIDING_BYTES = 32 * 2**20
_SMALLEST, _LARGEST = 1e-100, 1e100
# The escape in JSON of a hidden character, or its UTF-8: only then is it worth reading twice.
_MAY_HIDE = re.compile(
    rb"\\[bfr]|\\u(?:00[0189]|007[fF]|202[89a-eA-E]|206[6-9]|[fF][eE][fF]{2}|[fF]{3}[9aAbB]|[dD][89a-fA-F])"
    rb"|\xc2[\x80-\x9f]|\xe2\x80[\xa8-\xae]|\xe2\x81[\xa6-\xa9]|\xef\xbb\xbf|\xef\xbf[\xb9-\xbb]|\x7f"
)


def content_of(folder: Path, file: str) -> bytes:
    """A view file as it is, but with the hidden characters of its texts written out.

    Raises:
        UserError: when it is not there, leads out of the folder, is far too large, or is no JSON.
    """
    content = bytes_inside(folder, file, most=_MOST_BYTES[file])
    if content is None:
        raise UserError(damaged(folder, file, "it cannot be read"))
    if file == TRIALS_FILE and (fault := _fault_of_lines(content)):
        raise UserError(damaged(folder, file, fault))
    if not _MAY_HIDE.search(content):
        return content
    lines = content.splitlines() if file == TRIALS_FILE else [content]
    hiding = [bool(_MAY_HIDE.search(line)) for line in lines]
    if sum(len(line) for line, hides in zip(lines, hiding, strict=True) if hides) > _MOST_HIDING_BYTES:
        raise UserError(damaged(folder, file, f"{sum(hiding):,} of its trials have hidden characters in their texts"))
    try:
        return b"\n".join(_visible(line) if hides else line for line, hides in zip(lines, hiding, strict=True))
    except (ValueError, RecursionError) as error:
        raise UserError(damaged(folder, file, str(error))) from None


def _fault_of_lines(content: bytes) -> str | None:
    """What no study writes, and would take minutes and all memory to read."""
    lines = content.splitlines() if content.count(b"\n") <= _MOST_TRIALS else None
    if lines is None or len(lines) > _MOST_TRIALS:
        return f"it has more than {_MOST_TRIALS:,} lines, one for each trial"
    if (longest := max(map(len, lines), default=0)) > _MOST_LINE_BYTES:
        return f"one of its lines has {longest:,} bytes, and may have {_MOST_LINE_BYTES:,}"
    if content.count(b"{") + content.count(b"[") > _MOST_PARTS or content.count(b",") > _MOST_COMMAS:
        return "it has far more in it than the trials of any study"
    return None


def _visible(line: bytes) -> bytes:
    return json.dumps(all_visible(json.loads(line))).encode()


def check_inside(folder: Path, path: str) -> None:
    """A trial's path, as a view writes it, does not lead out of the study."""
    # Not by pathlib, which takes as long as all else that is done with a trial here.
    if path.startswith("/") or ".." in path.split("/") or "\\" in path or "\0" in path:
        raise UserError(leads_out(folder, path))


def check_front(folder: Path, front: FrontView) -> None:
    """Numbers that a front is divided by, or that stand for themselves, are finite; limits are above 0."""
    teacher = front.teacher.values if front.teacher else {}
    limits = [f"limits.{name} is {value!r}" for name, value in front.limits.items() if not 0 < value < math.inf]
    loose = {f"teacher.{name}": value for name, value in teacher.items()}
    loose |= {
        f"references.{each.name}.{name}": value for each in front.references for name, value in each.values.items()
    }
    loose |= {name: getattr(front, name) for name in ("hypervolume", "winners_curse", "seconds")}
    others = [f"{name} is {value!r}" for name, value in loose.items() if value is not None and not math.isfinite(value)]
    if wrong := [*limits, *others]:
        kind = "positive" if limits else "finite"
        raise UserError(damaged(folder, FRONT_FILE, f"{wrong[0]}, where a {kind} number must be"))


def check_figures(folder: Path, file: str, who: str, figures: Iterable[float | None]) -> None:
    """Nothing is so large or so small that its squares and ratios, from which pages are drawn, are no numbers."""
    for figure in figures:
        if figure and not _SMALLEST <= abs(figure) <= _LARGEST and math.isfinite(figure):
            raise UserError(damaged(folder, file, f"{who} has the figure {figure!r}, and no model has such a one"))


def check_record(folder: Path, file: str, who: str, path: str, values: dict[str, Any], needed: Sequence[str]) -> None:
    """A trial's or a point's path is inside, and its values of the ``needed`` objectives are numbers."""
    check_inside(folder, path)
    for name in needed:
        value = values.get(name)
        if value is None or not math.isfinite(value):
            raise UserError(damaged(folder, file, f"{who} has {name} {value!r}, where a finite number must be"))
