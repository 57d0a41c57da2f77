"""What was learned of knobs, in sentences: which matter, how, and how far to believe it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from search.insight.effects import Effect, effect
from search.insight.importance import Importance, importances
from search.insight.study_model import StudyModel
from search.report.axes import title_of
from search.report.candidate import answer
from search.report.number import number

_TOLD = 3
"""Knobs that have a sentence of their own."""
_LEAST = 0.05
"""Of the variance: what matters less has none."""
_NEARLY = 0.1
"""Of the way from best to worst: values this near to the best are as good."""
_LONGEST = 32


def knob_sentences(model: StudyModel) -> Iterator[str]:
    """The knobs that matter most, the rest, and how well the process foretells."""
    found = importances(model)
    name = title_of(model.views.learned)
    if not found:
        yield (
            f"Which knobs matter cannot be said yet: from the others' results, {name} of a trial is foretold no better "
            f"than by the mean of all ({model.learned.trials} full trainings)."
        )
        return
    told = [each for each in found[:_TOLD] if each.share >= _LEAST] or [found[0]]
    for place, each in enumerate(told):
        ranked = (f"{each.knob} matters most", f"{each.knob} comes next", f"Then comes {each.knob}")[place]
        yield f"{ranked}: it has a hand in {interval(each)} of how {name} varies. {how(model, each.knob)}"
    if rest := found[len(told) :]:
        those = f"Of the other {len(rest)} knobs none" if len(rest) > 1 else f"The last knob, {rest[0].knob},"
        yield f"{those} has a hand in {'more than ' if len(rest) > 1 else ''}{percent(rest[0].share)}."
    yield trust(model)


def trust(model: StudyModel) -> str:
    """How far to believe the process."""
    shorter = 0 if model.process is None else int((model.process.shares_N < 1).sum())
    others = f" and {shorter} measurements of shorter ones" if shorter else ""
    return (
        f"Said by a process fitted to {model.learned.trials} full trainings{others}. A trial left out is foretold with "
        f"R² {model.learned.r2:.2f} (1: exactly, 0: no better than by the mean)."
    )


def how(model: StudyModel, knob: str) -> str:
    """What happens to the learned objective along a knob, the others drawn at random."""
    found, name = effect(model, knob), title_of(model.views.learned)
    costs = [model.sign * value for value in found.expected]
    best, worst = costs.index(min(costs)), costs.index(max(costs))
    if len(costs) == 1:
        return f"It has one value only, {label(found.values[0])}."
    if found.is_choice:
        return f"{name} is best {_at(found, best)}, worst {_at(found, worst)}."
    first, last = _good_part(costs)
    if first > 0 and last < len(costs) - 1:
        inner = f"between {_value(found, first)} and {_value(found, last)}: {band(found, best)}"
        return f"{name} is best {inner}, {_at(found, 0)}, {_at(found, -1)}."
    side = f"beyond {_value(found, last)}" if first == 0 else f"below {_value(found, first)}"
    return f"{name} gets worse {side}, {_at(found, best)}, {_at(found, worst)}."


def interval(each: Importance) -> str:
    """The share with 90 % of what is held possible."""
    return f"{percent(each.share)} ({100 * each.low:.0f} to {percent(each.high)})"


def percent(share: float) -> str:
    """A part of 1 in whole percent.

    >>> percent(0.694), percent(0.002)
    ('69 %', '0 %')
    """
    return f"{100 * share:.0f} %"


def band(found: Effect, place: int) -> str:
    """What is expected at one value, with its 90 %."""
    values = (found.expected[place], found.low[place], found.high[place])
    return "{} ({} to {})".format(*(number(value, digits=2) for value in values))


def label(value: object) -> str:
    """A knob's value, never long."""
    text = answer(value)
    return text if len(text) <= _LONGEST else f"{text[: _LONGEST - 1]}…"


def _at(found: Effect, place: int) -> str:
    return f"at {_value(found, place)}: {band(found, place)}"


def _value(found: Effect, place: int) -> str:
    return label(found.values[place])


def _good_part(costs: Sequence[float]) -> tuple[int, int]:
    """The ends of the values around the best that are nearly as good."""
    bound = min(costs) + _NEARLY * (max(costs) - min(costs))
    first = last = costs.index(min(costs))
    while first > 0 and costs[first - 1] <= bound:
        first -= 1
    while last < len(costs) - 1 and costs[last + 1] <= bound:
        last += 1
    return first, last
