"""What the view files of a study may say: read within bounds, and checked where a number or a path must be sensible."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Sequence
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Any

from search._study_folder import FRONT_FILE, TRIALS_FILE, damaged, leads_out
from trainers.errors import UserError
from trainers.foreign import bytes_inside
from trainers.visible import all_visible

if TYPE_CHECKING:
    from search.views import FrontView

_MOST_BYTES = {FRONT_FILE: 64 * 2**20, TRIALS_FILE: 512 * 2**20}
"""Ten thousand trials are 20 MB."""
# An escape in JSON, or the UTF-8 of a hidden character: only then is it worth reading twice.
_MAY_HIDE = re.compile(
    rb"\\[ubfr]|\xc2[\x80-\x9f]|\xe2\x80[\xa8-\xae]|\xe2\x81[\xa6-\xa9]|\xef\xbb\xbf|\xef\xbf[\xb9-\xbb]|\x7f"
)


def content_of(folder: Path, file: str) -> bytes:
    """A view file as it is, but with the hidden characters of its texts written out.

    Raises:
        UserError: when it is not there, leads out of the folder, is far too large, or is no JSON.
    """
    content = bytes_inside(folder, file, most=_MOST_BYTES[file])
    if content is None:
        raise UserError(damaged(folder, file, "it cannot be read"))
    if not _MAY_HIDE.search(content):
        return content
    lines = content.splitlines() if file == TRIALS_FILE else [content]
    try:
        return b"\n".join(json.dumps(all_visible(json.loads(line))).encode() for line in lines if line.strip())
    except (ValueError, RecursionError) as error:
        raise UserError(damaged(folder, file, str(error))) from None


def check_inside(folder: Path, path: str) -> None:
    """A trial's path, as a view writes it, does not lead out of the study."""
    parts = PurePosixPath(path)
    if parts.is_absolute() or ".." in parts.parts or "\\" in path or "\0" in path:
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


def check_record(folder: Path, file: str, who: str, path: str, values: dict[str, Any], needed: Sequence[str]) -> None:
    """A trial's or a point's path is inside, and its values of the ``needed`` objectives are numbers."""
    check_inside(folder, path)
    for name in needed:
        value = values.get(name)
        if value is None or not math.isfinite(value):
            raise UserError(damaged(folder, file, f"{who} has {name} {value!r}, where a finite number must be"))
