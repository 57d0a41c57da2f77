"""A run of a space from checked file to report: preflight, teacher, trials, the front."""

from __future__ import annotations

import os
import shlex
import sys
import time
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from trainers.command import INTERRUPTED
from trainers.errors import UserError

if TYPE_CHECKING:
    from rich.console import Console

    from objectives.device_model import DeviceModel
    from search.evaluate import Workshop
    from search.known import Foresight
    from search.preflight import Survey
    from search.space import Space
    from search.study import Study
    from trainers.data.dataset import Images
    from trainers.models.arch_spec import ArchSpec

RUNS = Path("studies/runs")
HELD = 3


@dataclass
class Session:
    """One call of this command."""

    path: Path
    name: str | None
    trials: int | None
    workers: int | None
    overrides: tuple[str, ...]
    address: str | None

    def go(self, *, dry_run: bool, resume: bool, as_json: bool) -> int:
        from rich.console import Console

        from search.name import check_name
        from search.space import Space

        self.begun = time.monotonic()
        self.console: Console = Console(stderr=as_json)
        if as_json and not dry_run:
            raise UserError("--json belongs to --dry-run. Add that, or leave --json out.")
        for option, value, least in (("--trials", self.trials, 1), ("--workers", self.workers, 0)):
            if value is not None and value < least:
                raise UserError(f"{option} must be at least {least}, got {value}.")
        overrides = (*self.overrides, *([f"budget.trials={self.trials}"] if self.trials else []))
        self.space: Space = Space.read(self.path, overrides)
        self.folder = RUNS / check_name(self.name if self.name is not None else self.space.name)
        if resume and not (self.folder / "space.yaml").is_file():
            raise UserError(f"--resume: there is no study {self.folder}. Leave --resume out to start it.")
        self._say_question()
        self._say("checking the space: its smallest and its largest model are built and run")
        from trainers.quiet import silence_libraries

        silence_libraries()
        try:
            return self._dry_run(as_json=as_json) if dry_run else self._search()
        except KeyboardInterrupt:
            self._say(f"\ninterrupted; what is measured is kept. Go on with:\n  {self._resume_command()}")
            return INTERRUPTED

    # Dry run

    def _dry_run(self, *, as_json: bool) -> int:
        import json

        from search import dry_run, preflight

        preflight.check_cores(self.space, address=self.address)
        try:
            preflight.check_gpus(self.space, address=self.address)
        except UserError as error:
            # What a space costs can be asked on a machine that could not search it.
            self._say(f"it could not be searched here. {error}")
        cached = self._is_teacher_cached()
        foresight, seen, _ = self._look()
        report = dry_run.report_json(foresight, seen, workers=self._worker_count(), is_teacher_cached=cached)
        if as_json:
            sys.stdout.write(json.dumps(report) + "\n")
        else:
            dry_run.show(self.console, self.space, report)
        return 0

    def _look(self) -> tuple[Any, Any, ArchSpec]:
        """Foresight with the limits that are known, the survey, and the teacher's architecture; models really built."""
        from search import preflight, preparation
        from search.known import Foresight

        preflight.check_cache()
        teacher = preparation.planned_teacher(self.space)
        preflight.check_recipes(self.space, teacher, subject=str(self.path))
        device_model = self._device_model()
        foresight = Foresight(self.space, teacher, device_model, self.space.limits)
        costs = foresight.costs(teacher)
        foresight = Foresight(self.space, teacher, device_model, preparation.limits_of(self.space, costs))
        seen = preflight.survey(foresight)
        device = preparation.pick_device(self.space)
        for spec in (seen.smallest[1].spec, seen.largest[1].spec):
            preflight.check_runs(spec, device=device)
        return foresight, seen, teacher

    def _device_model(self) -> DeviceModel:
        from objectives.device_model import calibrated
        from search.preparation import pick_device
        from trainers.cache import Cache

        # Trials have as many threads as cores they ask for; latency is theirs, not the driver's.
        return calibrated(pick_device(self.space), Cache.default(), threads=self.space.resources.cpu)

    def _is_teacher_cached(self) -> bool:
        from search.preparation import load_images, planned_teacher
        from trainers.cache import Cache

        if self.space.teacher.source is not None:
            return True
        if not self.space.data.is_embedded:
            # Only the images tell, and a dry run does not wait for them.
            return False
        return self.space.teacher.is_cached(load_images(self.space, planned_teacher(self.space)), Cache.default())

    # Search

    def _search(self) -> int:
        from search import preflight, preparation
        from search.lease import StudyHeldError, held

        preflight.check_same_space(self.folder, self.space)
        preflight.check_cores(self.space, address=self.address)
        preflight.check_gpus(self.space, address=self.address)
        foresight, seen, teacher_spec = self._look()
        images = preparation.load_images(self.space, teacher_spec)
        # Last: it makes the study's folder, and whatever was refused until here leaves none.
        preflight.check_disk(self.folder, seen, trials=self.space.budget.models_kept(self.space.halving))
        try:
            with held(self.folder):
                return self._search_holding(foresight, seen, images)
        except StudyHeldError as error:
            sys.stderr.write(f"{error}\n")
            return HELD

    def _search_holding(self, foresight: Foresight, seen: Survey, images: Images) -> int:
        from search import preflight
        from search.ending import show_end
        from search.known import Foresight
        from search.live import LiveWatcher, PlainWatcher, Tally
        from search.report.number import duration
        from search.study import Study

        shop, teacher, limits = self._prepare(images)
        foresight = Foresight(self.space, shop.teacher.spec, foresight.device_model, limits)
        preflight.survey(foresight)
        self._keep_space()
        study = Study(self.folder, self.space, foresight, teacher)
        self._adopt(study)
        workers = self._worker_count()
        expected = self._expected_trial_seconds(foresight, seen)
        tally = Tally(study, workers=workers, expected_seconds=expected)
        ran = not study.is_finished()
        if ran:
            watch = (LiveWatcher if self.console.is_terminal else PlainWatcher)(tally, self.console)
            self._run_trials(study, shop, watch, workers)
        else:
            self._say(f"the study is finished: {self.space.budget.worth}. --trials raises its budget.")
        show_end(self.console, study, tally if ran else None)
        self._say(f"wall time {duration(time.monotonic() - self.begun)}")
        return 0

    def _adopt(self, study: Study) -> None:
        orphans = Counter(study.adopt_orphans().values())
        if orphans:
            words = {
                "finished": "were finished and are kept",
                "wait": "go on from their last rung",
                "queued": "begin again",
                "failed": "are given up",
            }
            said = ", ".join(f"{count} {words[fate]}" for fate, count in orphans.items())
            self._say(f"{orphans.total()} trials of an earlier run had not ended: {said}")

    def _prepare(self, images: Images) -> tuple[Workshop, dict[str, Any], dict[str, float]]:
        import torch

        from search import preparation
        from search.teacher_progress import TeacherProgress
        from trainers.cache import Cache

        if images.name != self._data_name():
            self._say(f"data: {images.name}")
        cache = Cache.default()
        teacher_progress = TeacherProgress(self.console, self.space.teacher.images)
        if self.space.teacher.is_cached(images, cache):
            self._say("teacher: from the cache" if self.space.teacher.network else "teacher: loaded")
        else:
            self._say(f"teacher: training on {self.space.teacher.images:,} images, once")
        with teacher_progress:
            shop = preparation.build_workshop(
                self.space,
                images,
                cache=cache,
                device=preparation.pick_device(self.space),
                on_progress=teacher_progress,
            )
        torch.set_num_threads(self.space.resources.cpu)
        teacher = self._stored_teacher(shop) or preparation.measured_teacher(shop, self.folder)
        self._keep_teacher(teacher)
        values = ", ".join(f"{name} {value:.4g}" for name, value in teacher["values"].items())
        self._say(f"teacher measures {values}")
        return shop, teacher, preparation.limits_of(self.space, teacher["values"])

    def _run_trials(self, study: Study, shop: Workshop, watch: Any, workers: int) -> None:
        from search.drive import search_here

        if workers == 0:
            with watch:
                search_here(study, shop, watch)
            return
        from search import tune

        self._say(f"starting Ray for {workers} workers")
        gpus = int(-(-self.space.resources.gpu * workers // 1))
        tune.start(address=self.address, cpus=workers * self.space.resources.cpu, gpus=gpus)
        try:
            with watch:
                tune.search_on_ray(study, shop, watch, workers=workers)
        finally:
            tune.stop()

    # Small things

    def _say(self, text: str, *, style: str | None = None) -> None:
        self.console.print(text, style=style, markup=False, highlight=False, soft_wrap=True)

    def _say_question(self) -> None:
        if self.space.question:
            self._say(self.space.question, style="bold")
        self._say(
            f"{self.space.name}: {len(self.space.knobs)} knobs, {self.space.budget.worth}, "
            f"objectives {', '.join(self.space.objective_names)}. Results: {self.folder}"
        )

    def _worker_count(self) -> int:
        if self.workers is not None:
            return self.workers
        if self.address:
            return 10_000
        cores = (os.cpu_count() or 1) // self.space.resources.cpu
        if not self.space.resources.gpu:
            return max(1, cores)
        import torch

        return max(1, min(cores, int(torch.cuda.device_count() / self.space.resources.gpu)))

    def _expected_trial_seconds(self, foresight: Any, seen: Any) -> float:
        from search.dry_run import estimate_seconds

        whole = estimate_seconds(foresight, seen, workers=1, is_teacher_cached=True)
        return whole / self.space.budget.trials

    def _keep_space(self) -> None:
        from trainers.atomic import write_atomically

        write_atomically(self.folder / "space.yaml", self.space.effective_text.encode())

    def _teacher_file(self) -> Path:
        return self.folder / "teacher" / "measurements.json"

    def _stored_teacher(self, shop: Workshop) -> dict[str, Any] | None:
        """What the teacher measured when the study began: limits must not move when it goes on."""
        import json

        try:
            stored: dict[str, Any] = json.loads(self._teacher_file().read_text())
        except (OSError, ValueError):
            return None
        same = stored.get("fingerprint") == shop.teacher.fingerprint()
        return stored if same and set(stored["values"]) == set(self.space.objective_names) else None

    def _keep_teacher(self, teacher: dict[str, Any]) -> None:
        import json

        from trainers.atomic import write_atomically

        write_atomically(self._teacher_file(), json.dumps(teacher, indent=1).encode())

    def _data_name(self) -> str:
        from trainers.data.dataset import DATA

        return DATA.name_of(self.space.data)

    def _resume_command(self) -> str:
        options: list[tuple[str, object]] = [("--set", override) for override in self.overrides]
        options += [("--name", self.name), ("--trials", self.trials)]
        options += [("--workers", self.workers), ("--address", self.address)]
        given = [part for option, value in options if value is not None for part in (option, str(value))]
        return shlex.join(["python", "-m", "search.run", str(self.path), *given])
