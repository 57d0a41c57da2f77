"""A study's folder in Python: tables, figures and answers; ``from search import Study`` gives this class."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from search.views import PointView, StudyViews, TrialView
from trainers.errors import UserError

if TYPE_CHECKING:
    import pandas
    from plotly.graph_objects import Figure

    from search.best import Answer
    from search.contrast.contrast import Contrast
    from search.validation.finding import Validation


@dataclass(frozen=True)
class KeptStudy:
    """What a study has found so far; opened again, it shows what has come since. It never changes the study."""

    views: StudyViews

    @classmethod
    def open(cls, folder: str | Path) -> KeptStudy:
        """The study in ``folder``.

        Raises:
            UserError: when there is none, or its files are damaged.
        """
        return cls(StudyViews.open(folder))

    @classmethod
    def run(
        cls,
        space: str | Path,
        *,
        name: str | None = None,
        trials: int | None = None,
        workers: int | None = 0,
        overrides: Sequence[str] = (),
        candidates: Sequence[str | Path] = (),
    ) -> KeptStudy:
        """Search a space, or go on with its study: ``python -m search.run`` with the same options.

        Args:
            workers: 0 does one trial after the other in this process, None as many at a time as the machine holds.
            overrides: ``path=value``, as with ``--set``.
            candidates: YAML files, as with ``--try``.

        Raises:
            UserError: when the space has mistakes, or the study cannot be run or is held by another driver.
            KeyboardInterrupt: when interrupted; what is measured is kept.
        """
        from search.session import Session
        from trainers.command import INTERRUPTED

        session = Session(
            Path(space),
            name=name,
            trials=trials,
            workers=workers,
            overrides=tuple(overrides),
            tries=tuple(map(Path, candidates)),
        )
        code = session.go()
        if code == INTERRUPTED:
            raise KeyboardInterrupt
        if code:
            raise UserError(session.ended_by.strip())
        return cls.open(session.folder)

    def table(self) -> pandas.DataFrame:
        """One row for each trial that ended or waits, by number.

        Columns: ``state``, ``kind`` of a failure, and ``reason``; ``by_hand``; a column for each knob, by its path,
        empty where the trial has not got it; for each objective its value and ``_stderr``, those that count: confirmed
        ones where it was measured again, which ``confirmed`` says; ``images`` and ``seconds``; ``path`` of its files.
        Of a stopped trial, values are those of the share of its training that it has seen.
        """
        return self._frame(
            sorted(self.views.trials, key=lambda trial: trial.number), ["state", "kind", "reason", "by_hand"]
        )

    def front(self) -> pandas.DataFrame:
        """The same for the points of the front, the largest first; ``knee`` is True for the one at its knee.

        The best comes first where no cost is to be small.
        """
        from search.report.table import largest_first

        trials = {trial.number: trial for trial in self.views.trials}
        points = largest_first(self.views)
        frame = self._frame([trials.get(point.trial, point) for point in points], [])
        frame.insert(0, "knee", [point.trial == self.views.front.knee for point in points])
        return frame

    def figure(self, cost: str | None = None) -> Figure:
        """The learned objective against ``cost``, or against the size: the front, the other trials, the teacher.

        Raises:
            UserError: when the study has no such cost.
        """
        from plotly.graph_objects import Figure

        from search.report.figure import drawn_costs, figures, legible
        from trainers.registry import suggestion

        names = [each.name for each in drawn_costs(self.views)]
        if cost is not None and cost not in names:
            raise UserError(f"{cost!r} is not a cost of {self.views.folder}. {suggestion(cost, names)}")
        title = self.views.front.question.partition("\n")[0] or self.views.front.study
        return Figure(legible(figures(self.views)[names.index(cost) if cost is not None else 0], title=title))

    def best(
        self,
        *,
        max: Mapping[str, float] | None = None,
        min: Mapping[str, float] | None = None,
        weights: Mapping[str, float] | None = None,
        propose: bool = False,
    ) -> Answer:
        """The best model with each objective at most ``max`` and at least ``min``, the runner-up, the nearest miss.

        Args:
            weights: How much objectives count: the lowest sum of weight x value / limit is best.
            propose: Also ask the study's model for a candidate that was not tried and is probably better, or fits
                where no trial does; takes seconds.
        """
        from search.best import best, with_proposal

        answer = best(self.views, max or {}, min or {}, weights=weights)
        return with_proposal(self.views, answer) if propose else answer

    def knee(self) -> TrialView:
        """The model to keep if only one could be kept. ``UserError`` when no trial is within all limits."""
        from search.best import knee_of

        return knee_of(self.views)

    def report(self) -> Path:
        """Write the report, as ``python -m search.explore`` does, and give back where it lies.

        Raises:
            OSError: when it cannot be written.
        """
        from search.report.page import write_report

        return write_report(self.views)

    def compare(self, *others: KeptStudy) -> Contrast:
        """Fronts side by side: hypervolume on a common reference, what dominates what, which knobs agree.

        Raises:
            UserError: when there is no other study, or they were not measured alike.
        """
        from search.contrast.contrast import Contrast

        if not others:
            raise UserError(f"{self.views.folder} is to be compared with which other study?")
        return Contrast.of([self.views, *(other.views for other in others)])

    def validate(self, *, points: int = 5, images: int | None = None, workers: int | None = None) -> Validation:
        """Train points of the front in full: does the order of the short trainings hold? ``search.validate`` in Python.

        Raises:
            UserError: when the front has no two points, or one cannot be trained.
        """
        from search.validation.run import validated

        return validated(self.views, points=points, images=images, workers=workers)

    def export(self, trial: int, out: str | Path, *, images: int | None = None) -> Path:
        """Write a complete trial, by its number, into the new folder ``out``, ready to be trained in full.

        Args:
            images: Of the full training; when left out as many as the teacher saw, and never fewer than a trial.

        Raises:
            UserError: when there is no such trial, its files are gone, or the folder exists.
        """
        from search.exported import export

        found = next((each for each in self.views.complete if each.number == trial), None)
        if found is None:
            raise UserError(f"trial {trial} is not a complete trial of {self.views.folder}. See `.table()` for those.")
        export(self.views, found, Path(out), images=images)
        return Path(out)

    def _frame(self, trials: Sequence[TrialView | PointView], first: Sequence[str]) -> pandas.DataFrame:
        import pandas

        knobs = dict.fromkeys(path for trial in trials for path in trial.candidate)
        objectives = [objective.name for objective in (self.views.learned, *self.views.costs)]
        rows = [_row(trial, first, objectives) for trial in trials]
        measured = [column for name in objectives for column in (name, f"{name}_stderr")]
        columns = [*first, *knobs, *measured, "confirmed", "images", "seconds", "path"]
        return pandas.DataFrame(
            rows, columns=columns, index=pandas.Index([trial.number for trial in trials], name="trial")
        )


def _row(trial: TrialView | PointView, first: Sequence[str], objectives: Sequence[str]) -> dict[str, Any]:
    return {
        **{name: getattr(trial, name) for name in first},
        **trial.candidate,
        **{name: trial.counted.get(name) for name in objectives},
        **{f"{name}_stderr": trial.counted_stderr.get(name) for name in objectives},
        "confirmed": bool(trial.confirmed),
        "images": getattr(trial, "images", None),
        "seconds": getattr(trial, "seconds", None),
        "path": trial.path,
    }
