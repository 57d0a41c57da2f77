"""Several studies in the same figures: what each of their fronts affords, where they measure alike."""

from __future__ import annotations

import html
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from search.report.alike import shared_objectives, unlike_teachers, what
from search.report.axes import axis, title_of, with_unit
from search.report.candidate import short
from search.report.cards import strip_image
from search.report.document import document
from search.report.embedded import embedded_strips
from search.report.figure import Figure, hover_text, steps_of, teacher_of
from search.report.markup import Html, element, joined, json_element
from search.report.number import with_error
from search.report.palette import DARK, LIGHT
from search.report.plot import layout, line, ring
from search.report.table import largest_first, order_in_words, sort_value
from search.report.tabular import row, table
from search.views import ObjectiveView, PointView, StudyViews
from trainers.atomic import write_atomically
from trainers.errors import UserError

OVERLAY_FILE = "overlay.html"
_SYMBOLS = (("circle", "●"), ("square", "■"), ("triangle-up", "▲"), ("diamond", "◆"))
"""Of each study, for plotly and for the legend; the roles ``share0`` and on have their colours."""


def write_overlay(studies: Sequence[StudyViews], path: Path) -> Path:
    """Write the page, whole or not at all, and give back where it lies.

    Raises:
        UserError: when the studies cannot be compared, or the page cannot be written.
    """
    content = overlay(studies).encode()
    try:
        write_atomically(path, content)
    except OSError as error:
        raise UserError(
            f"{path} cannot be written: {error.strerror}. Name another file: --out FILE.html, or free some disk space."
        ) from error
    return path


def overlay(studies: Sequence[StudyViews]) -> str:
    """The page as text. ``UserError`` when the studies cannot be compared."""
    learned, *costs = shared_objectives(studies)
    names = _names(studies)
    figures = [_figure(studies, names, learned, cost) for cost in costs]
    title = " and ".join(names)
    return document(
        element(
            "header",
            element("p", f"Slimfront, {len(studies)} studies", class_="quiet"),
            element("h1", title),
            *[
                element("p", element("b", name), f": {views.front.question}", class_="quiet")
                for name, views in zip(names, studies, strict=True)
                if views.front.question
            ],
        ),
        _left_out(studies, costs),
        element("p", told, class_="warning") if (told := unlike_teachers(studies, names)) else None,
        element(
            "section",
            _legend(studies, names),
            element(
                "div",
                *[element("div", class_="panel", data_figure=place) for place in range(len(figures))],
                class_="panels",
            ),
        ),
        element("h2", "Both fronts" if len(studies) == 2 else "All fronts"),
        element("p", f"{order_in_words(costs).capitalize()}, whichever study it is of.", class_="quiet"),
        _table(studies, names, [learned, *costs]),
        json_element("figures", {"figures": figures, "chosen": None}),
        title=title,
        light=LIGHT,
        dark=DARK,
        style=".panels { grid-template-columns: repeat(auto-fit, minmax(min(100%, 460px), 1fr)); }",
        runs=True,
    )


def _names(studies: Sequence[StudyViews]) -> list[str]:
    """The studies' own names, or their folders where two are called the same."""
    names = [views.front.study for views in studies]
    return names if len(set(names)) == len(names) else [str(views.folder) for views in studies]


def _left_out(studies: Sequence[StudyViews], costs: Sequence[ObjectiveView]) -> Html | None:
    kept = {what(cost) for cost in costs}
    others = {title_of(cost): None for views in studies for cost in views.costs if what(cost) not in kept}
    if not others:
        return None
    text = f"Left out, as not all measured it, or not on the same device: {', '.join(others)}."
    return element("p", text, class_="warning")


def _keyed(studies: Sequence[StudyViews]) -> list[tuple[int, int, PointView]]:
    """Every point of every front under a number of its own, with the place of its study."""
    points = [(place, point) for place, views in enumerate(studies) for point in views.front.points]
    return [(key, place, point) for key, (place, point) in enumerate(points)]


def _figure(studies: Sequence[StudyViews], names: Sequence[str], learned: ObjectiveView, cost: ObjectiveView) -> Figure:
    traces: list[dict[str, Any]] = []
    for place, views in enumerate(studies):
        xs, ys = steps_of(views, cost)
        own = [(key, point) for key, of, point in _keyed(studies) if of == place]
        name = html.escape(names[place], quote=False)
        errors = [point.stderr.get(learned.name) or 0.0 for _, point in own]
        traces += [
            line(_role(place), xs, ys, shape="hv", width=1.6),
            {
                "type": "scatter",
                "mode": "markers",
                "meta": _role(place),
                "x": [point.values[cost.name] for _, point in own],
                "y": [point.values[learned.name] for _, point in own],
                "customdata": [key for key, _ in own],
                "text": [f"<b>{name}</b><br>{hover_text(views, point)}" for _, point in own],
                "error_y": {"array": errors, "visible": any(errors), "width": 0, "thickness": 1.3},
                "marker": {"symbol": _symbol(place)[0], "size": 10, "color": LIGHT[_role(place)], "line": {"width": 1}},
                "hovertemplate": "%{text}<extra></extra>",
            },
            teacher_of(views, cost),
        ]
    xs, ys = ([value for trace in traces for value in trace[key]] for key in "xy")
    axes = {"xaxis": axis(cost, xs, limit=None), "yaxis": axis(learned, ys, limit=None)}
    return {"data": [*traces, ring()], "layout": layout(axes)}


def _legend(studies: Sequence[StudyViews], names: Sequence[str]) -> Html:
    entries = [
        (_role(place), _symbol(place)[1], f"{name}: {len(views.front.points)} of {len(views.complete)} full trials")
        for place, (name, views) in enumerate(zip(names, studies, strict=True))
    ]
    entries += [("teacher", "★", "teacher")] if any(views.front.teacher for views in studies) else []
    items = [
        element("li", element("span", mark, class_=role, aria_hidden="true"), text) for role, mark, text in entries
    ]
    return element("ul", *items, element("li", "bars: ± 1 standard error"), class_="legend")


def _table(studies: Sequence[StudyViews], names: Sequence[str], objectives: Sequence[ObjectiveView]) -> Html:
    learned, *costs = objectives
    headings = ["Model", "Pictures", *map(with_unit, objectives), "Candidate"]
    part = 1 / len(studies)
    pictures = [embedded_strips(views, [point.path for point in largest_first(views)], part=part) for views in studies]
    rows = []
    for key, place, point in sorted(_keyed(studies), key=lambda item: sort_value(item[2], learned, costs)):
        who = f"trial {point.trial} of {names[place]}"
        mark = element("span", _symbol(place)[1], class_=_role(place), aria_hidden="true")
        cells = [
            joined(mark, Html(" "), element("b", names[place]), f" {point.trial}"),
            strip_image(who, pictures[place].get(point.path)),
            *[with_error(point.values.get(item.name), point.stderr.get(item.name)) for item in objectives],
            short(point.candidate),
        ]
        rows.append(row(headings, cells, tabindex=0, data_trial=key, aria_selected="false"))
    return table(headings, rows, class_="overlaid")


def _role(place: int) -> str:
    return f"share{place % len(_SYMBOLS)}"


def _symbol(place: int) -> tuple[str, str]:
    # From the fifth study on a colour comes again, with another symbol.
    return _SYMBOLS[(place + place // len(_SYMBOLS)) % len(_SYMBOLS)]
