"""``report.html``: a study on one page that opens offline, with plotly's script and all pictures inside."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from search.report.budget import budget_panel
from search.report.cards import trial_table
from search.report.document import document
from search.report.embedded import embedded_strips
from search.report.figure import NAMES, Figure, bare_figures
from search.report.foretell import foretelling, foretelling_figures
from search.report.history import history_figures, history_section
from search.report.knee import knee_reason
from search.report.knobs import knob_figures, knobs_section
from search.report.markup import Html, element, joined, json_element
from search.report.palette import DARK, LIGHT
from search.report.parallel import parallel_figures, parallel_section
from search.report.part import parts
from search.report.plot import MOST_POINTS
from search.report.references import reference_table
from search.report.sections import (
    curse,
    front_rows,
    nothing_yet,
    shortfalls,
    state,
    stopped_early,
    troubles,
    warnings,
)
from search.report.spent import time_spent
from search.report.table import largest_first, order_in_words
from search.samplers._one_thread import on_one_thread
from search.views import StudyViews
from trainers.atomic import write_atomically

_SectionBuilder = Callable[..., Html | None]
_FigureBuilder = Callable[[StudyViews], Sequence[Figure]]


FURTHER: Sequence[tuple[_SectionBuilder, _FigureBuilder]] = (
    (knobs_section, knob_figures),
    (parallel_section, parallel_figures),
    (history_section, history_figures),
    (foretelling, foretelling_figures),
)
"""Sections with figures, below the front. A section is built with ``figure``, the number of its first on the page."""

REPORT_FILE = "report.html"
_TEACHER = "teacher"


def write_report(views: StudyViews) -> Path:
    """Write the page into the study's folder, whole or not at all, and give back where it lies.

    Raises:
        OSError: when it cannot be written; a search that goes on says then how.
    """
    path = views.folder / REPORT_FILE
    write_atomically(path, page(views).encode())
    return path


@on_one_thread
def page(views: StudyViews) -> str:
    """The page as text."""
    points = largest_first(views)
    on_front = {point.trial for point in points}
    others = [trial.path for trial in [*views.complete, *views.stopped] if trial.number not in on_front]
    pictures = embedded_strips(views, [_TEACHER, *[point.path for point in points]], others)
    fronts = bare_figures(views) if views.complete else []
    further, drawn = _further(views, first=len(fronts))
    return document(
        _header(views),
        warnings(views),
        state(views),
        budget_panel(views),
        _front(views, pictures, fronts) if fronts else nothing_yet(views),
        reference_table(views),
        parts(views),
        *further,
        time_spent(views),
        stopped_early(views),
        troubles(views),
        shortfalls(views),
        json_element("trials", trial_table(views, pictures)),
        json_element(
            "figures", {"figures": [_rounded(figure) for figure in [*fronts, *drawn]], "chosen": _first_chosen(views)}
        ),
        title=views.front.study,
        light=LIGHT,
        dark=DARK,
        runs=bool(fronts or drawn),
    )


def _further(views: StudyViews, *, first: int) -> tuple[list[Html], list[Figure]]:
    """The sections that have something to show, and their figures, which are numbered from ``first`` on."""
    sections: list[Html] = []
    drawn: list[Figure] = []
    for section, figures in FURTHER:
        words = section(views, figure=first + len(drawn))
        if words is not None:
            sections.append(words)
            drawn += figures(views)
    return sections, drawn


def _rounded(figure: Figure) -> Figure:
    """Points to six digits, which no screen can tell from all: with thousands of trials a third of the page."""
    data: list[dict[str, Any]] = [
        {key: _six_digits(value) if key in ("x", "y") else value for key, value in trace.items()}
        for trace in figure["data"]
    ]
    for trace in data:
        if "array" in trace.get("error_y", {}):
            trace["error_y"] = {**trace["error_y"], "array": _six_digits(trace["error_y"]["array"])}
    return {**figure, "data": data}


def _six_digits(values: Sequence[Any]) -> list[Any]:
    return [float(f"{value:.6g}") if isinstance(value, float) else value for value in values]


def _header(views: StudyViews) -> Html:
    progress = "finished" if views.front.finished else "still running: reload to see what is new"
    return element(
        "header",
        element("p", f"Slimfront study, {progress}", class_="quiet"),
        element("h1", views.front.study),
        element("p", views.front.question, class_="question") if views.front.question else None,
    )


def _front(views: StudyViews, pictures: dict[str, str], fronts: Sequence[Figure]) -> Html:
    panels = [element("div", class_="panel", data_figure=index) for index in range(len(fronts))]
    teacher = pictures.get(_TEACHER)
    side = element("aside", element("div", id="chosen", aria_live="polite"), aria_label="The chosen trial")
    charts = element("div", _legend(views, fronts), element("div", *panels, class_="panels"), class_="charts")
    if not views.front.points:
        return joined(nothing_yet(views), element("section", charts, side, class_="explore"))
    return joined(
        element("section", charts, side, class_="explore"),
        element("h2", f"The front, {order_in_words(views.costs)}"),
        element("p", reason) if (reason := knee_reason(views)) else None,
        curse(views),
        element("div", id="film", class_="film", role="group", aria_label="The front as pictures")
        if pictures
        else None,
        front_rows(views, pictures, teacher),
    )


def _legend(views: StudyViews, fronts: Sequence[Figure]) -> Html:
    entries = [("front", "●", NAMES["front"])]
    entries += [("front", "⊙", "on it, but tied")] if any(point.tied for point in views.front.points) else []
    entries += [("steps", "━", NAMES["steps"])]
    entries += [("knee", "◇", NAMES["knee"])] if views.front.knee is not None else []
    entries += [("teacher", "★", NAMES["teacher"])] if views.front.teacher else []
    entries += [("limit", "╌", "limit")] if views.front.limits else []
    entries += [("budget", "━", "your budget")] if len(views.extractors) < 2 else []
    items = [
        element("li", element("span", mark, class_=role, aria_hidden="true"), name) for role, mark, name in entries
    ]
    notes = ["bars: ± 1 standard error"]
    if max(len(views.complete), len(views.stopped)) > MOST_POINTS:
        notes.append(f"of each faint kind {MOST_POINTS:,} at most, evenly chosen; a budget is asked of all")
    told = [element("li", note) for note in notes]
    return element("ul", *items, *told, *_switches(views, fronts), class_="legend")


def _switches(views: StudyViews, fronts: Sequence[Figure]) -> list[Html]:
    """Legend entries of the faint trials and of other works, which show and hide them."""
    drawn = {trace["meta"] for figure in fronts for trace in figure["data"] if trace["x"]}
    entries = [
        ("dominated", "○", True),
        ("once", "□", True),
        ("stopped", "✕", False),
        ("failed", "✱", True),
        ("reference", "△", True),
    ]
    return [
        element(
            "li",
            element(
                "button",
                element("span", mark, class_=role, aria_hidden="true"),
                NAMES[role],
                type="button",
                data_role=role,
                aria_pressed="true" if is_on else "false",
            ),
        )
        for role, mark, is_on in entries
        if role in drawn
    ]


def _first_chosen(views: StudyViews) -> int | None:
    if views.front.knee is not None:
        return views.front.knee
    first = next(iter(largest_first(views)), None) or next(iter(views.complete), None)
    return first.number if first else None
