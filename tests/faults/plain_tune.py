"""What ``ray.tune.Tuner`` with ``OptunaSearch`` does under the same faults, as its documentation says to use it.

``python -m tests.faults.plain_tune FOLDER [--restore] [--fault NAME]`` is such a program: Optuna keeps its study in
SQLite, a trial reports twice and keeps a checkpoint each time. With ``--all`` it is run under each fault, and what came
of it is printed.
"""

from __future__ import annotations

import argparse
import os
import signal
import sqlite3
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing
from functools import partial
from pathlib import Path
from typing import Any

_ROOT = Path(__file__).parents[2]
_TRIALS = 6
_PATIENCE_SECONDS = 240


def trained(config: dict[str, Any]) -> None:
    """Two rungs of half a second each; notes what it begins, and strikes where the fault says so."""
    import tempfile

    from ray import tune

    folder, fault = Path(config["folder"]), config["fault"]
    begun = 0
    checkpoint = tune.get_checkpoint()
    if checkpoint is not None:
        with checkpoint.as_directory() as kept:
            begun = int((Path(kept) / "rung").read_text())
    for rung in range(begun, 2):
        with (folder / "paid.jsonl").open("a") as paid:
            paid.write(f"{config['x']!r} {rung}\n")
        time.sleep(0.5)
        struck = folder / "struck"
        is_struck = fault in ("worker", "nan", "missing") and rung == 1 and not struck.exists()
        if is_struck:
            struck.write_text("")
            if fault == "worker":
                os.kill(os.getpid(), signal.SIGKILL)
        fid, size = config["x"] ** 2, 1.0 - config["x"]
        results = {"fid": float("nan") if is_struck and fault == "nan" else fid, "size": size}
        if is_struck and fault == "missing":
            del results["fid"]
        with tempfile.TemporaryDirectory() as made:
            (Path(made) / "rung").write_text(str(rung + 1))
            tune.report(results, checkpoint=tune.Checkpoint.from_directory(made))


def main() -> None:
    """The program."""
    parser = argparse.ArgumentParser()
    parser.add_argument("folder", type=Path)
    parser.add_argument("--restore", action="store_true")
    parser.add_argument("--fault", default="")
    parser.add_argument("--all", action="store_true")
    asked = parser.parse_args()
    if asked.all:
        for name, said in beside(asked.folder):
            print(f"{name}\t{said}", flush=True)
        return
    import optuna
    import ray
    from ray import tune
    from ray.tune.search.optuna import OptunaSearch

    ray.init(address=os.environ["PLAIN_TUNE_ADDRESS"], log_to_driver=False)
    path = asked.folder / "results/plain"
    if asked.restore and tune.Tuner.can_restore(str(path)):
        tuner = tune.Tuner.restore(str(path), trainable=trained, resume_errored=True)
    else:
        search = OptunaSearch(
            space=partial(_space, folder=asked.folder, fault=asked.fault),
            metric=["fid", "size"],
            mode=["min", "min"],
            sampler=optuna.samplers.RandomSampler(seed=0),
            storage=optuna.storages.RDBStorage(f"sqlite:///{asked.folder}/plain.db"),
            study_name="plain",
        )
        tuner = tune.Tuner(
            tune.with_resources(trained, {"cpu": 1}),
            tune_config=tune.TuneConfig(search_alg=search, num_samples=_TRIALS, max_concurrent_trials=2),
            run_config=tune.RunConfig(name="plain", storage_path=str(asked.folder / "results"), verbose=0),
        )
    tuner.fit()


def _space(trial: Any, *, folder: Path, fault: str) -> dict[str, Any]:
    # Not a function within another: Tune pickles it with its own state.
    trial.suggest_float("x", 0.0, 1.0)
    return {"folder": str(folder), "fault": fault}


def beside(place: Path) -> Iterator[tuple[str, str]]:
    """Of each fault, what came of it: lost, paid twice, how it ended."""
    from tests.faults.rows.ray_rows import cluster

    with cluster({}) as two:
        for name, act in _FAULTS.items():
            folder = place / name
            folder.mkdir(parents=True)
            try:
                yield name, act(folder, two.address)
            except subprocess.TimeoutExpired:
                yield name, f"does not end in {_PATIENCE_SECONDS} s"


def _driver_killed(folder: Path, address: str) -> str:
    first = _start(folder, address)
    _wait_for(folder, 3, first)
    known = _told(folder)
    _end(first)
    code = _start(folder, address, "--restore").wait(_PATIENCE_SECONDS)
    return _said(folder, known, code)


def _worker_killed(folder: Path, address: str) -> str:
    return _said(folder, [], _start(folder, address, "--fault", "worker").wait(_PATIENCE_SECONDS))


def _nan(folder: Path, address: str) -> str:
    return _said(folder, [], _start(folder, address, "--fault", "nan").wait(_PATIENCE_SECONDS))


def _missing(folder: Path, address: str) -> str:
    return _said(folder, [], _start(folder, address, "--fault", "missing").wait(_PATIENCE_SECONDS))


def _two_drivers(folder: Path, address: str) -> str:
    first = _start(folder, address)
    _wait_for(folder, 1, first)
    second = _start(folder, address)
    codes = [first.wait(_PATIENCE_SECONDS), second.wait(_PATIENCE_SECONDS)]
    return f"both run (exit {codes[0]}, {codes[1]}); {_said(folder, [], 0)}"


def _state_deleted(folder: Path, address: str) -> str:
    first = _start(folder, address)
    _wait_for(folder, 3, first)
    known = _told(folder)
    _end(first)
    states = list((folder / "results/plain").glob("experiment_state*.json"))
    for state in states:
        state.write_bytes(state.read_bytes()[: state.stat().st_size // 2])
    code = _start(folder, address, "--restore").wait(_PATIENCE_SECONDS)
    return _said(folder, known, code)


_FAULTS = {
    "driver_killed": _driver_killed,
    "worker_killed": _worker_killed,
    "objective_is_nan": _nan,
    "objective_missing": _missing,
    "two_drivers": _two_drivers,
    "state_deleted": _state_deleted,
}


def _start(folder: Path, address: str, *options: str) -> subprocess.Popen[bytes]:
    environment: Mapping[str, str] = {
        **os.environ,
        "PLAIN_TUNE_ADDRESS": address,
        "PYTHONPATH": str(_ROOT),
        "OMP_NUM_THREADS": "1",
        "RAY_worker_niceness": "0",
        "TUNE_DISABLE_AUTO_CALLBACK_LOGGERS": "1",
        "RAY_AIR_NEW_OUTPUT": "0",
    }
    with (folder / "log.txt").open("a") as log:
        return subprocess.Popen(
            [sys.executable, "-m", "tests.faults.plain_tune", str(folder), *options],
            cwd=_ROOT,
            stdout=log,
            stderr=subprocess.STDOUT,
            env=environment,
        )


def _end(process: subprocess.Popen[bytes]) -> None:
    process.kill()
    process.wait()


def _told(folder: Path) -> list[tuple[float, str]]:
    """What Optuna's database knows: knob and state of each trial."""
    if not (folder / "plain.db").is_file():
        return []
    try:
        with closing(sqlite3.connect(f"file:{folder}/plain.db?mode=ro", uri=True, timeout=20)) as connection:
            rows = connection.execute(
                "SELECT p.param_value, state FROM trials JOIN trial_params AS p USING (trial_id)"
            ).fetchall()
    except sqlite3.OperationalError:
        return []
    return rows


def _wait_for(folder: Path, count: int, process: subprocess.Popen[bytes]) -> None:
    end = time.monotonic() + _PATIENCE_SECONDS
    while sum(state == "COMPLETE" for _, state in _told(folder)) < count:
        if process.poll() is not None or time.monotonic() > end:
            raise AssertionError((folder / "log.txt").read_text()[-2000:])
        time.sleep(0.05)


def _said(folder: Path, known: Sequence[tuple[float, str]], code: int) -> str:
    told = _told(folder)
    complete = {x for x, state in known if state == "COMPLETE"}
    paid = Counter((folder / "paid.jsonl").read_text().splitlines())
    again = sum(count - 1 for count in paid.values())
    rerun = sum(paid[f"{x!r} 0"] > 1 for x in complete)
    states = Counter(state for _, state in told)
    ends = "ends" if code == 0 else f"aborts (exit {code})"
    shown = ", ".join(f"{count} {state}" for state, count in sorted(states.items()))
    finished = f"{rerun} of {len(complete)} finished trained again, " if complete else ""
    return f"{finished}{again} rungs paid twice; {ends}; Optuna: {shown}"


if __name__ == "__main__":
    main()
