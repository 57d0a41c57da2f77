"""``from_study``: results of other studies as a start, of other data, another teacher or a shifted space.

They help the sampler to foresee this study's results, each study with an offset of its own, and count for nothing else:
they are never on the front and cost no budget. Candidates are carried over knob by knob:

- a knob of both studies keeps its value, also a little outside the new range;
- a knob of this space that the other one wrote out has the value written there; where neither is, it is absent;
- a knob that this space lacks is left out;
- a result is left out where a choice does not exist here, or a number is more than half the new range outside it.

What is taken is kept in the study's folder, so that the other study may go on, or go, without changing this one.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from search.knob import Knob
from trainers.errors import UserError
from trainers.foreign import bytes_inside

if TYPE_CHECKING:
    from search.samplers._history import Observation
    from search.space import Space
    from search.views import StudyViews, TrialView

_FILE = "from_study.json"
_OUTSIDE = 0.5
"""How far outside the new range a value may lie, in widths of it; the process goes on straight only so far."""
_MOST = 300
"""Results of one study; of more, an even part."""


@dataclass(frozen=True, kw_only=True)
class Result:
    """What a trial measured at a share of its full training; ``candidate`` names this space's knobs."""

    candidate: dict[str, Any]
    share: float
    values: dict[str, float]


@dataclass(frozen=True, kw_only=True)
class OtherStudy:
    """What this study takes over from another.

    Args:
        path: As the space writes it.
        shared: Knobs of this space that the other study searched or wrote out.
    """

    path: str
    shared: tuple[str, ...]
    results: tuple[Result, ...]

    def described(self, space: Space) -> str:
        """What is taken over, in a line."""
        trainings = sum(result.share >= 1 for result in self.results)
        return (
            f"from_study: {len(self.results)} results of {self.path} ({trainings} of full trainings), "
            f"{len(self.shared)} of {len(space.knobs)} knobs shared"
        )


def read_others(space: Space, folder: Path) -> list[OtherStudy]:
    """What the studies that the space names have measured, or what was kept of it in the study's ``folder``.

    Raises:
        UserError: when a study cannot be read, or has nothing that this one could use.
    """
    if not space.from_study:
        return []
    content = bytes_inside(folder, _FILE)
    if content is None:
        return [_taken(path, space) for path in space.from_study]
    from pydantic import TypeAdapter, ValidationError

    try:
        return TypeAdapter(list[OtherStudy]).validate_json(content)
    except ValidationError as error:
        first = error.errors()[0]
        fault = f"{folder / _FILE} cannot be used: {'.'.join(map(str, first['loc']))}: {first['msg']}."
        raise UserError(f"{fault} Remove it to read the other studies again.") from None


def keep_others(others: Sequence[OtherStudy], folder: Path) -> None:
    """Keep what was taken over when the study began, so that it stays the same however often it is opened."""
    from trainers.atomic import write_atomically

    if others and not (folder / _FILE).exists():
        write_atomically(folder / _FILE, json.dumps([asdict(each) for each in others]).encode())


def observations(others: Sequence[OtherStudy], space: Space) -> list[list[Observation]]:
    """The same as a sampler takes it: everything minimised, NaN for objectives that were not measured."""
    from search.samplers._history import Observation

    signs = {name: -1.0 if each.goal == "max" else 1.0 for name, each in space.named_objectives.items()}
    return [
        [
            Observation(
                candidate=result.candidate,
                share=result.share,
                values=tuple(sign * result.values.get(name, math.nan) for name, sign in signs.items()),
            )
            for result in other.results
        ]
        for other in others
    ]


def _taken(path: str, space: Space) -> OtherStudy:
    from search.views import StudyViews

    views = StudyViews.open(path)
    learned = {name for name, each in space.named_objectives.items() if each.is_learned}
    measured = {objective.name for objective in views.front.objectives}
    if not learned & measured:
        raise UserError(
            f"from_study: {path} measured {', '.join(sorted(measured))}, and nothing of it is learned here: "
            f"{', '.join(sorted(learned))}. Leave it out."
        )
    written = _written_out(views)
    found = []
    for trial, share, values in _measured(views):
        candidate = _carried_over(written(trial), space.knobs)
        shared = {name: value for name, value in values.items() if name in learned and value is not None}
        if candidate and shared:
            found.append(Result(candidate=candidate, share=share, values=shared))
    if not found:
        raise UserError(
            f"from_study: no result of {path} can be carried over: none of its {len(views.trials)} trials has a value "
            "for a knob of this space within reach of its range. Leave it out."
        )
    step = max(1, math.ceil(len(found) / _MOST))
    names = {name for result in found for name in result.candidate}
    return OtherStudy(
        path=path,
        shared=tuple(knob.path for knob in space.knobs if knob.path in names),
        results=tuple(found[::step]),
    )


def _written_out(views: StudyViews) -> Any:
    """What gives a trial's values by path: its knobs, and what its own space wrote out, where that can be read."""
    from search.space import Space, SpaceError

    try:
        space = Space.read(views.space_file)
    except SpaceError:
        return lambda trial: trial.candidate

    def values(trial: TrialView) -> Mapping[str, Any]:
        try:
            return {**space.fixed_values(trial.candidate), **trial.candidate}
        except SpaceError:
            return trial.candidate

    return values


def _measured(views: StudyViews) -> Iterator[tuple[TrialView, float, Mapping[str, float | None]]]:
    """Each trial at each share that it was measured at, as the search first measured it."""
    images = views.front.budget_images or max((trial.images or 0 for trial in views.complete), default=0)
    for trial in views.trials:
        if trial.state not in ("complete", "stopped") or not images:
            continue
        reached = {rung.images: rung.values for rung in trial.rungs if rung.images < images}
        for seen, values in reached.items():
            yield trial, seen / images, values
        if trial.state == "complete":
            yield trial, 1.0, trial.values


def _carried_over(values: Mapping[str, Any], knobs: Sequence[Knob]) -> dict[str, Any] | None:
    """The values of this space's knobs; None where one of them is out of reach here."""
    candidate = {knob.path: values[knob.path] for knob in knobs if knob.path in values and knob.is_active(values)}
    return candidate if all(_is_near(knob, candidate[knob.path]) for knob in knobs if knob.path in candidate) else None


def _is_near(knob: Knob, value: Any) -> bool:
    if knob.kind == "choice":
        return any(value == label and isinstance(value, bool) == isinstance(label, bool) for label in knob.choices)
    if isinstance(value, bool) or not isinstance(value, int | float) or (knob.log and value <= 0):
        return False
    low, high, at = (math.log(each) if knob.log else each for each in (knob.low, knob.high, value))
    return low - _OUTSIDE * (high - low) <= at <= high + _OUTSIDE * (high - low)
