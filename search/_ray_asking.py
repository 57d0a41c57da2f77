"""How far ahead Tune asks for trials: by one that waits for a place at most. For ``search.tune`` alone."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from ray.tune.execution.tune_controller import TuneController


@contextmanager
def asked_when_placed() -> Iterator[None]:
    """Within it, Tune asks its searcher for a trial only once all that it has are placed on machines.

    By itself it asks at once for as many as may run at a time, and has those wait that find no place: they were chosen
    before there was a result to learn from. One that waits is enough for a cluster that grows with what is asked of it.
    """
    ask = TuneController._maybe_update_trial_queue

    def asked(controller: TuneController) -> None:
        if not controller._actor_manager.num_pending_actors:
            # For Tune, those whose workers start are pending, too; they are placed.
            controller.update_max_pending_trials(len(controller._pending_trials) + 1)
            ask(controller)

    TuneController._maybe_update_trial_queue = asked
    try:
        yield
    finally:
        TuneController._maybe_update_trial_queue = ask
