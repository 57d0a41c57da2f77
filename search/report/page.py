"""``report.html``: a study on one page that opens offline, with plotly's script and all pictures inside."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from search.report.cards import cards, strip_image
from search.report.document import document
from search.report.embedded import embedded_strips
from search.report.figure import Figure, figures
from search.report.foretell import foretelling, foretelling_figure
from search.report.markup import Html, element, joined, json_element
from search.report.palette import DARK, LIGHT
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
from search.report.table import largest_first
from search.views import StudyViews
from trainers.atomic import write_atomically
from trainers.errors import UserError

REPORT_FILE = "report.html"
_TEACHER = "teacher"


def write_report(views: StudyViews) -> Path:
    """Write the page into the study's folder, whole or not at all, and give back where it lies."""
    path = views.folder / REPORT_FILE
    try:
        write_atomically(path, page(views).encode())
    except OSError as error:
        raise UserError(
            f"{path} cannot be written: {error.strerror}. The report lies in the folder of its study. "
            "Make the folder writable, or free some disk space."
        ) from error
    return path


def page(views: StudyViews) -> str:
    """The page as text."""
    points = largest_first(views)
    on_front = {point.trial for point in points}
    others = [trial.path for trial in views.complete if trial.number not in on_front]
    pictures = embedded_strips(views, [_TEACHER, *[point.path for point in points], *others])
    has_figures = bool(views.complete)
    fronts = figures(views) if has_figures else []
    foretold = foretelling_figure(views)
    return document(
        _header(views),
        warnings(views),
        state(views),
        _front(views, pictures, fronts) if has_figures else nothing_yet(views),
        foretelling(views, figure=len(fronts)),
        *[section for section in (stopped_early(views), troubles(views), shortfalls(views)) if section],
        cards(views, pictures),
        json_element(
            "figures", {"figures": [*fronts, *([foretold] if foretold else [])], "chosen": _first_chosen(views)}
        ),
        title=views.front.study,
        light=LIGHT,
        dark=DARK,
        runs=has_figures,
    )


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
    side = element(
        "aside",
        element("div", id="chosen", aria_live="polite"),
        element("div", element("h4", "Teacher, same noise"), strip_image("the teacher", teacher)) if teacher else None,
        aria_label="The chosen trial",
    )
    charts = element("div", _legend(views, fronts), element("div", *panels, class_="panels"), class_="charts")
    if not views.front.points:
        return joined(nothing_yet(views), element("section", charts, side, class_="explore"))
    return joined(
        element("section", charts, side, class_="explore"),
        element("h2", "The front, from the largest model to the smallest"),
        curse(views),
        front_rows(views, pictures, teacher),
    )


def _legend(views: StudyViews, fronts: Sequence[Figure]) -> Html:
    entries = [("front", "●", "on the front")]
    entries += [("front", "⊙", "on it, but tied")] if any(point.tied for point in views.front.points) else []
    entries += [("steps", "━", "best for this cost alone")]
    entries += [("knee", "◇", "knee")] if views.front.knee is not None else []
    entries += [("teacher", "★", "teacher")] if views.front.teacher else []
    entries += [("limit", "╌", "limit")] if views.front.limits else []
    items = [
        element("li", element("span", mark, class_=role, aria_hidden="true"), name) for role, mark, name in entries
    ]
    note = element("li", "bars: ± 1 standard error")
    return element("ul", *items, note, *_switches(views, fronts), class_="legend")


def _switches(views: StudyViews, fronts: Sequence[Figure]) -> list[Html]:
    """Legend entries of the faint trials, which show and hide them."""
    drawn = {trace["meta"] for figure in fronts for trace in figure["data"] if trace["x"]}
    entries = [
        ("dominated", "○", "dominated", True),
        ("once", "□", "measured once, so not on the front", True),
        ("stopped", "✕", "stopped early, at what they measured then", False),
    ]
    return [
        element(
            "li",
            element(
                "button",
                element("span", mark, class_=role, aria_hidden="true"),
                name,
                type="button",
                data_role=role,
                aria_pressed="true" if is_on else "false",
            ),
        )
        for role, mark, name, is_on in entries
        if role in drawn
    ]


def _first_chosen(views: StudyViews) -> int | None:
    if views.front.knee is not None:
        return views.front.knee
    first = next(iter(largest_first(views)), None) or next(iter(views.complete), None)
    return first.number if first else None
