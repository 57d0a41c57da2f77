"""The parts of a space other than the recipe: from the tree to checked objects, or mistakes with their places."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Annotated, Any, TypeVar

from pydantic import BeforeValidator, Field, ValidationError

from objectives.objective import OBJECTIVES, Objective
from search import checkpoints, storage_url
from search._open_value import Trace, closed, filled
from search._pydantic_mistakes import explained
from search._yaml import Entries, Items, Leaf, Node, flow_text, plain
from search.budget import Budget, HalvingOptions, ImagesRange, WrittenBudget
from search.name import check_name
from search.reference import Reference
from search.samplers.sampler import SAMPLERS, SamplerOptions
from search.space_error import Mistakes
from search.trackers.tracker import TRACKERS, Tracker
from search.watchdog import TrialLimits
from trainers.data.dataset import DATA, Dataset
from trainers.errors import UserError
from trainers.redaction import without_passwords
from trainers.registry import Registry, suggestion
from trainers.resources import Resources
from trainers.teacher import Teacher
from trainers.written import reader

Piece = TypeVar("Piece")
# Written `false`, it is none.
_Draws = Annotated[
    int, Field(ge=0, le=1_000, strict=True), BeforeValidator(lambda written: 0 if written is False else written)
]


def read_name(node: Node, mistakes: Mistakes) -> str:
    """The name of the study."""
    value = plain(node)
    try:
        # A name such as 2024 is read as a number.
        return check_name(str(value) if isinstance(value, str | int) else flow_text(value))
    except UserError as error:
        mistakes.add(str(error), path="name", place=node.place)
        return ""


def read_data(node: Node, mistakes: Mistakes) -> Dataset | None:
    """The data set."""
    return _piece(DATA, node, "data", mistakes)


def read_sampler(node: Node, mistakes: Mistakes) -> SamplerOptions | None:
    """The sampler's options."""
    return _piece(SAMPLERS, node, "sampler", mistakes)


def read_from_study(node: Node, sampler: SamplerOptions | None, mistakes: Mistakes) -> tuple[str, ...]:
    """Folders of other studies to begin with; only some samplers can."""
    kind = str | tuple[str, ...]
    written: str | tuple[str, ...] | None = _checked(reader(kind), node, "from_study", kind, mistakes)
    paths = (written,) if isinstance(written, str) else written or ()
    if paths and sampler is not None and not sampler.uses_others:
        able = ", ".join(name for name, piece in SAMPLERS if piece.uses_others)
        text = f"cannot be used by sampler {SAMPLERS.name_of(sampler)!r}. Take {able}, or leave from_study out."
        mistakes.add(text, path="from_study", place=node.place)
    return paths


def read_tracker(node: Node, mistakes: Mistakes) -> Tracker | None:
    """Who else is told of ended trials; None where nobody is."""
    return None if plain(node) in (None, False) else _piece(TRACKERS, node, "tracker", mistakes)


def read_storage(node: Node, mistakes: Mistakes) -> str | None:
    """The URL of the database that keeps the study; None where it is a file in the study's folder."""
    return _place(node, "storage", storage_url.mistake_of, storage_url.ALLOWED, mistakes)


def read_checkpoints(node: Node, mistakes: Mistakes) -> str | None:
    """The URI under which all machines find trials' files; None where they share the study's folder."""
    return _place(node, "checkpoints", checkpoints.mistake_of, checkpoints.ALLOWED, mistakes)


def read_teacher(node: Node, mistakes: Mistakes) -> Teacher | None:
    """The teacher; it has either a network to train or a place to load from."""
    teacher: Teacher | None = _checked(reader(Teacher), node, "teacher", Teacher, mistakes)
    if teacher is not None and (teacher.network is None) == (teacher.source is None):
        found = "neither" if teacher.network is None else "both"
        text = f"must have one of 'network' and 'from', got {found}. Write a network to train, or where to load from."
        mistakes.add(text, path="teacher", place=node.place)
    if teacher is not None and teacher.network is not None and isinstance(node, Entries):
        # What depends on the size of the data's images is found later, when the data is looked at.
        for text in teacher.network.mistakes():
            mistakes.add(text, path="teacher.network", place=node.entries["network"].node.place)
    return teacher


def read_budget(node: Node, mistakes: Mistakes) -> Budget | None:
    """Trials, images and rungs."""
    written: WrittenBudget | None = _checked(reader(WrittenBudget), node, "budget", WrittenBudget, mistakes)
    if written is None:
        return None
    images = written.images
    if isinstance(images, ImagesRange) and images.min > images.max:
        assert isinstance(node, Entries)
        text = f"min must not be above max, got min {images.min} and max {images.max}. Exchange them."
        mistakes.add(text, path="budget.images", place=node.entries["images"].node.place)
        return None
    return written.budget()


def read_halving(node: Node, budget: Budget | None, mistakes: Mistakes) -> HalvingOptions | None:
    """How weak trials are stopped early; None where they are not, or report only once."""
    kind = bool | HalvingOptions
    written: bool | HalvingOptions | None = _checked(reader(kind), node, "halving", kind, mistakes)
    if not written or budget is None or len(budget.rungs) == 1:
        return None
    return HalvingOptions() if written is True else written


def read_confirm(node: Node, mistakes: Mistakes) -> int:
    """How often points of the front are measured again; 0 for never."""
    return _checked(reader(_Draws), node, "confirm", _Draws, mistakes) or 0


def read_resources(node: Node, mistakes: Mistakes) -> Resources | None:
    """What a trial occupies."""
    return _checked(reader(Resources), node, "resources", Resources, mistakes)


def read_limits_per_trial(node: Node, mistakes: Mistakes) -> TrialLimits | None:
    """What a trial may take at most."""
    return _checked(reader(TrialLimits), node, "limits_per_trial", TrialLimits, mistakes)


def read_objectives(node: Node, mistakes: Mistakes) -> tuple[Objective, ...]:
    """The objectives in order, each kind once."""
    if not isinstance(node, Items) or not node.items:
        text = f"must be a list such as [fid, size_mb], got {flow_text(plain(node))}."
        mistakes.add(text, path="objectives", place=node.place)
        return ()
    found: dict[str, Objective] = {}
    for index, item in enumerate(node.items):
        objective = _piece(OBJECTIVES, item, f"objectives.{index}", mistakes)
        if objective is None:
            continue
        name = OBJECTIVES.name_of(objective)
        if name in found:
            mistakes.add(f"{name!r} is listed twice. Keep one.", path=f"objectives.{index}", place=item.place)
        found.setdefault(name, objective)
    return tuple(found.values())


def check_trade_off(objectives: Sequence[Objective], node: Node, mistakes: Mistakes) -> None:
    """A search needs at least two objectives, and one of them must depend on training."""
    if len(objectives) == 1:
        name = OBJECTIVES.name_of(objectives[0])
        text = f"has no objective to trade off against {name!r}. Add one, such as "
        text += "'size_mb' or 'latency_ms'." if objectives[0].is_learned else "'fid'."
        mistakes.add(text, path="objectives", place=node.place)
    elif not any(objective.is_learned for objective in objectives):
        learned = [name for name, kind in OBJECTIVES if kind.is_learned]
        text = f"has only costs, so training would not matter. Add one of {', '.join(learned)}."
        mistakes.add(text, path="objectives", place=node.place)


def read_limits(node: Node, names: Sequence[str], mistakes: Mistakes) -> dict[str, float]:
    """The values that still interest, by objective."""
    if not isinstance(node, Entries):
        text = f"must be a mapping such as {{fid: 60}}, got {flow_text(plain(node))}."
        mistakes.add(text, path="limits", place=node.place)
        return {}
    limits = {}
    for name, entry in node.entries.items():
        value = plain(entry.node)
        if names and name not in names:
            text = f"unknown objective {name!r}. {suggestion(name, names)}"
            text += " Only objectives of this space can have a limit."
            mistakes.add(text, path="limits", place=entry.place)
        elif isinstance(value, bool) or not isinstance(value, int | float) or not value > 0 or math.isinf(value):
            text = f"must be a number above 0, got {flow_text(value)}. Leave it out for the default."
            mistakes.add(text, path=f"limits.{name}", place=entry.node.place)
        else:
            limits[name] = float(value)
    return limits


def read_references(node: Node, names: Sequence[str], mistakes: Mistakes) -> tuple[Reference, ...]:
    """Points of other works, each name once; ``names`` are the space's objectives, none where those are wrong."""
    if not isinstance(node, Items):
        text = f"must be a list such as [{{name: theirs, values: {{fid: 5.29}}}}], got {flow_text(plain(node))}."
        mistakes.add(text, path="references", place=node.place)
        return ()
    found: dict[str, Reference] = {}
    for index, item in enumerate(node.items):
        path = f"references.{index}"
        if isinstance(item, Entries) and "values" in item.entries:
            _check_values(item.entries["values"].node, f"{path}.values", names, mistakes)
        reference: Reference | None = _checked(reader(Reference), item, path, Reference, mistakes)
        if reference is None:
            continue
        if not reference.name.strip() or reference.name in found:
            wrong = "is listed twice" if reference.name in found else "is empty"
            text = f"{reference.name!r} {wrong}. Give each reference a name of its own."
            mistakes.add(text, path=f"{path}.name", place=item.place)
        found.setdefault(reference.name, reference)
    return tuple(found.values())


def _check_values(node: Node, path: str, names: Sequence[str], mistakes: Mistakes) -> None:
    if not isinstance(node, Entries) or not node.entries:
        text = f"must be a mapping such as {{fid: 5.29, macs_g: 3.4}}, got {flow_text(plain(node))}."
        mistakes.add(text, path=path, place=node.place)
        return
    for name, entry in node.entries.items():
        value = plain(entry.node)
        # Those that this space does not ask for, as with --set objectives=..., are kept for others that do.
        known = list(dict.fromkeys([*names, *OBJECTIVES.names()]))
        if names and name not in known:
            text = f"unknown objective {name!r}. {suggestion(name, known)}"
            mistakes.add(text, path=path, place=entry.place)
        elif isinstance(entry.node, Leaf) and (isinstance(value, bool) or not isinstance(value, int | float)):
            text = f"must be a number, got {flow_text(value)}. Leave it out where it is not known."
            mistakes.add(text, path=f"{path}.{name}", place=entry.node.place)


def check_finite(node: Node, path: str, mistakes: Mistakes) -> None:
    """Infinity and NaN have no place anywhere in a space."""
    if isinstance(node, Leaf) and isinstance(node.value, float) and not math.isfinite(node.value):
        mistakes.add(f"must be a finite number, got {flow_text(node.value)}.", path=path, place=node.place)
    elif isinstance(node, Items):
        for index, item in enumerate(node.items):
            check_finite(item, f"{path}.{index}", mistakes)
    elif isinstance(node, Entries):
        for key, entry in node.entries.items():
            check_finite(entry.node, f"{path}.{key}" if path else key, mistakes)


def check_no_password(node: Node, path: str, mistakes: Mistakes) -> None:
    """Only ``storage`` may hold a password, which is then kept nowhere; all else goes into files that are passed on."""
    if isinstance(node, Leaf) and isinstance(node.value, str) and without_passwords(node.value) != node.value:
        text = "holds a password, which would be kept with the study. Leave it to the environment of each machine."
        mistakes.add(text, path=path, place=node.place)
    elif isinstance(node, Items):
        for index, item in enumerate(node.items):
            check_no_password(item, f"{path}.{index}", mistakes)
    elif isinstance(node, Entries):
        for key, entry in node.entries.items():
            if key != "storage" or path:
                check_no_password(entry.node, f"{path}.{key}" if path else key, mistakes)


def _place(
    node: Node, key: str, mistake_of: Callable[[str], str | None], allowed: str, mistakes: Mistakes
) -> str | None:
    value = plain(node)
    if value is None:
        return None
    wrong = mistake_of(value) if isinstance(value, str) else f"must be {allowed}."
    if wrong:
        mistakes.add(wrong, path=key, place=node.place)
    return None if wrong else str(value)


def _piece(registry: Registry[Piece], node: Node, path: str, mistakes: Mistakes) -> Piece | None:
    return _checked(registry.parse, node, path, Annotated[Any, registry], mistakes)


def _checked(read: Callable[[object], Piece], node: Node, path: str, kind: object, mistakes: Mistakes) -> Piece | None:
    """What ``read`` makes of the plain data; None when it has mistakes, which are added."""
    before = len(mistakes)
    trace = Trace()
    data = filled(closed(node, path, mistakes=mistakes), _no_knob, trace)
    known = mistakes.places()
    try:
        value = read(data)
    except ValidationError as error:
        for mistake in explained(error, data=data, origins=trace.origins, kind=kind):
            if mistake.place not in known:
                mistakes.add(mistake.text, path=mistake.path, place=mistake.place)
        return None
    return value if len(mistakes) == before else None


def _no_knob(knob: object) -> None:
    raise AssertionError(f"{knob} is outside of the recipe")
