"""What a long study costs its driver: CPU time for each decision, memory, size of the database, up to 10,000 trials.

Run ``python tests/benchmarks/scale.py [--trials 10000] [--storage postgresql://...]``. Nothing is trained: results are
told, from a formula in the knobs. The study is filled at random, with trials that stop early; at each size it is opened
again with the model-based sampler, and its decisions are timed. Times are of this process's CPU, medians: ``next`` is
the decision after a report, ``report`` all that a job says, ``views`` writing front.json and trials.jsonl.
"""

from __future__ import annotations

import argparse
import math
import random
import resource
import statistics
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[2]
sys.path.insert(0, str(ROOT))

import torch  # noqa: E402

from objectives.device_model import calibrated  # noqa: E402
from search import stored  # noqa: E402
from search.job import Job  # noqa: E402
from search.known import Foresight  # noqa: E402
from search.preparation import planned_teacher  # noqa: E402
from search.space import Space  # noqa: E402
from search.study import Study  # noqa: E402
from tests.search.told_space import TOLD  # noqa: E402
from trainers.cache import Cache  # noqa: E402

DECISIONS = 5


def result(study: Study, job: Job, *, rung: int) -> dict[str, Any]:
    """What a trial would measure."""
    images = study.space.budget.rungs[rung]
    is_last = images == study.space.budget.images
    ratio = float(job.candidate["prune.ratio.mid"])
    fid = 20 + 40 * ratio**2 + 60 / float(job.candidate["quantize.bits"])
    fid *= (study.space.budget.images / images) ** 0.3
    fid *= math.exp(random.Random(f"{job.number}:{rung}").gauss(0, 0.05))
    measured = {"fid": fid}
    measured |= {"size_mb": study.foresight.of(job.candidate).costs["size_mb"]} if is_last else {}
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


def opened(folder: Path, *, sampler: str, trials: int, storage: str | None) -> Study:
    """The study in ``folder``, with that sampler and budget."""
    budget = f"budget: {{trials: {trials}, images: {{min: 1000, max: 9000}}}}"
    file = folder.parent / "told.yaml"
    file.write_text(f"{TOLD}{budget}\nsampler: {sampler}\nconfirm: false\n")
    space = Space.read(file, [f"storage={storage}"] if storage else [])
    device = calibrated(torch.device("cpu"), Cache.default(), threads=1)
    foresight = Foresight(space, planned_teacher(space), device, {"fid": 60.0, "size_mb": 0.2})
    return Study(folder, space, foresight, {"values": {}, "stderr": {}})


def step(study: Study) -> tuple[int, float, float]:
    """One job from decision to last report: how many trials there are then, seconds to decide, seconds to report."""
    begun = time.process_time()
    job = study.next()
    assert job is not None
    decided = time.process_time()
    for rung in range(job.first_rung, job.last_rung + 1):
        study.report(job.number, result(study, job, rung=rung))
    return job.number, decided - begun, time.process_time() - decided


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--trials", type=int, default=10_000)
    parser.add_argument("--storage")
    options = parser.parse_args()
    torch.set_num_threads(1)
    sizes = [size for size in (100, 300, 1_000, 3_000, 10_000, 30_000) if size <= options.trials]
    columns = ("trials", "waiting", "fill ms", "next ms", "report ms", "views ms", "open ms", "peak MB", "db MB")
    print("".join(f"{column:>10}" for column in columns), flush=True)
    with tempfile.TemporaryDirectory(prefix="slimfront-scale-") as scratch:
        folder = Path(scratch) / "told"
        for size in sizes:
            study = opened(folder, sampler="{random: {seed: 0}}", trials=10 * size, storage=options.storage)
            begun, number, jobs = time.process_time(), 0, 0
            while number < size - 1:
                number, jobs = max(number, step(study)[0]), jobs + 1
            fill = (time.process_time() - begun) / max(jobs, 1)
            begun = time.process_time()
            study = opened(folder, sampler="{budget_ei: {seed: 0}}", trials=10 * size, storage=options.storage)
            study.records()
            reopened = time.process_time() - begun
            times = [step(study)[1:] for _ in range(DECISIONS)]
            begun = time.process_time()
            study.write_views()
            views = time.process_time() - begun
            row = [
                size,
                sum(map(stored.is_waiting, study._database.trials())),
                1e3 * fill,
                1e3 * statistics.median(decide for decide, _ in times),
                1e3 * statistics.median(tell for _, tell in times),
                1e3 * views,
                1e3 * reopened,
                resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024,
                sum(path.stat().st_size for path in folder.glob("study.db*")) / 1e6,
            ]
            print("".join(f"{value:>10,.0f}" if value >= 100 else f"{value:>10.3g}" for value in row), flush=True)


if __name__ == "__main__":
    main()
