"""What runs trials, seen from outside: hooks for a live view, and the plain driver that uses this process alone."""

from __future__ import annotations

import hashlib
import traceback
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from search.evaluate import TrialPlan, Workshop, evaluate

if TYPE_CHECKING:
    from search.record import Record
    from search.study import Asked, Study
    from trainers.run import Progress


class Watcher(Protocol):
    """Is told what happens, in the driver's process."""

    def started(self, asked: Asked) -> None:
        """A trial begins."""

    def progressed(self, number: int, progress: Progress) -> None:
        """A trial trains."""

    def reported(self, number: int, result: Mapping[str, Any]) -> None:
        """A trial reached a rung."""

    def ended(self, record: Record) -> None:
        """A trial was told to the study."""


def plan_of(study: Study, asked: Asked) -> TrialPlan:
    """The trial of a candidate; its seed depends on the study's seed and its number."""
    digest = hashlib.sha256(f"{study.space.sampler.seed}:{asked.number}".encode()).digest()
    return TrialPlan(
        number=asked.number,
        recipe=study.space.filled(asked.candidate),
        candidate=asked.candidate,
        seed=int.from_bytes(digest[:4], "big"),
        rungs=study.space.budget.rungs,
        folder=str((study.folder / study.trial_path(asked.number)).resolve()),
    )


def search_here(study: Study, shop: Workshop, watcher: Watcher) -> None:
    """Run trials one after the other in this process until the budget is spent."""
    while (asked := study.ask()) is not None:
        watcher.started(asked)
        plan = plan_of(study, asked)
        results: list[Mapping[str, Any]] = []
        state = None
        try:
            for rung in range(len(plan.rungs)):
                result = evaluate(
                    plan,
                    shop,
                    rung=rung,
                    state=state,
                    on_progress=lambda progress, number=asked.number: watcher.progressed(number, progress),  # type: ignore[misc]
                )
                state = result.state
                results.append(result.as_json())
                watcher.reported(asked.number, results[-1])
            record = study.tell(asked.number, results)
        except Exception as error:
            # Whatever a trial does, it ends as one failure with a reason, and the study goes on.
            record = study.fail(asked.number, failure_reason(error, Path(plan.folder)))
        watcher.ended(record)


def failure_reason(error: Exception, folder: Path) -> str:
    """One line for the study; the traceback goes into the trial's log."""
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / "log.txt").open("a") as log:
        log.write("".join(traceback.format_exception(error)))
    text = str(error).strip().splitlines()
    return f"{type(error).__name__}: {text[0] if text else 'no message'}"[:500]
