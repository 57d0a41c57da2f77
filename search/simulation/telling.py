"""A comparison of simulated searches in the terminal, and as plain data for other programs."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

from search.simulation.contest import NEARLY, Contest, Spread
from search.simulation.wording import answer, caption, check, headings, model, ranked, row

if TYPE_CHECKING:
    from rich.console import Console


def show(contest: Contest, console: Console) -> None:
    """What stands in for training, the table, and the answer."""
    from rich.box import SIMPLE_HEAD
    from rich.table import Table
    from rich.text import Text

    for line in (*model(contest), check(contest)):
        console.print(Text(line))
    table = Table(box=SIMPLE_HEAD, pad_edge=False, padding=(0, 1, 0, 0))
    for place, heading in enumerate(headings(contest)):
        table.add_column(heading, justify="right" if place else "left", no_wrap=place < 2)
    for standing in ranked(contest):
        table.add_row(*[Text(cell) for cell in row(contest, standing)])
    table.caption, table.caption_justify = caption(contest), "left"
    console.print(table)
    console.print(Text(answer(contest)), style="bold")


def as_json(contest: Contest) -> dict[str, Any]:
    """Plain data; what was not reached is null, times are in seconds."""
    stand_in = contest.stand_in
    return {
        "study": stand_in.views.front.study,
        "answer": answer(contest),
        "workers": contest.workers,
        "trainings": contest.trainings,
        "seeds": len(contest.again),
        "model": {
            name: {
                "trainings": fit.trials,
                "r2": fit.r2,
                "error": math.expm1(fit.spread) if fit.is_log else fit.spread,
                "is_relative": fit.is_log,
            }
            for name, fit in stand_in.learned.items()
        },
        "measured": {
            "hypervolume": stand_in.own_volume,
            "seconds": stand_in.views.front.seconds,
            "workers": stand_in.workers,
            "trainings": stand_in.own_trainings,
        },
        "measured_again": {
            "sampler": contest.own.name,
            "hypervolume": [course.volumes[-1] if course.volumes else 0.0 for course in contest.again],
            "seconds": [course.seconds[-1] if course.seconds else None for course in contest.again],
        },
        "best": contest.winner.entrant.name,
        "samplers": [
            {
                "sampler": standing.entrant.name,
                "hypervolume": _plain(standing.volume_at(contest.trainings)),
                "trainings_to_study": _plain(standing.trainings_to(contest.aim)),
                "trainings_to_nearly_best": _plain(standing.trainings_to(NEARLY * contest.highest)),
                "seconds_to_study": {
                    str(count): _plain(Spread.of(seconds)) for count, seconds in standing.seconds.items()
                },
            }
            for standing in ranked(contest)
        ],
    }


def _plain(spread: Spread) -> dict[str, float | None]:
    found = {"median": spread.median, "low": spread.low, "high": spread.high}
    return {name: value if math.isfinite(value) else None for name, value in found.items()}
