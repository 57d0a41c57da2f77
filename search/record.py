"""One trial that ended or was stopped, as the database keeps it and ``trials.jsonl`` shows it."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any, Literal

if TYPE_CHECKING:
    from search.ends import Kind

State = Literal["complete", "failed", "rejected", "stopped"]


@dataclass(frozen=True, kw_only=True)
class Record:
    """A trial that ended, or that was stopped early and may still go on.

    Args:
        state: ``rejected`` trials broke a constraint or a limit on known costs and were never trained; ``stopped`` ones
            were trained with a part of the images, and their values are those of that part.
        reason: Why it failed, was rejected or stopped.
        kind: How it failed; None of all others.
        values, stderr, samples: By objective; of a failed trial the costs that are foretold.
        by: What measured an objective (the feature extractor), where that decides what may be compared.
        achieved: What was asked and what came out, where a stage could do only a part.
        seconds: That workers were busy with it; the time that a stopped trial waited does not count.
        stages: Seconds by stage and measurement; what is missing from ``seconds`` was bookkeeping.
        images: Seen in training.
        rungs: Learned objectives at each rung; of a complete trial without the last.
        path: Of its files, relative to the study's folder.
        by_hand: A user named the candidate; it was trained in full beside the budget.
        confirmed: Objective -> ``value``, ``stderr`` and ``draws`` of a measurement made again when the search had
            ended, with noise that the search never saw; exact costs are not in it.
    """

    number: int
    state: State
    reason: str | None = None
    kind: Kind | None = None
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
    by_hand: bool = False
    confirmed: dict[str, dict[str, float]] = field(default_factory=dict)

    def as_json(self) -> dict[str, Any]:
        """Plain data."""
        return asdict(self)
