"""A run of a space from checked file to report: preflight, teacher, trials, the front."""

from __future__ import annotations

import math
import shlex
import sys
import time
from collections import Counter
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from search._study_folder import RUNS
from trainers.command import INTERRUPTED
from trainers.errors import UserError
from trainers.redaction import without_passwords
from trainers.visible import for_terminal, visible

if TYPE_CHECKING:
    from rich.console import Console

    from objectives.device_model import DeviceModel
    from search.known import Foresight
    from search.lease import Lease
    from search.other_studies import OtherStudy
    from search.preflight import Survey
    from search.rehearsal import Rehearsal
    from search.space import Candidate, Space
    from search.study import Study
    from trainers.data.dataset import Images
    from trainers.models.arch_spec import ArchSpec

HELD = 3
PAUSED = 4
_READ_BYTES = 10**9
"""The most that a dry run reads of data."""


@dataclass
class Session:
    """One call of this command.

    Args:
        ended_by: What was said of why it ended, where it was neither done nor interrupted.
    """

    path: Path
    name: str | None = None
    trials: int | None = None
    workers: int | None = None
    overrides: tuple[str, ...] = ()
    address: str | None = None
    price_per_hour: float | None = None
    tries: tuple[Path, ...] = ()
    take_over: bool = False
    ended_by: str = field(default="", init=False)

    def go(self, *, dry_run: bool = False, resume: bool = False, as_json: bool = False) -> int:
        from rich.console import Console

        from search.by_hand import read_candidates
        from search.name import check_name
        from search.space import Space

        self.begun = time.monotonic()
        self.console: Console = Console(stderr=as_json, markup=False, emoji=False)
        if as_json and not dry_run:
            raise UserError("--json belongs to --dry-run. Add that, or leave --json out.")
        if self.price_per_hour is not None and not (dry_run and 0 < self.price_per_hour < math.inf):
            raise UserError(
                f"--price-per-hour {self.price_per_hour:g}: a positive number, with --dry-run, which says what the "
                "study will cost."
            )
        for option, value, least in (("--trials", self.trials, 1), ("--workers", self.workers, 0)):
            if value is not None and value < least:
                raise UserError(f"{option} must be at least {least}, got {value}.")
        overrides = (*self.overrides, *([f"budget.trials={self.trials}"] if self.trials else []))
        self.space: Space = Space.read(self.path, overrides)
        self.by_hand: list[Candidate] = read_candidates(self.tries, self.space)
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
        from search.estimate import estimate
        from search.workers import worker_count
        from trainers.cache import Cache

        others = self._others()
        preflight.check_cores(self.space, address=self.address)
        try:
            preflight.check_gpus(self.space, address=self.address)
        except UserError as error:
            # What a space costs can be asked on a machine that could not search it.
            self._say(f"it could not be searched here. {error}")
        foresight, seen, teacher = self._look()
        workers = worker_count(self.workers, self.space.resources, address=self.address)
        if self.workers is None and self.address:
            # How many the cluster takes is not known here: no more, in any case, than there are trials.
            workers = min(workers, math.ceil(self.space.budget.expected_at_rungs(self.space.halving)[0]))
        begun = time.monotonic()
        images = self._images_here(teacher)
        reading_seconds = time.monotonic() - begun
        cached = self.space.teacher.source is not None or (
            images is not None and self.space.teacher.is_cached(images, Cache.default())
        )
        rehearsal = self._rehearsal(foresight, seen, images)
        rehearsal = replace(rehearsal, preparing_seconds=rehearsal.preparing_seconds + reading_seconds)
        expected = estimate(foresight, seen, rehearsal, workers=workers, is_teacher_cached=cached)
        report = dry_run.report_json(
            foresight, seen, expected, workers=workers, price_per_hour=self.price_per_hour, others=others
        )
        if as_json:
            sys.stdout.write(json.dumps(report) + "\n")
        else:
            dry_run.show(self.console, self.space, report)
        return 0

    def _images_here(self, teacher: ArchSpec) -> Images | None:
        """The data where it is on this machine and soon read: a dry run fetches nothing, and waits for no minutes."""
        from search.preparation import load_images

        size = self.space.data.bytes_here()
        return load_images(self.space, teacher) if size is not None and size <= _READ_BYTES else None

    def _rehearsal(self, foresight: Foresight, seen: Survey, images: Images | None) -> Rehearsal:
        """Without data the prediction has to do."""
        from search.preparation import pick_device
        from search.rehearsal import Rehearsal, rehearse
        from trainers.cache import Cache

        if images is None:
            return Rehearsal()
        self._say("rehearsing: a few candidates are trained and measured for a moment")
        return rehearse(foresight, seen, images, cache=Cache.default(), device=pick_device(self.space))

    def _look(self) -> tuple[Any, Any, ArchSpec]:
        """Foresight with the limits that are known, the survey, and the teacher's architecture; models really built."""
        from search import preflight, preparation
        from search.by_hand import check_allowed
        from search.known import Foresight

        preflight.check_cache()
        teacher = preparation.planned_teacher(self.space)
        preflight.check_recipes(self.space, teacher, subject=str(self.path))
        if late := preflight.telling_late(self.space):
            self._say(
                f"warning: weak trials are stopped by a share of their training, which says little of {late[0]}. "
                "Write `halving: false` to train all of them in full."
            )
        device_model = self._device_model()
        foresight = Foresight(self.space, teacher, device_model, self.space.limits)
        costs = foresight.costs(teacher)
        foresight = Foresight(self.space, teacher, device_model, preparation.limits_of(self.space, costs))
        check_allowed(self.by_hand, self.tries, foresight)
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

    def _others(self) -> list[OtherStudy]:
        """What other studies give as a start, which is said."""
        from search.other_studies import read_others

        others = read_others(self.space, self.folder)
        for other in others:
            self._say(other.described(self.space))
        return others

    # Search

    def _search(self) -> int:
        from optuna.exceptions import StorageInternalError
        from sqlalchemy.exc import SQLAlchemyError

        from search import preflight, preparation
        from search._database import check_storage, engine_of
        from search._database_file import FILE, is_damage, reason_of, unusable
        from search._held_storage import ServerAwayError
        from search.checkpoints import check_reachable
        from search.ends import RayletDiedError
        from search.lease import StudyHeldError, held

        preflight.check_same_space(self.folder, self.space)
        check_storage(self.folder, self.space.storage, is_named=self.space.is_storage_named)
        check_reachable(self.space.checkpoints, is_named=self.space.is_named("checkpoints"))
        if self.space.tracker is not None:
            self.space.tracker.check()
        self._others()
        preflight.check_cores(self.space, address=self.address)
        preflight.check_gpus(self.space, address=self.address)
        foresight, seen, teacher_spec = self._look()
        images = preparation.load_images(self.space, teacher_spec)
        # Last: it makes the study's folder, and whatever was refused until here leaves none.
        models = self.space.budget.models_kept(self.space.halving) + len(self.by_hand)
        preflight.check_disk(self.folder, seen, trials=models)
        try:
            engine = engine_of(self.folder, self.space.storage, is_named=self.space.is_storage_named)
            with held(self.folder, engine, take_over=self.take_over, say=self._say) as lease:
                return self._search_holding(foresight, seen, images, lease)
        except StudyHeldError as error:
            return self._ended(f"{for_terminal(str(error))}\n", HELD)
        except ServerAwayError as error:
            return self._ended(f"stopped: {for_terminal(str(error))}\n", PAUSED)
        except (OSError, SQLAlchemyError, StorageInternalError) as error:
            if not isinstance(error, OSError) and is_damage(error):
                raise UserError(unusable(self.folder / FILE, reason_of(error))) from None
            # The disk is full, or the database locked, read-only or away: no fault of the study's.
            return self._ended(
                self._stopped(f"{self.folder} could not be written or read ({reason_of(error)})"), PAUSED
            )
        except RayletDiedError as error:
            return self._ended(self._stopped(str(error)), PAUSED)

    def _search_holding(self, foresight: Foresight, seen: Survey, images: Images, lease: Lease) -> int:
        from search import by_hand, preflight
        from search._stored_check import check_kept
        from search.ending import show_end
        from search.known import Foresight
        from search.live import LiveWatcher, PlainWatcher, Tally
        from search.preparation import limits_of
        from search.report.number import duration
        from search.searching import Searching
        from search.study import Study
        from search.workers import worker_count
        from trainers.atomic import remove_abandoned
        from trainers.provenance import device_name

        remove_abandoned(self.folder)
        # Before a teacher is trained for a study that cannot go on.
        check_kept(self.folder, self.space)
        searching = Searching(
            space=self.space,
            folder=self.folder,
            console=self.console,
            workers=worker_count(self.workers, self.space.resources, address=self.address),
            address=self.address,
        )
        shop, teacher = searching.prepared(images)
        limits = limits_of(self.space, teacher["values"])
        foresight = Foresight(self.space, shop.teacher.spec, foresight.device_model, limits)
        preflight.survey(foresight)
        self._keep_space()
        study = Study(self.folder, self.space, foresight, teacher, lease=lease)
        self._adopt(study)
        self._warn_of_changes(study, device_name(shop.device, threads=self.space.resources.cpu))
        if self.by_hand:
            self._say(by_hand.queue(study, self.by_hand))
        expected = self._expected_trial_seconds(foresight, seen)
        tally = Tally(study, workers=searching.workers, expected_seconds=expected)
        ran = not study.is_finished()
        if ran:
            view = (LiveWatcher if self.console.is_terminal else PlainWatcher)(tally, self.console)
            searching.run(study, shop, view)
        else:
            self._say(f"the study is finished: {self.space.budget.worth}. --trials raises its budget.")
        show_end(self.console, study, tally if ran else None)
        self._say(f"wall time {duration(time.monotonic() - self.begun)}")
        if study.streak.is_too_long:
            return self._ended(self._paused(study), PAUSED)
        return 0

    def _adopt(self, study: Study) -> None:
        from search.study import MOST_ATTEMPTS

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
        for number in sorted(study.ended_drivers):
            self._say(
                f"trial {number} is not measured again, nor is it on the front: the search ended each of the "
                f"{MOST_ATTEMPTS} times that it was"
            )

    def _warn_of_changes(self, study: Study, device: str) -> None:
        """Trials of other versions or devices stand in one table with those to come, and may measure otherwise."""
        from trainers.provenance import changes, versions

        measured = [record for record in study.records() if record.versions]
        if measured:
            last = max(measured, key=lambda record: record.number)
            found = changes({**last.versions, "device": last.device}, {**versions(), "device": device})
            if found:
                said = "; ".join(found)
                self._say(f"warning: trial {last.number} ran elsewhere, and what follows may differ from it: {said}")

    def _ended(self, why: str, code: int) -> int:
        self.ended_by = why
        sys.stderr.write(why)
        return code

    def _stopped(self, reason: str) -> str:
        return (
            f"stopped: {reason}. What was measured until then is kept.\n"
            f"When the cause is put right, go on with:\n  {self._resume_command()}\n"
        )

    def _paused(self, study: Study) -> str:
        streak, spent = study.streak, ""
        if study.is_spent:
            spent = "Failed trials cost their part of the budget, and nothing is left of it: add a larger --trials.\n"
        return (
            f"paused: {streak.length} times in a row it ended alike ({streak.kind}) with no success between them, so "
            f"nothing more is begun. The last one: {streak.reason}\n"
            f"Its log: {self.folder / streak.path / 'log.txt'}\n"
            f"{spent}When the cause is put right, go on with:\n  {self._resume_command()}\n"
        )

    # Small things

    def _say(self, text: str, *, style: str | None = None) -> None:
        self.console.print(visible(text), style=style, markup=False, highlight=False, soft_wrap=True)

    def _say_question(self) -> None:
        if self.space.question:
            self._say(self.space.question, style="bold")
        self._say(
            f"{self.space.name}: {len(self.space.knobs)} knobs, {self.space.budget.worth}, "
            f"objectives {', '.join(self.space.objective_names)}. Results: {self.folder}"
        )

    def _expected_trial_seconds(self, foresight: Any, seen: Any) -> float:
        from search.estimate import trials_seconds
        from search.rehearsal import Rehearsal

        return trials_seconds(foresight, seen, Rehearsal()) / self.space.budget.trials

    def _keep_space(self) -> None:
        from trainers.atomic import write_atomically

        write_atomically(self.folder / "space.yaml", self.space.effective_text.encode())

    def _resume_command(self) -> str:
        from search.storage_url import override_shown
        from trainers.download import is_offline

        options: list[tuple[str, object]] = [("--set", override_shown(override)) for override in self.overrides]
        options += [("--try", path) for path in self.tries]
        options += [("--name", self.name), ("--trials", self.trials)]
        options += [("--workers", self.workers), ("--address", self.address)]
        given = [
            part for option, value in options if value is not None for part in (option, without_passwords(str(value)))
        ]
        offline = ["--offline"] if is_offline() else []
        return shlex.join(["python", "-m", "search.run", str(self.path), *given, *offline])
