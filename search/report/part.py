"""What a model of the front is made of: its recipe, what was asked of it, its layers, its log's end.

Inert ``<template>`` elements, of which the script shows the chosen trial's.
"""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from search.report.markup import Html, element, joined
from search.report.number import duration, number
from search.report.tabular import amount, row, table
from search.views import PointView, StudyViews, TrialView
from trainers.errors import UserError
from trainers.visible import visible

if TYPE_CHECKING:
    from trainers.models.arch_spec import ArchSpec, Layer

_LARGEST_BYTES = 600_000  # of all parts together
_LARGEST_RECIPE_BYTES = 20_000
_MOST_TEXT = 2**20
"""Bytes of a text, from its end."""
_LOG_LINES, _LOG_CHARACTERS = 14, 2_000


def parts(views: StudyViews) -> Html | None:
    """The section, with one template for each point of the front, the knee first, until the page is large enough."""
    trials = {trial.number: trial for trial in views.complete}
    points = sorted(views.front.points, key=lambda point: point.trial != views.front.knee)
    templates: list[Html] = []
    left = _LARGEST_BYTES
    for point in points:
        template = _template(views, point, trials.get(point.trial))
        left -= len(template)
        if left < 0:
            break
        templates.append(template)
    if not templates:
        return None
    return joined(
        element("h2", "What the chosen model is made of"), element("div", id="part", class_="part"), *templates
    )


def _template(views: StudyViews, point: PointView, trial: TrialView | None) -> Html:
    recipe, log = _text(views, point.path, "recipe.yaml"), _text(views, point.path, "log.txt")
    return element(
        "template",
        element("h3", f"Trial {point.trial}", element("code", point.path)),
        element(
            "div",
            _recipe(recipe) if recipe and len(recipe) <= _LARGEST_RECIPE_BYTES else None,
            element("div", _times(trial), _asked(trial), _log(log)),
            class_="halves",
        ),
        _layers(views, point.path),
        id=f"part-{point.trial}",
    )


def _recipe(text: str) -> Html:
    return element(
        "div",
        element("h4", "Recipe"),
        element("div", element("pre", text, class_="command", tabindex=0), _copy(), class_="copied"),
    )


def _copy() -> Html:
    return element("button", "Copy", type="button", class_="copy")


def _times(trial: TrialView | None) -> Html | None:
    stages = {name: seconds for name, seconds in trial.stages.items() if seconds} if trial else {}
    if not trial or not stages:
        return None
    said = ", ".join(f"{name} {duration(seconds)}" for name, seconds in stages.items() if seconds >= 0.05)
    total = f"{duration(trial.seconds)} in all: " if trial.seconds else ""
    return joined(element("h4", "Time"), element("p", total + (said or "below 0.1 s each")))


def _asked(trial: TrialView | None) -> Html | None:
    items = [item for item in trial.achieved if item.asked != item.achieved] if trial else []
    if not items:
        return None
    has_notes = any(item.note for item in items)
    rows = [[item.what, amount(item.asked), amount(item.achieved), *[item.note] * has_notes] for item in items]
    return element(
        "details",
        element("summary", f"Asked against achieved ({len(rows)})"),
        _table(["What", "Asked", "Achieved", *["Why"] * has_notes], rows),
    )


def _log(text: str | None) -> Html | None:
    if not text:
        return None
    lines = text.splitlines()
    end = "\n".join(lines[-_LOG_LINES:])[-_LOG_CHARACTERS:]
    title = f"The last {_LOG_LINES} of {len(lines)} lines of its log" if len(lines) > _LOG_LINES else "Its log"
    return element("details", element("summary", title), element("pre", end, tabindex=0))


def _layers(views: StudyViews, path: str) -> Html | None:
    """Widths and bits beside the teacher's; None where a model was not kept."""
    after, before = _spec(views, path), _spec(views, "teacher")
    if after is None:
        return None
    known = before.layers if before else {}
    layers = {name: layer for name, layer in after.layers.items() if layer.is_product}
    rows = [
        [name, _shape(known[name]) if name in known else "-", _shape(layer), _bits(known.get(name)), _bits(layer)]
        for name, layer in layers.items()
        if name not in known or _told(known[name]) != _told(layer)
    ]
    same = len(layers) - len(rows)
    gone = [name for name, layer in known.items() if layer.is_product and name not in after.layers]
    notes = [f"{same} layers are as in the teacher."] if same else []
    notes += [f"{len(gone)} layers of the teacher are gone."] if gone else []
    headings = ["Layer", "Teacher, channels", "Here, channels", "Teacher, bits", "Here, bits"]
    return element(
        "details",
        element("summary", f"Layers that changed ({len(rows)} of {len(layers)})"),
        element("p", " ".join(notes), class_="quiet") if notes else None,
        _table(headings, rows) if rows else None,
    )


def _spec(views: StudyViews, path: str) -> ArchSpec | None:
    file = views.file(path, "model.safetensors") if path else None
    if file is None:
        return None
    return _read_spec(file, file.stat().st_mtime_ns)


@lru_cache(maxsize=512)
def _read_spec(file: Path, changed_ns: int) -> ArchSpec | None:
    """The architecture in a model file's header; None where it has none. A report is written many times in a run."""
    from safetensors import SafetensorError, safe_open

    from trainers.models.arch_spec import ArchSpec
    from trainers.models.files import UNFIT

    try:
        with safe_open(file, framework="np") as opened:
            return ArchSpec.from_json((opened.metadata() or {})["spec"])
    except (SafetensorError, UserError, *UNFIT):
        return None  # a page is no place to stop for one file that cannot be read


def _told(layer: Layer) -> tuple[Any, ...]:
    return layer.inputs, layer.outputs, layer.groups, layer.bits, layer.zeros


def _shape(layer: Layer) -> str:
    groups = f", {layer.groups} groups" if layer.groups > 1 else ""
    zeros = f", {number(100 * layer.zeros, digits=2)} % zeros" if layer.zeros else ""
    return f"{layer.inputs} to {layer.outputs}{groups}{zeros}"


def _bits(layer: Layer | None) -> str:
    if layer is None:
        return "-"
    return f"{layer.bits} ({layer.format})" if layer.format else str(layer.bits)


def _text(views: StudyViews, path: str, name: str) -> str | None:
    file = views.file(path, name) if path else None
    if file is None:
        return None
    with file.open("rb") as opened:
        opened.seek(max(0, file.stat().st_size - _MOST_TEXT))
        return visible(opened.read(_MOST_TEXT).decode("utf-8", errors="replace"))


def _table(headings: list[str], rows: list[list[str]]) -> Html:
    return table(headings, [row(headings, cells) for cells in rows])
