"""A trial ends badly: the study goes on, and says of that trial why."""

from __future__ import annotations

import atexit
import functools
import json
import re
import shutil
import tempfile
from pathlib import Path
from typing import Any

from tests.faults.driver import Driver, finish
from tests.faults.home import SPACE, make_home, study_of
from tests.faults.ledger import struck
from tests.faults.result import Result, has_traceback, judged


def not_a_number_in_training(place: Path, reduced: bool) -> Result:
    """A learning rate at which the weights overflow: nothing is planted."""
    text = SPACE.replace("learning_rate: 0.003, batch", "learning_rate: {choice: [0.003, 1.0e+30]}, batch")
    home = make_home(place, text.replace("seed: 5", "seed: 7"))
    return _judged(home, finish(home, faults={"noted": {}}), "not finite|diverge|nan|inf")


def objective_is_nan(place: Path, reduced: bool) -> Result:
    """The FID of one trial is not a number."""
    return _failed(_many_ends(), _NAN, "objective fid is nan")


def objective_is_infinite(place: Path, reduced: bool) -> Result:
    """The FID of one trial is infinite."""
    return _failed(_many_ends(), _INFINITE, "objective fid is inf")


def objective_missing(place: Path, reduced: bool) -> Result:
    """The last rung of a trial lacks its FID."""
    return _failed(_many_ends(), _MISSING, "objective fid was not measured")


def host_out_of_memory(place: Path, reduced: bool) -> Result:
    """A trial asks for more memory than there is, once: a real allocation that fails."""
    return _tried_again(_many_ends(), _HOST)


def cuda_out_of_memory(place: Path, reduced: bool) -> Result:
    """A GPU is full, once; simulated, since there is none here."""
    return _tried_again(_many_ends(), _CUDA)


# The first ends well, and the sixth tries the fifth again.
_NAN, _INFINITE, _MISSING, _HOST, _CUDA = 1, 2, 3, 4, 6


@functools.cache
def _many_ends() -> Path:
    """One study in which a trial ends in each of these ways, and then some that end well."""
    folder = Path(tempfile.mkdtemp(prefix="slimfront-fault-"))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    text = SPACE.replace("images: {min: 64, max: 128, factor: 2}", "images: 64").replace("trials: 2", "trials: 7")
    home = make_home(folder, text)
    driver = finish(
        home,
        faults={
            "value": {"values": {str(_NAN): "nan", str(_INFINITE): "inf"}},
            "missing": {"trial": _MISSING},
            "host_memory": {"trial": _HOST},
            "cuda_memory": {"trial": _CUDA, "struck": str(folder / "struck")},
        },
    )
    assert driver.process.exitcode == 0 and not has_traceback(driver), driver.said
    return home


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
    return judged(home, struck(home, 1), in_flight=0, outcome="ends; no time is negative")


def lines(home: Path) -> list[dict[str, Any]]:
    """The lines of ``trials.jsonl``."""
    text = (study_of(home) / "trials.jsonl").read_text()
    return [json.loads(line) for line in text.splitlines()]


def _judged(home: Path, driver: Driver, reason: str) -> Result:
    assert driver.process.exitcode == 0 and not has_traceback(driver), driver.said
    (number, *_) = [line["number"] for line in lines(home) if line["state"] == "failed"]
    return _failed(home, number, reason)


def _tried_again(home: Path, number: int) -> Result:
    ended = lines(home)
    (candidate,) = (line["candidate"] for line in ended if line["number"] == number)
    assert any(line["candidate"] == candidate and line["state"] == "complete" for line in ended), ended
    outcome = "tried again: complete"
    return judged(home, struck(home, number), in_flight=0, outcome=outcome)


def _failed(home: Path, number: int, reason: str) -> Result:
    ended = lines(home)
    (failed,) = (line for line in ended if line["number"] == number)
    assert failed["state"] == "failed" and re.search(reason, failed["reason"]), failed
    assert any(line["state"] == "complete" for line in ended)
    outcome = f"goes on; that trial failed: {failed['reason'][:60]}"
    return judged(home, struck(home, number), in_flight=0, outcome=outcome)
