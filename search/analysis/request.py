"""A call of the command: what is asked is checked first, then measured, then written."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from objectives.generation import generation_curve
from search.analysis.finding import Finding
from search.analysis.generation import BATCHES, Generation
from search.analysis.pruned_blocks import By, Point, Rule, blocks_of, check_prunable, pruned_points, whole_point
from search.analysis.ranges import check_knobs, write_ranges
from search.analysis.sensitivity import Sensitivity
from search.analysis.subject import Subject, parsed
from search.analysis.timesteps import Timesteps, timesteps
from search.analysis.weight_variation import WeightVariation, weight_variation
from search.report.number import number
from search.simulation.progress import progress
from search.space import Space
from trainers.cache import Cache
from trainers.compression.criteria.criterion import CRITERIA, Criterion, GradientCriterion
from trainers.errors import UserError
from trainers.full_training import STUDENTS

if TYPE_CHECKING:
    from rich.console import Console

_MOST_SAMPLES = 1_000_000
"""All of them are drawn before they are compared, and held until then."""
What = Literal["sensitivity", "timesteps", "weight-variation", "generation"]
#: These suggest ranges, and prune to find them.
_PRUNING = ("sensitivity", "timesteps")


@dataclass(frozen=True, kw_only=True)
class Request:
    """What was asked on the command line; see ``search.analyse`` for each of it."""

    what: What
    paths: tuple[Path, ...]
    by: By
    criterion: str | None
    rule: Rule
    times: float
    samples: int | None
    data: str | None
    write: Path | None
    out: Path | None

    def check(self) -> None:
        """Refuse what cannot be answered, before anything is trained or measured.

        Raises:
            UserError: saying why.
        """
        if not self.times > 1:
            raise UserError(f"--times must be above 1, got {self.times:g}.")
        if self.samples is not None and not 2 <= self.samples <= _MOST_SAMPLES:
            raise UserError(f"--samples must be from 2 to {_MOST_SAMPLES:,}, got {self.samples}.")
        if self.what == "weight-variation" and len(self.subjects) < 2:
            raise UserError(
                "weight-variation compares models: give two or more, in order, got 1. Or one that was trained with "
                "`trainers.full --keep-students`."
            )
        if self.what != "weight-variation" and len(self.paths) > 1:
            raise UserError(f"{self.what} looks at one model, got {len(self.paths)}. Leave the others out.")
        self._check_target()
        if self.what in _PRUNING:
            self._criterion()
            spec = self.subjects[0].planned_spec()
            check_prunable(spec, str(self.paths[0]))
            if self.target is not None and self.write is not None:
                blocks = [f"ratio.{block}" for block in blocks_of(spec, self.by)]
                options = blocks if self.what == "sensitivity" else ["threshold"]
                check_knobs(self.target, options, path=self.write)

    @cached_property
    def subjects(self) -> list[Subject]:
        """The models; for weight-variation each after the students that were kept on the way to it."""
        paths = [each for path in self.paths for each in (*self._students(path), path)]
        found = [Subject.find(path) for path in paths]
        return found if self.data is None else [subject.with_data(self.data) for subject in found]

    @property
    def page(self) -> Path:
        """Where its page goes when nobody says where."""
        return Subject.find(self.paths[0]).page(self.what)

    def _students(self, path: Path) -> list[Path]:
        return sorted((path / STUDENTS).glob("*/")) if self.what == "weight-variation" else []

    @cached_property
    def target(self) -> Space | None:
        """The space whose knobs get the ranges."""
        return Space.read(self.write) if self.write is not None else None

    @property
    def _pruning(self) -> str:
        written = CRITERIA.written(self._criterion())
        name, options = next(iter(written.items())) if isinstance(written, dict) else (written, {})
        settings = ", ".join(f"{key} {value}" for key, value in options.items())
        return f"criterion {name}{f' ({settings})' if settings else ''}, rule {self.rule}"

    def finding(self, console: Console) -> Finding:
        """The analysis; ``console`` shows how far it is."""
        if self.what == "weight-variation":
            return self._weight_variation(console)
        if self.what == "generation":
            return self._generation(console)
        return self._sensitivity(console) if self.what == "sensitivity" else self._timesteps(console)

    def write_ranges(self, finding: Finding, console: Console) -> None:
        """Write the new space where one was asked for."""
        if self.target is None or self.out is None:
            return
        if not finding.is_whole or not finding.ranges():
            why = "the analysis was interrupted" if not finding.is_whole else "no range follows from it"
            console.print(f"{self.out} was not written: {why}", soft_wrap=True, markup=False)
            return
        limit = f", FID at most {number(self.times)} times" if self.what == "sensitivity" else ""
        reason = f"{self.what} of {finding.name} ({self._pruning}{limit})."
        changed, left = write_ranges(self.target, finding.ranges(), self.out, reason=reason)
        lacking = f"; it has no knob for {', '.join(left)}" if left else ""
        console.print(
            f"{self.out} has the ranges of {', '.join(changed)}{lacking}. See what it costs:\n"
            f"  python -m search.run {self.out} --dry-run",
            soft_wrap=True,
            markup=False,
            highlight=False,
        )

    def _criterion(self) -> Criterion:
        """Which channels go first."""
        text = self.criterion or ("magnitude" if self.what == "sensitivity" else "diff_pruning")
        criterion: Criterion = parsed(CRITERIA, text, "--criterion")
        if self.what == "timesteps" and not isinstance(criterion, GradientCriterion):
            raise UserError(f"--criterion {text}: looks at no timestep. Use diff_pruning or taylor.")
        return criterion

    def _check_target(self) -> None:
        if (self.write is None) != (self.out is None):
            raise UserError(
                "--write SPACE and --out NEW.yaml go together: which space, and what the new one is called."
            )
        if self.what not in _PRUNING and self.write is not None:
            raise UserError(f"{self.what} suggests no ranges, so there is nothing to write. Leave --write out.")
        if self.out is not None and self.out.exists():
            raise UserError(f"{self.out} exists already. Give another --out, or remove it.")

    def _weight_variation(self, console: Console) -> WeightVariation:
        names = [subject.name for subject in self.subjects]
        if len(set(names)) < len(names):
            names = [str(subject.path) for subject in self.subjects]
        return weight_variation(
            [(name, subject.model(console)) for name, subject in zip(names, self.subjects, strict=True)]
        )

    def _generation(self, console: Console) -> Generation:
        (subject,), cache = self.subjects, Cache.default()
        cache.check()
        model, times = subject.model(console), {}
        with subject.threads(), progress(console, "timing") as advance, suppress(KeyboardInterrupt):
            measured = generation_curve(model, BATCHES, device=subject.device(), cache=cache)
            for place, (batch, found) in enumerate(measured, 1):
                times[batch] = found
                advance(place / len(BATCHES))
        return Generation(name=subject.name, times=times, steps=model.spec.sampling_steps)

    def _timesteps(self, console: Console) -> Timesteps:
        (subject,), criterion = self.subjects, self._criterion()
        assert isinstance(criterion, GradientCriterion)
        run = subject.run(console)
        with progress(console, "looking at each timestep") as advance:
            return timesteps(run, criterion, name=subject.name, rule=self.rule, scored=self._pruning, advance=advance)

    def _sensitivity(self, console: Console) -> Sensitivity:
        (subject,) = self.subjects
        run, fid = subject.run(console), subject.fid_of(self.samples)
        points: list[Point] = []
        with progress(console, f"pruning one {self.by} at a time") as advance:
            whole = whole_point(run, fid)
            measuring = pruned_points(
                run, fid, whole, by=self.by, criterion=self._criterion(), rule=self.rule, advance=advance
            )
            # What is measured then is shown, and lies in the cache: the same command goes on from here.
            with suppress(KeyboardInterrupt):
                for point in measuring:
                    points.append(point)
        blocks = blocks_of(run.teacher.spec, self.by)
        return Sensitivity(
            name=subject.name,
            by=self.by,
            unpruned=whole,
            points=tuple(points),
            blocks=tuple(blocks),
            times=self.times,
            pruning=self._pruning,
        )
