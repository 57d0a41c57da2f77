"""Doing the work of a comparison in several processes; every result is kept as soon as it is there."""

from __future__ import annotations

import base64
import json
import os
import signal
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from multiprocessing import active_children, get_context
from pathlib import Path
from time import perf_counter
from typing import Any

from objectives.objective import OBJECTIVES
from search.comparison.file import Comparison
from search.comparison.verdict import Result
from trainers.atomic import write_atomically
from trainers.errors import UserError
from trainers.foreign import bytes_inside, in_one_line, refuse_links_out
from trainers.models.pictures import is_drawable
from trainers.written import reader

_FILE = "results.jsonl"
_MOST_BYTES = 2**30


@dataclass(frozen=True)
class Task:
    """One recipe with one seed; without a recipe, only the teacher."""

    file: str
    recipe: str
    seed: int
    threads: int


def kept(folder: Path, comparison: Comparison) -> list[Result]:
    """Results of an earlier run that are still wanted: nothing that they depend on has changed in the file since."""
    if not folder.is_dir():
        return []
    refuse_links_out(folder)
    content = bytes_inside(folder, _FILE, most=_MOST_BYTES) or b""
    # A line that was cut short is measured again.
    try:
        lines = [json.loads(line) for line in content.decode().splitlines() if line.endswith("}")]
        read = reader(Result)
        return [
            _result(line, comparison, read)
            for line in lines
            if line["seed"] < comparison.seeds and line.get("key") == comparison.key_of(line["recipe"])
        ]
    except (ValueError, LookupError, TypeError, AttributeError, RecursionError) as error:
        reason = in_one_line(error)
        raise UserError(
            f"{folder / _FILE} cannot be used: {reason}. Take it away to measure everything again."
        ) from None


def _result(line: dict[str, Any], comparison: Comparison, read: Callable[[object], Result]) -> Result:
    """A result as it was kept; one whose picture cannot be shown has none."""
    found = read({**line, "strip": base64.b64decode(line.get("strip", ""))})
    names = {OBJECTIVES.name_of(objective) for objective in comparison.objectives}
    if found.values.keys() != names:
        raise ValueError(f"it has figures of {', '.join(found.values) or 'nothing'}, not of {', '.join(sorted(names))}")
    return found if is_drawable(found.strip) else replace(found, strip=b"")


def results(
    comparison: Comparison,
    file: Path,
    folder: Path,
    *,
    workers: int,
    on_result: Callable[[Result], None] = lambda result: None,
    on_teacher: Callable[[int], None] = lambda seed: None,
) -> list[Result]:
    """All results: those kept from before, and the missing ones, which are measured now.

    Raises:
        UserError: when a teacher or a recipe cannot be trained, or its process was ended.
    """
    found = kept(folder, comparison)
    folder.mkdir(parents=True, exist_ok=True)
    write_atomically(folder / "comparison.yaml", comparison.text.encode())
    done = {(result.recipe, result.seed) for result in found}
    # Seed by seed, so that an early end leaves whole pairs.
    missing = [
        (name, seed) for seed in range(comparison.seeds) for name in comparison.recipes if (name, seed) not in done
    ]
    threads = max(1, (os.cpu_count() or 1) // workers)
    with _processes(min(workers, max(1, len(missing)))) as pool:
        teachers = {seed: Task(str(file), "", seed, threads) for seed in sorted({seed for _, seed in missing})}
        for task, _ in _finished(pool, list(teachers.values())):
            on_teacher(task.seed)
        for task, made in _finished(pool, [Task(str(file), name, seed, threads) for name, seed in missing]):
            assert made is not None
            result = Result(task.recipe, task.seed, key=comparison.key_of(task.recipe) or "", **made)
            with (folder / _FILE).open("a") as out:
                out.write(json.dumps({**asdict(result), "strip": base64.b64encode(result.strip).decode()}) + "\n")
            found.append(result)
            on_result(result)
    return found


@contextmanager
def _processes(count: int) -> Iterator[ProcessPoolExecutor]:
    """Processes that work on nothing any more once an error or an interruption leaves the block."""
    # Ctrl-C reaches them too, and to them it would be a recipe that failed, so that they would begin the next.
    pool = ProcessPoolExecutor(count, get_context("spawn"), signal.signal, (signal.SIGINT, signal.SIG_IGN))
    before = active_children()
    try:
        yield pool
    except BaseException:
        pool.shutdown(wait=False, cancel_futures=True)
        for process in set(active_children()) - set(before):
            process.terminate()
        raise
    pool.shutdown()


def _finished(pool: ProcessPoolExecutor, tasks: Sequence[Task]) -> Iterator[tuple[Task, Mapping[str, Any] | None]]:
    futures: dict[Future[Mapping[str, Any] | None], Task] = {pool.submit(carry_out, task): task for task in tasks}
    for future in as_completed(futures):
        task = futures[future]
        try:
            yield task, future.result()
        except FloatingPointError as error:
            raise UserError(f"recipes.{task.recipe} diverged with seed {task.seed}: {error}") from None
        except BrokenProcessPool:
            raise UserError(
                "a process that trained recipes was ended from outside, for want of memory perhaps. What was measured "
                "is kept: the same command goes on, and with fewer --workers it needs less."
            ) from None


def carry_out(task: Task) -> Mapping[str, Any] | None:
    """In a process of its own: the teacher is trained or found, then the recipe is trained and measured."""
    import torch

    from trainers.cache import Cache
    from trainers.models.input_images import images_for
    from trainers.models.pictures import sample_strip
    from trainers.quiet import silence_libraries
    from trainers.run import Run

    silence_libraries()
    # Never more than OMP_NUM_THREADS allows.
    torch.set_num_threads(min(torch.get_num_threads(), task.threads))
    comparison, cache = Comparison.read(Path(task.file)), Cache.default()
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    teacher = comparison.teacher_of(task.seed)
    images = images_for(comparison.data, teacher.planned_for(comparison.data))
    for objective in comparison.objectives:
        objective.prepare(images, cache)
    obtained = teacher.obtain(images, cache=cache, device=device, on_progress=lambda progress: None)
    if not task.recipe:
        return None
    run = Run(
        seed=task.seed,
        device=device,
        images=images,
        teacher=obtained,
        cache=cache,
        budget_images=comparison.images,
        until_images=comparison.images,
    )
    begun = perf_counter()
    model = comparison.recipes[task.recipe].run(run)
    measured = {OBJECTIVES.name_of(piece): piece.measure(model, run) for piece in comparison.objectives}
    return {
        "values": {name: measurement.value for name, measurement in measured.items()},
        "stderr": {name: measurement.stderr for name, measurement in measured.items()},
        "seconds": round(perf_counter() - begun, 2),
        "strip": sample_strip(model, images.decoded),
    }
