"""The budget panel: a slider for each objective; the page's script answers as ``search.best`` does."""

from __future__ import annotations

import json
from decimal import ROUND_CEILING, ROUND_FLOOR, Decimal

from search.report.axes import title_of
from search.report.markup import Html, element
from search.views import ObjectiveView, StudyViews

_MOST_STOPS = 160


def budget_panel(views: StudyViews) -> Html | None:
    """The sliders and room for the answer; None where ``search.best`` would refuse as well."""
    if not views.comparable or len(views.extractors) > 1:
        return None
    sliders = [_slider(views, objective, place) for place, objective in enumerate([views.learned, *views.costs])]
    return element(
        "section",
        element("h2", "Your budget", id="budget-title"),
        element(
            "div",
            element("div", *sliders, class_="sliders"),
            element("div", id="answer", aria_live="polite"),
            class_="asking",
        ),
        id="budget",
        aria_labelledby="budget-title",
    )


def stops(views: StudyViews, objective: ObjectiveView) -> list[str]:
    """Bounds from the strictest that a trial meets to the one that all meet, each let one more in.

    They are rounded outwards to three digits, so that they read well and still admit what they stand for.
    """
    is_max = objective.goal == "max"
    values = sorted({trial.value(objective.name) for trial in views.comparable}, reverse=is_max)
    every = max(1, -(-len(values) // _MOST_STOPS))
    chosen = values[::every] + values[-1:]
    return list(dict.fromkeys(_outwards(value, down=is_max) for value in chosen))


def _slider(views: StudyViews, objective: ObjectiveView, place: int) -> Html:
    bounds = stops(views, objective)
    side = "at least" if objective.goal == "max" else "at most"
    name = f"{title_of(objective)}, {side}"
    unit = f" in {objective.unit}" if objective.unit else ""
    slider = element(
        "input",
        type="range",
        id=f"budget-{place}",
        min=0,
        max=len(bounds),
        value=len(bounds),
        aria_valuetext="no limit",
        data_stops=json.dumps(bounds),
    )
    # Of type "number" a browser would drop another language's decimal comma without a word.
    typed = element(
        "input",
        type="text",
        inputmode="decimal",
        placeholder="no limit",
        aria_label=f"{name}{unit}",
        autocomplete="off",
    )
    return element(
        "div",
        element("label", name, for_=f"budget-{place}"),
        slider,
        element("span", typed, element("span", objective.unit, class_="unit")),
        class_="slider",
    )


def _outwards(value: float, *, down: bool) -> str:
    """
    >>> _outwards(0.36214, down=False), _outwards(1234.5, down=True), _outwards(26.0, down=False)
    ('0.363', '1230', '26')
    """
    exact = Decimal(value)
    digit = Decimal(1).scaleb(exact.adjusted() - 2)
    rounded = exact.quantize(digit, rounding=ROUND_FLOOR if down else ROUND_CEILING)
    text = f"{rounded:f}"
    return text.rstrip("0").rstrip(".") if "." in text else text
