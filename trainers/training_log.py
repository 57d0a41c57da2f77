"""What a full training shows as it goes: a line for each checkpoint, and what the model draws by then."""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from trainers.atomic import write_atomically
from trainers.errors import UserError
from trainers.foreign import bytes_inside, is_number
from trainers.visible import all_visible

_FILE, _SAMPLES = "progress.jsonl", "samples"


@dataclass
class TrainingLog:
    """``progress.jsonl`` and ``samples/``.

    Args:
        folder: Where both are.
        lines: One for each checkpoint: images, seconds of training up to it, loss, and what was measured.
    """

    folder: Path
    lines: list[dict[str, Any]]

    @classmethod
    def open(cls, folder: Path, *, images: int) -> TrainingLog:
        """The log of a training that goes on from ``images``; what came after them is forgotten."""
        if not images:
            shutil.rmtree(folder / _SAMPLES, ignore_errors=True)
        try:
            content = bytes_inside(folder, _FILE) if images else None
            written = [all_visible(json.loads(line)) for line in (content or b"").splitlines()]
        except (UserError, ValueError, RecursionError):
            written = [None]
        # A damaged log is only a log: it begins again.
        lines = [line for line in written if line["images"] <= images] if all(map(_is_line, written)) else []
        return cls(folder, lines)

    @property
    def seconds(self) -> float:
        """Spent on training so far."""
        return float(self.lines[-1]["seconds"]) if self.lines else 0.0

    def add(
        self, images: int, *, seconds: float, loss: float | None, measured: Mapping[str, Any], strip: bytes
    ) -> None:
        """One more checkpoint, after ``seconds`` in all."""
        line = {"images": images, "seconds": round(seconds, 2), "loss": loss, "measurements": dict(measured)}
        self.lines.append(line)
        write_atomically(self.folder / _SAMPLES / f"{images:09d}.webp", strip)
        write_atomically(self.folder / _FILE, "".join(f"{json.dumps(line)}\n" for line in self.lines).encode())


def _is_line(found: Any) -> bool:
    """Whether it has the form of a line of the log, as far as it is read again."""
    if not isinstance(found, dict) or type(found.get("images")) is not int:
        return False
    return is_number(found.get("seconds"))
