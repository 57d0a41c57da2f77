"""A trial ends badly: the study goes on, and says of that trial why."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from tests.faults.driver import Driver, database, finish
from tests.faults.home import SPACE, make_home, study_of
from tests.faults.ledger import acknowledged
from tests.faults.result import Result, ended, has_traceback, judged


def not_a_number_in_training(place: Path, reduced: bool) -> Result:
    """A learning rate at which the weights overflow: nothing is planted."""
    text = SPACE.replace("learning_rate: 0.003, batch", "learning_rate: {choice: [0.003, 1.0e+30]}, batch")
    home = make_home(place, text.replace("seed: 5", "seed: 7"))
    return _judged(home, finish(home), "not finite|diverge|nan|inf")


def objective_is_nan(place: Path, reduced: bool) -> Result:
    """The FID of one trial is not a number."""
    home = make_home(place)
    return _judged(home, finish(home, faults={"value": {"trial": 1, "value": "nan"}}), "objective fid is nan")


def objective_is_infinite(place: Path, reduced: bool) -> Result:
    """The FID of one trial is infinite."""
    home = make_home(place)
    return _judged(home, finish(home, faults={"value": {"trial": 1, "value": "inf"}}), "objective fid is inf")


def objective_missing(place: Path, reduced: bool) -> Result:
    """The last rung of a trial lacks its FID."""
    home = make_home(place)
    return _judged(home, finish(home, faults={"missing": {"trial": 1}}), "objective fid was not measured")


def host_out_of_memory(place: Path, reduced: bool) -> Result:
    """A trial asks for more memory than there is: a real allocation that fails."""
    home = make_home(place)
    return _judged(home, finish(home, faults={"raised": {"trial": 1, "error": "host"}}), "MemoryError")


def cuda_out_of_memory(place: Path, reduced: bool) -> Result:
    """A GPU is full, once; simulated, since there is none here."""
    home = make_home(place)
    once = {"trial": 1, "error": "cuda", "times": str(place / "struck")}
    return _judged(home, finish(home, faults={"raised": once}), "CUDA out of memory", retried=True)


def hangs(place: Path, reduced: bool) -> Result:
    """A trial does nothing for ten minutes, where it may take a few seconds."""
    home = make_home(place, SPACE + "limits_per_trial: {minutes: 0.3}\n")
    return _judged(home, finish(home, faults={"hang": {"trial": 1}}), "minute|second|time")


def eats_memory(place: Path, reduced: bool) -> Result:
    """A trial takes far more memory than it may."""
    home = make_home(place, SPACE + "limits_per_trial: {memory_gb: 2}\n")
    return _judged(home, finish(home, faults={"memory": {"trial": 1, "megabytes": 3_000}}), "memory|GB")


def clock_steps_back(place: Path, reduced: bool) -> Result:
    """The clock steps back by a day while a trial trains."""
    home = make_home(place)
    driver = finish(home, faults={"clock": {"trial": 1, "back_seconds": 86_400.0}})
    assert driver.process.exitcode == 0 and not has_traceback(driver), driver.said
    seconds = [line["seconds"] for line in lines(home)]
    assert all(each >= 0 for each in seconds), seconds
    return judged(home, acknowledged(database(home)), in_flight=0, outcome="ends; no time is negative")


def lines(home: Path) -> list[dict[str, Any]]:
    """The lines of ``trials.jsonl``."""
    text = (study_of(home) / "trials.jsonl").read_text()
    return [json.loads(line) for line in text.splitlines()]


def _judged(home: Path, driver: Driver, reason: str, *, retried: bool = False) -> Result:
    import re

    assert driver.process.exitcode == 0, driver.said
    failed = [line for line in lines(home) if line["state"] == "failed"]
    if not retried:
        assert failed and any(re.search(reason, line["reason"]) for line in failed), [*failed, driver.said[-500:]]
    assert any(line["state"] == "complete" for line in lines(home)), driver.said
    said = f"trial {failed[0]['number']} failed: {failed[0]['reason'][:60]}" if failed else "tried again, complete"
    # What is tried again after a failure had not been paid for in full.
    return judged(home, acknowledged(database(home)), in_flight=int(retried), outcome=f"{ended(driver)}; {said}")
