"""What runs jobs, seen from outside: hooks for a live view, and the plain driver that uses this process alone."""

from __future__ import annotations

import hashlib
import logging
import time
import traceback
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from search.ends import TrialEndError, kind_of, line_of
from search.evaluate import TrialPlan, Workshop, check_shared, confirm, train
from search.watchdog import Watchdog
from trainers.redaction import without_passwords

if TYPE_CHECKING:
    from search.job import Job
    from search.record import Record
    from search.study import Study
    from trainers.run import Progress

BUSY_SECONDS = "busy_seconds"
"""In what comes of a job: the time that its worker was busy with that."""
_logger = logging.getLogger(__name__)
_LOG_AT_MOST = 20_000
"""Characters of a traceback that are kept."""


class Watcher(Protocol):
    """Is told what happens, in the driver's process."""

    def started(self, job: Job) -> None:
        """A job begins."""

    def progressed(self, number: int, progress: Progress) -> None:
        """A trial trains."""

    def reported(self, job: Job, record: Record) -> None:
        """A trial reached a rung before its last; it goes on when the job does, and waits otherwise."""

    def ended(self, record: Record) -> None:
        """A trial was told to the study; one that failed may be tried again."""

    def confirmed(self, record: Record) -> None:
        """A complete trial was measured again; where that failed, its reason says why."""


def plan_of(study: Study, job: Job) -> TrialPlan:
    """The job as a worker needs it; the seed of a trial depends on the study's seed and its number."""
    seed, draws = study.space.sampler.seed, study.space.confirm if job.kind == "confirm" else 0
    limits = study.space.limits_per_trial
    return TrialPlan(
        number=job.number,
        recipe=study.space.filled(job.candidate),
        candidate=job.candidate,
        seed=_derived(f"{seed}:{job.number}"),
        rungs=study.space.budget.rungs,
        folder=str((study.folder / study.trial_path(job.number)).resolve()),
        first_rung=job.first_rung,
        last_rung=job.last_rung,
        checkpoints=study.checkpoints_uri(job.number),
        # Not of the trial: with the same noise for all, they are compared on equal terms.
        confirm_seeds=tuple(_derived(f"{seed}:confirm:{draw}") for draw in range(draws)),
        micro_batches=job.micro_batches,
        seconds_left=None if limits.minutes is None else 60 * limits.minutes - job.seconds_before,
        memory_gb=limits.memory_gb,
    )


def carried_out(
    plan: TrialPlan,
    shop: Workshop,
    *,
    before_exit: Callable[[TrialEndError], object] | None = None,
    on_progress: Callable[[Progress], None] = lambda progress: None,
) -> Iterator[dict[str, Any]]:
    """What comes of a job, as plain data: a result for each rung, or ``confirmed``, or at any point ``failed``.

    Each has its ``busy_seconds``.

    Args:
        before_exit: Told why this process is ended where the job hangs. None: it must outlive the job even then.
    """
    watchdog = Watchdog(seconds=plan.seconds_left, memory_gb=plan.memory_gb, before_exit=before_exit)
    results = _results(plan, shop, on_progress)
    while True:
        begun = time.monotonic()
        try:
            # Not while the result is told: what is interrupted must be the trial.
            with watchdog:
                result = next(results, None)
        except (Exception, TrialEndError) as error:
            # Whatever a job does, it ends as one failure with a reason, and the study goes on.
            result = {"failed": line_of(error), "kind": kind_of(error), "log": _traceback(error)}
        if result is None:
            return
        yield {**result, BUSY_SECONDS: round(time.monotonic() - begun, 3)}
        if "failed" in result:
            return


def _results(plan: TrialPlan, shop: Workshop, on_progress: Callable[[Progress], None]) -> Iterator[dict[str, Any]]:
    check_shared(plan)
    if plan.confirm_seeds:
        yield {"confirmed": confirm(plan, shop)}
        return
    for result in train(plan, shop, on_progress=on_progress):
        yield result.as_json()


def keep(study: Study, job: Job, result: Mapping[str, Any], watcher: Watcher) -> None:
    """Tell the study what came of a job, and the watcher what that means."""
    if "failed" in result:
        # Of a worker that is gone there is no more to tell than the reason.
        _add_to_log(study.folder / study.trial_path(job.number), result.get("log", f"{result['failed']}\n"))
    if job.kind == "confirm":
        if "failed" in result:
            watcher.confirmed(study.fail_to_confirm(job.number, result["failed"], result["kind"]))
        else:
            watcher.confirmed(study.confirm(job.number, result["confirmed"]))
        return
    seconds = result[BUSY_SECONDS]
    if "failed" in result:
        record = study.fail(job.number, result["failed"], result["kind"], seconds=seconds)
    else:
        measured = {key: value for key, value in result.items() if key != BUSY_SECONDS}
        record = study.report(job.number, measured, seconds=seconds)
    if record.state == "stopped":
        watcher.reported(job, record)
    else:
        watcher.ended(record)


def search_here(study: Study, shop: Workshop, watcher: Watcher) -> None:
    """Do one job after the other in this process until the study is finished."""
    while (job := study.next()) is not None:
        watcher.started(job)
        number = job.number
        results = carried_out(
            plan_of(study, job),
            shop,
            on_progress=lambda progress, number=number: watcher.progressed(number, progress),  # type: ignore[misc]
        )
        for result in results:
            keep(study, job, result, watcher)


def _traceback(error: BaseException) -> str:
    """What is worth reading of it; a recursion without end has a traceback without end."""
    text = without_passwords("".join(traceback.format_exception(error)))
    return text if len(text) <= _LOG_AT_MOST else f"{text[: _LOG_AT_MOST // 2]}\n[...]\n{text[-_LOG_AT_MOST // 2 :]}"


def _add_to_log(folder: Path, text: str) -> None:
    """For the driver, whose folder the study is: a worker on another machine may not see it."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with (folder / "log.txt").open("a") as log:
            log.write(text)
    except OSError:
        # A full disk may be why it failed; the reason is kept all the same.
        _logger.warning("%s: no log could be written", folder)


def _derived(text: str) -> int:
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:4], "big")
