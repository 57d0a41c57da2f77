"""Faults that are planted into a driver or a worker before it starts; each is one function with plain options."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

_ROOT = Path(__file__).parents[3]
_RUNNING: list[int] = []
"""The trial that this process evaluates."""
_HOME: list[Path] = []
"""Where it runs."""


def plant(faults: Mapping[str, Mapping[str, Any]]) -> None:
    """Plant each fault by its name."""
    for name, options in faults.items():
        _FAULTS[name](**options)


def paid(*, path: str) -> None:
    """Not a fault: write down each training to a rung, and each second measurement, when it begins."""
    from search import drive, evaluate

    _HOME[:] = [Path(path).parent]
    train, confirm = evaluate.evaluate, drive.confirm

    def note(**what: Any) -> None:
        file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
        os.write(file, (json.dumps(what, sort_keys=True) + "\n").encode())
        os.close(file)

    def training(plan: Any, shop: Any, *, rung: int, state: Any, **more: Any) -> Any:
        _RUNNING[:] = [plan.number]
        for trained in [rung] if state is not None else range(rung + 1):
            note(candidate=plan.candidate, rung=trained)
        return train(plan, shop, rung=rung, state=state, **more)

    def confirming(plan: Any, shop: Any) -> Any:
        note(candidate=plan.candidate, rung="confirm")
        return confirm(plan, shop)

    evaluate.evaluate, drive.confirm = training, confirming  # type: ignore[assignment]


def _struck(trial: int) -> None:
    """Keep what is acknowledged when a fault strikes a trial, the first time."""
    # In a process of its own: closing a database's file would drop the locks that SQLite holds on it. Not a forked one:
    # a worker of Ray has threads, whose locks nobody would release there.
    subprocess.run([sys.executable, "-m", "tests.faults.ledger", str(_HOME[0]), str(trial)], cwd=_ROOT, check=True)


def value(*, values: Mapping[str, str]) -> None:
    """The FID of these trials is measured as something else: NaN or infinite."""
    from objectives.fid import Fid

    measure = Fid.measure

    def measured(self: Any, model: Any, run: Any) -> Any:
        found = measure(self, model, run)
        planted = values.get(str(_RUNNING[0])) if _RUNNING else None
        if planted is None:
            return found
        _struck(_RUNNING[0])
        return replace(found, value=float(planted))

    Fid.measure = measured  # type: ignore[method-assign]


def missing(*, trial: int) -> None:
    """The results of this trial hold no FID."""
    from search.evaluate import RungResult

    as_json = RungResult.as_json

    def without(self: Any) -> Any:
        written = as_json(self)
        if [trial] == _RUNNING:
            _struck(trial)
            written["measurements"].pop("fid", None)
        return written

    RungResult.as_json = without  # type: ignore[method-assign]


def host_memory(*, trial: int) -> None:
    """Training this trial asks for more memory than any machine has."""
    _before_training(trial, lambda: bytearray(1 << 60))


def cuda_memory(*, trial: int, struck: str) -> None:
    """Training this trial raises what torch raises when a GPU is full, once."""

    def act() -> None:
        import torch

        if not Path(struck).exists():
            Path(struck).write_text("")
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB.")

    _before_training(trial, act)


def hang(*, trial: int, seconds: float = 600.0) -> None:
    """Training this trial does nothing for so long."""
    _before_training(trial, lambda: time.sleep(seconds))


def memory(*, trial: int, megabytes: int) -> None:
    """Training this trial holds so much memory, and takes its time over it."""

    def act() -> None:
        held: list[bytearray] = []
        for _ in range(megabytes // 50):
            held.append(bytearray(os.urandom(1 << 10) * (50 << 10)))
            time.sleep(0.05)
        time.sleep(30)

    _before_training(trial, act)


def killed(*, trial: int, once: str) -> None:
    """The process that trains this trial is killed, once."""

    def act() -> None:
        if not Path(once).exists():
            Path(once).write_text("")
            os.kill(os.getpid(), 9)

    _before_training(trial, act)


def slow(*, seconds: float) -> None:
    """Every training takes so much longer."""
    _before_training(None, lambda: time.sleep(seconds))


def noted() -> None:
    """Not a fault: keep what is acknowledged when each trial begins to train."""
    from search import evaluate

    train = evaluate.evaluate

    def training(plan: Any, shop: Any, **more: Any) -> Any:
        _struck(plan.number)
        return train(plan, shop, **more)

    evaluate.evaluate = training  # type: ignore[assignment]


def clock(*, trial: int, back_seconds: float) -> None:
    """The clock steps back when this trial begins."""
    import datetime

    now, real = time.time, datetime.datetime
    offset = [0.0]

    class Stepping(real):  # type: ignore[misc, valid-type]
        @classmethod
        def now(cls, tz: Any = None) -> Any:
            return real.now(tz) - datetime.timedelta(seconds=offset[0])

    for module in list(sys.modules.values()):
        is_ours = str(getattr(module, "__name__", "")).startswith(("optuna", "search"))
        if is_ours and getattr(module, "datetime", None) is real:
            module.datetime = Stepping  # type: ignore[attr-defined]
    time.time = lambda: now() - offset[0]

    _before_training(trial, lambda: offset.__setitem__(0, back_seconds))


def cuts(*, folder: str, study: str) -> None:
    """Keep the study as a power cut would leave it, at each point between two writes."""
    from tests.faults.planted.power import keep_cuts

    keep_cuts(Path(folder), Path(study))


def fill(*, disk: str, before: str) -> None:
    """Fill the disk, once, before a view is written (``front.json``) or before the database commits (``commit``)."""
    from search import study
    from tests.faults.rows import disk as disks

    def act() -> None:
        if not (Path(disk) / "filler").exists() and _RUNNING == [1]:
            disks.fill(Path(disk))

    if before == "commit":
        from sqlalchemy import event
        from sqlalchemy.engine import Engine

        event.listen(Engine, "before_cursor_execute", lambda *about: act())
        return
    write = study.write_atomically

    def written(path: Path, content: bytes) -> None:
        if path.name == before:
            act()
        write(path, content)

    study.write_atomically = written  # type: ignore[attr-defined]


def log(*, path: str) -> None:
    """Not a fault: what is said goes to a file on another disk; the driver opens it."""


def server(*, storage: str, password: str) -> None:
    """Not a fault: the database's server and the password for it, as the environment gives them."""
    os.environ["SLIMFRONT_STORAGE"], os.environ["PGPASSWORD"] = storage, password


def impatient(*, seconds: float) -> None:
    """The database waits only so long for its lock."""
    from search import _database

    # Under another name it would be set all the same, and nothing would be impatient.
    assert seconds < _database.BUSY_SECONDS
    _database.BUSY_SECONDS = seconds  # type: ignore[assignment]


def _before_training(trial: int | None, act: Any) -> None:
    from search import evaluate

    train = evaluate.evaluate

    def training(plan: Any, shop: Any, **more: Any) -> Any:
        if trial is None or plan.number == trial:
            if trial is not None:
                _struck(trial)
            act()
        return train(plan, shop, **more)

    evaluate.evaluate = training  # type: ignore[assignment]


_FAULTS = {
    each.__name__: each
    for each in (
        paid,
        value,
        missing,
        host_memory,
        cuda_memory,
        hang,
        memory,
        killed,
        noted,
        slow,
        clock,
        cuts,
        fill,
        log,
        server,
        impatient,
    )
}
