"""Work for one worker: a part of a trial's training, or a trained model to be measured again."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal


@dataclass(frozen=True, kw_only=True)
class Job:
    """What a free worker does next.

    Args:
        number: Of the trial.
        candidate: Its answers to the knobs.
        kind: ``train``, or ``confirm``: its model is measured again with fresh noise.
        first_rung, last_rung: Rungs to reach one after the other, as indices; they mean nothing to ``confirm``.
        micro_batches: Parts in which a batch is computed, where a device had not enough memory for all of it.
        seconds_before: That workers were busy with the trial before this job.
    """

    number: int
    candidate: Mapping[str, Any]
    kind: Literal["train", "confirm"] = "train"
    first_rung: int = 0
    last_rung: int = 0
    micro_batches: int = 1
    seconds_before: float = field(default=0.0, compare=False)

    @property
    def is_new(self) -> bool:
        """Whether the trial begins with this."""
        return self.kind == "train" and self.first_rung == 0
