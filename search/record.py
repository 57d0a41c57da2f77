"""One ended trial, as the database keeps it and ``trials.jsonl`` shows it."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from typing import Any, Literal

State = Literal["complete", "failed", "rejected", "stopped"]


@dataclass(frozen=True, kw_only=True)
class Record:
    """An ended trial.

    Args:
        state: ``rejected`` trials broke a constraint or a limit on known costs and were never trained.
        reason: Why it failed, was rejected or stopped.
        values, stderr, samples: By objective.
        by: What measured an objective (the feature extractor), where that decides what may be compared.
        achieved: What was asked and what came out, where a stage could do only a part.
        seconds: From being asked for to being told.
        stages: Seconds by stage and measurement; what is missing from ``seconds`` was waiting and bookkeeping.
        images: Seen in training.
        rungs: Learned objectives at each rung.
        path: Of its files, relative to the study's folder.
    """

    number: int
    state: State
    reason: str | None = None
    candidate: dict[str, Any] = field(default_factory=dict)
    values: dict[str, float] = field(default_factory=dict)
    stderr: dict[str, float] = field(default_factory=dict)
    samples: dict[str, int] = field(default_factory=dict)
    by: dict[str, str] = field(default_factory=dict)
    achieved: list[dict[str, Any]] = field(default_factory=list)
    seconds: float = 0.0
    stages: dict[str, float] = field(default_factory=dict)
    images: int = 0
    rungs: list[dict[str, Any]] = field(default_factory=list)
    versions: dict[str, str] = field(default_factory=dict)
    device: str = ""
    path: str = ""

    def as_json(self) -> dict[str, Any]:
        """Plain data."""
        return asdict(self)
