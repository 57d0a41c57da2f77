"""What the teacher measures, kept in the study's folder: limits must not move when the study goes on."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from search.evaluate import Workshop


def teacher_measurements(shop: Workshop, folder: Path) -> dict[str, Any]:
    """What the teacher measured when the study began, or measures now; plain data with ``values`` and ``stderr``."""
    from search.preparation import measured_teacher
    from trainers.atomic import write_atomically

    file = folder / "teacher" / "measurements.json"
    measured = _stored(file, shop) or measured_teacher(shop, folder)
    write_atomically(file, json.dumps(measured, indent=1).encode())
    return measured


def _stored(file: Path, shop: Workshop) -> dict[str, Any] | None:
    """None where there is nothing usable, or it is of another teacher or of other objectives."""
    from objectives.objective import OBJECTIVES

    try:
        stored: dict[str, Any] = json.loads(file.read_text())
    except (OSError, ValueError):
        return None
    is_same = stored.get("fingerprint") == shop.teacher.fingerprint()
    names = {OBJECTIVES.name_of(objective) for objective in shop.objectives}
    return stored if is_same and set(stored["values"]) == names else None
