"""What the teacher measures, kept in the study's folder: limits must not move when the study goes on."""

from __future__ import annotations

import json
import math
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
    if shop.images.latents is not None:
        # Beside the teacher, so that an exported model needs nothing of this machine's cache.
        shop.images.latents.decoder.save(folder / "teacher")
    write_atomically(file, json.dumps(measured, indent=1).encode())
    return measured


def _stored(file: Path, shop: Workshop) -> dict[str, Any] | None:
    """None where there is nothing usable, or it is of another teacher or of other objectives."""
    from objectives.objective import OBJECTIVES
    from trainers.foreign import json_inside

    stored: dict[str, Any] = json_inside(file.parent, file.name) or {}
    names = {OBJECTIVES.name_of(objective) for objective in shop.objectives}
    parts = [part for key in ("values", "stderr") if isinstance(part := stored.get(key), dict)]
    if stored.get("fingerprint") != shop.teacher.fingerprint() or len(parts) < 2:
        return None
    numbers = [number for part in parts for number in part.values()]
    is_whole = set(stored["values"]) == names and all(isinstance(number, int | float) for number in numbers)
    return stored if is_whole and all(map(math.isfinite, numbers)) else None
