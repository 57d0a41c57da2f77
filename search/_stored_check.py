"""What a study's database says of its trials, checked when it is opened: it may be damaged, or of another space.

Whoever reads a trial afterwards may rely on the types, names and ranges that are written down here.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, fields
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from optuna.distributions import check_distribution_compatibility
from optuna.trial import FrozenTrial, TrialState
from pydantic import Field, TypeAdapter, ValidationError

from search import stored
from search._database import Database
from search._database_file import faults_told, unusable
from search._knob_distributions import distribution
from search.record import Record
from search.views import Confirmation, Seconds, Shortfall, StandardError, TrialView
from trainers.errors import UserError
from trainers.visible import all_visible

if TYPE_CHECKING:
    from search.space import Space

CONFIRMED = "confirmed:"
"""Of attributes of the study: what a trial measured again. A trial that has ended takes no attributes itself."""
BEGUN_AGAIN = "begun_again:"
"""Of attributes of the study: how often it was begun to measure a trial again, since the last end that was told."""
_Share = Annotated[float, Field(gt=0, le=1)]
_Count = Annotated[int, Field(ge=1, le=10**6)]
_Value = str | int | float | bool | None
_ENDED = {TrialState.COMPLETE: {"complete"}, TrialState.FAIL: {"failed", "rejected"}}
_SETTLED = 1e-6
_MOST_BEGUN = 10**6


@dataclass(frozen=True, kw_only=True)
class _Measurement:
    value: float
    stderr: StandardError
    samples: int
    by: str


@dataclass(frozen=True, kw_only=True)
class _Result:
    images: Annotated[int, Field(ge=0, le=10**15)]
    is_last: bool
    measurements: dict[str, _Measurement]
    seconds: dict[str, Seconds]
    notes: list[Shortfall]
    versions: dict[str, str] = field(default_factory=dict)
    device: str = ""


@dataclass(frozen=True, kw_only=True)
class _Rung:
    share: _Share
    values: dict[str, float]
    result: _Result
    seconds: Seconds


@dataclass(frozen=True, kw_only=True)
class _Attributes:
    """Those of a trial, by the names in ``search.stored``."""

    candidate: dict[str, _Value] = field(default_factory=dict)
    record: TrialView | None = None
    attempt: _Count = 1
    by_hand: bool = False
    retried: str = ""
    replaced: bool = False
    micro_batches: _Count = 1
    rungs: list[_Rung] = field(default_factory=list)
    target_share: _Share = 1.0


def check_stored(database: Database, space: Space) -> None:
    """The database holds trials of ``space``, as a search of it writes them.

    Raises:
        UserError: naming the first thing that is otherwise.
    """
    with faults_told(database.place):
        fault = next(_faults(database, space), None)
    if fault:
        raise UserError(unusable(database.place, fault))


def check_kept(folder: Path, space: Space) -> None:
    """The same of the study that ``folder`` holds already, if any, before anything is computed for it.

    Raises:
        UserError: as ``check_stored``.
    """
    if not (folder / "space.yaml").is_file():
        return
    database = Database(folder, goals=goals_of(space), storage=space.storage, is_named=space.is_storage_named)
    check_stored(database, space)
    database.engine.dispose()


def goals_of(space: Space) -> dict[str, str]:
    """What is to be small and what large, by objective."""
    return {name: each.goal for name, each in space.named_objectives.items()}


def is_result(found: Mapping[str, Any]) -> bool:
    """Whether what a trial wrote into its folder can be told as the result of its last rung."""
    return _mistake(_Result, found) is None


def _faults(database: Database, space: Space) -> Iterator[str]:
    names = space.objective_names
    for place, trial in enumerate(database.trials()):
        if trial.number != place:
            yield f"trial {place} is missing"
        yield from (f"trial {place}: {fault}" for fault in _faults_of_trial(trial, space))
    yield from _faults_of_study(database.attributes, names)
    yield from _faults_of_optuna(database.optuna._storage.get_study_system_attrs(database.optuna._study_id))


def _faults_of_trial(trial: FrozenTrial, space: Space) -> Iterator[str]:
    attributes = trial.user_attrs
    mistake = _mistake(_Attributes, attributes)
    if mistake:
        # What is of another type is not looked at any closer.
        yield mistake
        return
    yield from _faults_of_state(trial, space.objective_names)
    yield from _faults_of_params(trial, space)
    if stored.CANDIDATE in attributes:
        yield from _faults_of_candidate(attributes[stored.CANDIDATE], space)
        yield from _faults_of_choice(attributes[stored.CANDIDATE], space)
    yield from _faults_of_rungs(attributes.get(stored.RUNGS, []), space)
    yield from _faults_of_optuna(trial.system_attrs)
    fixed = trial.system_attrs.get("fixed_params", {})
    if not isinstance(fixed, dict):
        yield f"the values that it is to have are {fixed!r:.100}"
    elif trial.state == TrialState.WAITING:
        yield from _faults_of_candidate(fixed, space)


def _faults_of_state(trial: FrozenTrial, names: Sequence[str]) -> Iterator[str]:
    record = trial.user_attrs.get(stored.RECORD)
    if trial.state == TrialState.PRUNED:
        yield "it is pruned, which no trial of a search is"
    if trial.state == TrialState.WAITING and (record is not None or stored.rungs(trial)):
        yield "it is queued, and has begun"
    if stored.reached(trial) > stored.target(trial) + _SETTLED:
        yield f"it was to be trained to {stored.target(trial):.4g}, and has measured at {stored.reached(trial):.4g}"
    told = [value for value in trial.values or () if _is_number(value)]
    if trial.state == TrialState.COMPLETE and len(told) != len(names):
        yield f"it is complete with {len(told)} values for {len(names)} objectives"
    if record is None:
        return
    unknown = record.keys() - {each.name for each in fields(Record)}
    if unknown:
        yield f"its record has the unknown {min(unknown)!r}"
    if record["number"] != trial.number or record.get("path") not in (None, "", f"trials/{trial.number:04d}"):
        yield "its record is that of another trial"
    if trial.state in _ENDED and record["state"] not in _ENDED[trial.state]:
        yield f"its record is {record['state']}, and it is not"
    values = record.get("values", {})
    if record["state"] == "complete" and not all(_is_number(values.get(name)) for name in names):
        yield f"its record has no value for each of {', '.join(names)}"


def _faults_of_params(trial: FrozenTrial, space: Space) -> Iterator[str]:
    knobs = {knob.path: knob for knob in space.knobs}
    for name, value in trial.params.items():
        if name not in knobs:
            yield f"it has a value for {name!r}, which is no knob of this space"
            continue
        try:
            check_distribution_compatibility(distribution(knobs[name]), trial.distributions[name])
            knobs[name].accepted(value)
        except ValueError as error:
            yield f"{name} {error}"


def _faults_of_candidate(candidate: Mapping[str, Any], space: Space) -> Iterator[str]:
    knobs = {knob.path: knob for knob in space.knobs}
    for name, value in candidate.items():
        if name not in knobs:
            yield f"it is to have a value for {name!r}, which is no knob of this space"
            continue
        try:
            knobs[name].accepted(value)
        except (ValueError, TypeError) as error:
            yield f"{name} {error}"


def _faults_of_choice(candidate: Mapping[str, Any], space: Space) -> Iterator[str]:
    active = {knob.path for knob in space.knobs if knob.is_active(candidate)}
    if active != candidate.keys():
        yield f"its candidate has values for {_listed(candidate)}, where {_listed(active)} are knobs of this space"


def _faults_of_rungs(rungs: Sequence[Mapping[str, Any]], space: Space) -> Iterator[str]:
    shares = [float(rung["share"]) for rung in rungs]
    known = space.budget.shares
    if sorted(set(shares)) != shares:
        yield "its rungs do not rise"
    for rung, share in zip(rungs, shares, strict=True):
        if min(abs(share - each) for each in known) > _SETTLED:
            yield f"it has measured at {share:.4g} of its training, where no rung of this space is"
        if rung["result"]["is_last"] != (share > 1 - _SETTLED):
            yield f"it has measured at {share:.4g} of its training, and says otherwise"
        learned = [name for name, each in space.named_objectives.items() if each.is_learned]
        missing = [name for name in learned if name not in rung["values"]]
        if missing and share < 1:
            yield f"it has measured no {missing[0]} at {share:.4g} of its training"


def _faults_of_study(attributes: Mapping[str, Any], names: Sequence[str]) -> Iterator[str]:
    seconds = attributes.get("seconds", 0.0)
    if not _is_number(seconds) or not 0 <= seconds < math.inf:
        yield f"it says that it took {seconds!r:.100} seconds"
    for key, found in attributes.items():
        if key.startswith(BEGUN_AGAIN) and not (type(found) is int and 0 <= found <= _MOST_BEGUN):
            yield f"it says that it began {found!r:.100} times to measure trial {key.removeprefix(BEGUN_AGAIN)} again"
        if not key.startswith(CONFIRMED):
            continue
        mistake = _mistake(dict[str, Confirmation], found)
        if mistake:
            yield f"what trial {key.removeprefix(CONFIRMED)} measured again: {mistake}"
        elif not found.keys() <= set(names) or not all(
            _is_number(each["value"]) and _is_number(each.get("stderr")) for each in found.values()
        ):
            yield f"what trial {key.removeprefix(CONFIRMED)} measured again are no objectives of this space"


def _faults_of_optuna(attributes: Mapping[str, Any]) -> Iterator[str]:
    """Of what Optuna's samplers keep: numbers, lists of numbers, text."""
    for key, value in attributes.items():
        is_constraint = key.startswith("constraints:")
        is_sampler_s = "generation" in key or "parent" in key
        if is_constraint and not (_is_number(value) and math.isfinite(value)):
            yield f"its {key} is {value!r:.100}, where a number must be"
        if key == "constraints":
            yield "it has constraints that no limit of this space is"
        if is_sampler_s and not all(type(each) is int for each in (value if isinstance(value, list) else [value])):
            yield f"its {key} is {value!r:.100}, where whole numbers must be"


def _mistake(kind: Any, found: Any) -> str | None:
    """Where plain data is not of a type, in one line; None where it is."""
    try:
        # As JSON, which is how it is kept: there a mapping may stand for a dataclass, and all else is taken strictly.
        _adapter(kind).validate_json(json.dumps(all_visible(found)), strict=True)
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"])
        return f"{where}: {first['msg']}" if where else str(first["msg"])
    return None


@cache
def _adapter(kind: Any) -> TypeAdapter[Any]:
    return TypeAdapter(kind)


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _listed(names: Any) -> str:
    return ", ".join(sorted(map(repr, names))[:20]) or "nothing"
