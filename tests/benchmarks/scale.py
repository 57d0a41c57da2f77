"""What a long study costs its driver: CPU time for each decision, memory, size of the database, up to 10,000 trials.

Run ``python tests/benchmarks/scale.py [--trials 10000] [--workers 0] [--storage postgresql://...]``. Nothing is
trained, and what is known of a candidate beforehand is a formula, so that the study itself is timed. At each size a
study is filled by inserting trials as they would be stored: all at a ninth of their training, half at a third too, a
quarter in full. Then it is opened and asked as a driver would, while as many further trials run as there are workers.
CPU times of this process, medians: ``next`` is the decision after a report, ``report`` all that a job says, ``views``
writing front.json and trials.jsonl.
"""

from __future__ import annotations

import argparse
import json
import math
import random
import resource
import statistics
import sys
import tempfile
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace
from typing import Any

ROOT = Path(__file__).parents[2]
sys.path.insert(0, str(ROOT))

import sqlalchemy  # noqa: E402
import torch  # noqa: E402
from optuna.distributions import distribution_to_json  # noqa: E402
from optuna.storages._rdb import models  # noqa: E402
from optuna.trial import TrialState  # noqa: E402

from search import stored  # noqa: E402
from search._knob_distributions import distribution  # noqa: E402
from search.space import Space  # noqa: E402
from search.study import Study  # noqa: E402
from tests.search.told_space import TOLD  # noqa: E402

FINITE = models.TrialValueModel.TrialValueType.FINITE
DECISIONS = 5


@dataclass(frozen=True)
class Formula:
    """What is known of a candidate, in the place of ``Foresight``."""

    limits: dict[str, float]

    def of(self, candidate: Mapping[str, Any]) -> SimpleNamespace:
        kept = 1 - 0.6 * candidate["prune.ratio.mid"] - 0.3 * candidate["prune.ratio.up_0"]
        return SimpleNamespace(
            costs={"size_mb": 0.2 * kept * candidate["quantize.bits"] / 32}, reasons=[], is_possible=True
        )


def result(study: Study, candidate: Mapping[str, Any], *, rung: int) -> dict[str, Any]:
    """What a trial would measure."""
    images = study.space.budget.rungs[rung]
    is_last = images == study.space.budget.images
    fid = 20 + 40 * candidate["prune.ratio.mid"] ** 2 + 60 / candidate["quantize.bits"]
    fid *= (study.space.budget.images / images) ** 0.3
    fid *= math.exp(random.Random(f"{candidate}:{rung}").gauss(0, 0.05))
    measured = {"fid": fid} | ({"size_mb": study.foresight.of(candidate).costs["size_mb"]} if is_last else {})
    return {
        "images": images,
        "is_last": is_last,
        "measurements": {
            name: {"value": value, "stderr": 0.1, "samples": 2000, "by": "labels"} for name, value in measured.items()
        },
        "seconds": {"prune": 0.5, "distil": 20.0, "measure fid": 2.0},
        "notes": [],
        "versions": {"torch": "2.14.1", "slimfront": "0.1.0"},
        "device": "cpu: a processor (1 thread)",
    }


def opened(folder: Path, *, trials: int, storage: str | None) -> Study:
    """The study in ``folder``, with that budget."""
    budget = f"budget: {{trials: {trials}, images: {{min: 1000, max: 9000}}}}"
    file = folder.parent / "told.yaml"
    file.write_text(f"{TOLD}{budget}\nsampler: {{budget_ei: {{seed: 0}}}}\nconfirm: false\n")
    space = Space.read(file, [f"storage={storage}"] if storage else [])
    foresight: Any = Formula({"fid": 60.0, "size_mb": 0.2})
    return Study(folder, space, foresight, {"values": {}, "stderr": {}})


def fill(study: Study, size: int, *, running: bool = False) -> None:
    """Insert trials as they would be stored, until there are ``size``; ``running``: with nothing told of them yet."""
    generator, shares = random.Random(size), study.space.budget.shares
    there = len(study._database.trials())
    rows: dict[Any, list[dict[str, Any]]] = {}
    first = 1 + max((trial._trial_id for trial in study._database.trials()), default=0)
    for trial_id, number in enumerate(range(there, size), start=first):
        candidate = study.space.random_candidate(generator)
        reached = 0 if running else 3 if number % 4 == 0 else 2 if number % 2 == 0 else 1
        told = [result(study, candidate, rung=rung) for rung in range(reached)]
        rungs = [
            {
                "share": share,
                "values": {"fid": each["measurements"]["fid"]["value"], **study.foresight.of(candidate).costs},
            }
            | {"result": each, "seconds": 22.5}
            for share, each in zip(shares, told, strict=False)
        ]
        attributes = {stored.CANDIDATE: candidate, stored.RUNGS: rungs, stored.TARGET: shares[max(reached, 1) - 1]}
        state = TrialState.COMPLETE if reached == 3 else TrialState.RUNNING
        trial = {"trial_id": trial_id, "study_id": study._database.optuna._study_id, "number": number, "state": state}
        rows.setdefault(models.TrialModel, []).append(trial)
        if reached == 3:
            frozen: Any = SimpleNamespace(number=number, user_attrs=attributes)
            record = stored.complete_record(frozen, study.names, path=study.trial_path(number))
            attributes[stored.RECORD] = record.as_json()
            rows.setdefault(models.TrialValueModel, []).extend(
                {"trial_id": trial_id, "objective": place, "value": record.values[name], "value_type": FINITE}
                for place, name in enumerate(study.names)
            )
        rows.setdefault(models.TrialUserAttributeModel, []).extend(
            {"trial_id": trial_id, "key": key, "value_json": json.dumps(value)} for key, value in attributes.items()
        )
        knobs = {knob.path: distribution(knob) for knob in study.space.knobs if knob.path in candidate}
        rows.setdefault(models.TrialParamModel, []).extend(
            {
                "trial_id": trial_id,
                "param_name": name,
                "param_value": each.to_internal_repr(candidate[name]),
                "distribution_json": distribution_to_json(each),
            }
            for name, each in knobs.items()
        )
    with study._database.engine.begin() as connection:
        for model, given in rows.items():
            connection.execute(sqlalchemy.insert(model), given)


def step(study: Study) -> tuple[float, float]:
    """One job from decision to last report: seconds to decide, seconds to report."""
    begun = time.process_time()
    job = study.next()
    assert job is not None
    decided = time.process_time()
    for rung in range(job.first_rung, job.last_rung + 1):
        study.report(job.number, result(study, job.candidate, rung=rung))
    return decided - begun, time.process_time() - decided


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--trials", type=int, default=10_000)
    parser.add_argument("--workers", type=int, default=0)
    parser.add_argument("--storage")
    options = parser.parse_args()
    torch.set_num_threads(1)
    sizes = [size for size in (100, 300, 1_000, 3_000, 10_000, 30_000) if size <= options.trials]
    columns = ("trials", "running", "waiting", "open ms", "next ms", "report ms", "views ms", "peak MB", "db MB")
    print("".join(f"{column:>10}" for column in columns), flush=True)
    with tempfile.TemporaryDirectory(prefix="slimfront-scale-") as scratch:
        folder = Path(scratch) / "told"
        fill(opened(folder, trials=10 * options.trials, storage=options.storage), options.workers, running=True)
        for size in sizes:
            fill(opened(folder, trials=10 * size, storage=options.storage), size + options.workers)
            begun = time.process_time()
            study = opened(folder, trials=10 * size, storage=options.storage)
            study.records()
            reopened = time.process_time() - begun
            times = [step(study) for _ in range(DECISIONS)]
            begun = time.process_time()
            study.write_views()
            views = time.process_time() - begun
            row = [
                size,
                options.workers,
                sum(map(stored.is_waiting, study._database.trials())),
                1e3 * reopened,
                1e3 * statistics.median(decide for decide, _ in times),
                1e3 * statistics.median(tell for _, tell in times),
                1e3 * views,
                resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024,
                sum(path.stat().st_size for path in folder.glob("study.db*")) / 1e6,
            ]
            print("".join(f"{value:>10,.0f}" if value >= 100 else f"{value:>10.3g}" for value in row), flush=True)


if __name__ == "__main__":
    main()
