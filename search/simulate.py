"""``python -m search.simulate``: a kept study searched again in virtual time, by other samplers and more workers.

``simulate`` does the same for any function in place of training.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

from search.simulation.virtual_time import SimulatedResult, random_candidates, simulate
from trainers.command import command
from trainers.errors import UserError

__all__ = ["SimulatedResult", "random_candidates", "simulate"]

_TRAININGS = (60, 120)
"""How many full trainings each search may spend, at least and at most, where that is not asked for."""
_TIMES_THE_STUDY = 3
_MOST_WORKERS = 100_000
_MOST_TRIALS = 10_000
_MOST_SEEDS = 1_000
"""More would only be waited for, for days."""


def main(
    study: Path,
    *,
    workers: int = 16,
    trials: int | None = None,
    samplers: str | None = None,
    seeds: int = 3,
    json: Annotated[bool, Parameter(negative=())] = False,
    out: Path | None = None,
) -> int:
    """How long a study would have taken with more workers, which sampler suits it, and how many trials it needs.

    Nothing is trained: a model fitted to the study's trials stands in for it, and the answer says how good that is.

    Example: `python -m search.simulate studies/runs/pruning_ratios --workers 64 --trials 200`

    Args:
        study: Folder of a study.
        workers: Trials at a time, at most 100,000.
        trials: Full trainings' worth that each search may spend; three times the study's, 60 to 120, when left out.
        samplers: To compare, such as budget_ei,tpe+halving,random. A name that ends in +halving stops weak trials
            early; budget_ei is shown with and without. budget_ei, tpe, nsga2 and random when left out.
        seeds: Searches of each sampler.
        json: Print one JSON object.
        out: The page with the figures; simulation.html in the study's folder when left out.
    """
    for option, value, most in (
        ("--workers", workers, _MOST_WORKERS),
        ("--trials", trials, _MOST_TRIALS),
        ("--seeds", seeds, _MOST_SEEDS),
    ):
        if value is not None and not 1 <= value <= most:
            allowed = "at least 1" if value < 1 else f"at most {most:,}"
            raise UserError(f"{option} must be {allowed}, got {value}.")
    import sys
    from json import dumps

    from rich.console import Console

    from search.simulation.contest import hold
    from search.simulation.entrant import entrants, names_in, own_entrant
    from search.simulation.from_study import stand_in
    from search.simulation.page import PAGE_FILE, write_page
    from search.simulation.progress import progress
    from search.simulation.telling import as_json, show
    from search.views import StudyViews

    console = Console(stderr=json, markup=False, emoji=False)
    names = names_in(samplers)
    found = stand_in(StudyViews.open(study))
    compared = entrants(names, found.space, found.shares)
    least, most = _TRAININGS
    with progress(console, "searching in virtual time") as advance:
        contest = hold(
            found,
            compared,
            own_entrant(found.views, found.space, found.shares),
            workers=workers,
            trainings=trials or min(max(least, round(_TIMES_THE_STUDY * found.own_trainings)), most),
            seeds=seeds,
            advance=advance,
        )
    page = write_page(contest, out or study / PAGE_FILE)
    if json:
        sys.stdout.write(dumps(as_json(contest), indent=2, ensure_ascii=False, allow_nan=False) + "\n")
    else:
        show(contest, console)
    console.print(f"figures: {page}", soft_wrap=True, markup=False, highlight=False)
    return 0


if __name__ == "__main__":
    command(main, name="python -m search.simulate")
