"""What a comparison of simulated searches says, in words, for the terminal and the page alike."""

from __future__ import annotations

import math
from collections.abc import Callable

from search.report.number import duration, number, significant
from search.simulation.contest import NEARLY, Contest, Spread, Standing
from search.simulation.fit import Fit


def answer(contest: Contest) -> str:
    """How long with so many workers, which sampler, how many trials: one sentence."""
    winner = contest.winner
    seconds = winner.seconds_to(contest.aim).median
    measured = contest.stand_in.views.front.seconds
    soon = (
        f"would have come as far as the study in {duration(seconds)}{f', not {duration(measured)}' if measured else ''}"
        if math.isfinite(seconds)
        else f"would not have come as far as the study within {contest.trainings} full trainings"
    )
    rivals = [standing for standing in contest.standings if standing is not winner]
    is_reached = any(math.isfinite(standing.seconds_to(contest.aim).median) for standing in contest.standings)
    alone = "" if is_reached else ", though none of them comes that far"
    nearly = NEARLY * contest.highest
    needed = count(winner.trainings_to(nearly).median, contest.trainings).replace(">", "more than ")
    return (
        f"With {_workers(contest.workers)}, {winner.entrant.name} {soon}; "
        + (f"of the {len(contest.standings)} compared it is the best{alone}, and " if rivals else "")
        + f"{needed} full trainings bring it to {NEARLY:.0%} of "
        f"the best hypervolume that any reached with {contest.trainings}."
    )


def headings(contest: Contest) -> list[str]:
    """Of the columns of ``row``."""
    return [
        "sampler",
        f"hypervolume after {contest.trainings}",
        f"trainings to {number(contest.aim)}",
        f"trainings to {number(NEARLY * contest.highest)}",
        f"time to {number(contest.aim)}",
    ]


def caption(contest: Contest) -> str:
    """What the numbers of ``headings`` are."""
    seeds = len(contest.again)
    own = f"{number(contest.aim)}: {'what the study reached' if contest.stand_in.own_volume else _nearly(contest)}"
    nearly = f"; {number(NEARLY * contest.highest)}: {_nearly(contest)}" if contest.stand_in.own_volume else ""
    median = f"; median (lowest to highest) of {seeds} searches" if seeds > 1 else ""
    return f"{_workers(contest.workers)}; {own}{nearly}{median}"


def _nearly(contest: Contest) -> str:
    return f"{NEARLY:.0%} of the best hypervolume after {contest.trainings}"


def row(contest: Contest, standing: Standing) -> list[str]:
    """One entrant's figures: the median, and the ends where seeds differ."""
    most, seconds = contest.trainings, standing.seconds_to(contest.aim).median
    return [
        standing.entrant.name,
        _spread(standing.volume_at(most), significant),
        _spread(standing.trainings_to(contest.aim), lambda value: count(value, most)),
        _spread(standing.trainings_to(NEARLY * contest.highest), lambda value: count(value, most)),
        duration(seconds) if math.isfinite(seconds) else "not reached",
    ]


def ranked(contest: Contest) -> list[Standing]:
    """The best first."""
    return sorted(contest.standings, key=contest.merit)


def model(contest: Contest) -> list[str]:
    """What stands in for training, and how far it is to be trusted."""
    stand_in = contest.stand_in
    full = next(iter(stand_in.learned.values()), stand_in.seconds).trials
    lines = [
        f"Nothing was trained: a model fitted to the study's {full} full trainings stands in for it, so what it says "
        "holds for the model."
    ]
    lines += [_learned(name, fit) for name, fit in stand_in.learned.items()]
    lines += [
        f"{name} after {share:.0%} of the images: measured with {fit.trials} trials; its distance from the full "
        f"training {f'is foretold with R² {fit.r2:.2f}' if fit.process else 'does not follow from the knobs'}."
        for (name, share), fit in stand_in.changes.items()
    ]
    lines.append(_costs(contest))
    if stand_in.sketch is not None and any(standing.entrant.fits_a_process for standing in contest.standings):
        lines.append(
            f"While budget_ei looks for a candidate it sees costs off by {stand_in.sketch.error:.0%} in the median; "
            "what it chose has its own costs."
        )
    seconds = stand_in.seconds
    by = f"as the knobs tell (R² {seconds.r2:.2f})" if seconds.process else "whatever the knobs"
    off = f"{math.expm1(seconds.spread):.0%}"
    lines.append(f"A full training takes {duration(math.exp(seconds.mean))}, foretold to within {off} {by}.")
    if any(trial.state == "failed" for trial in stand_in.views.trials):
        lines.append("Some trials of the study failed; simulated ones never do.")
    return lines


def check(contest: Contest) -> str:
    """The study simulated as it was run, beside what really happened."""
    stand_in = contest.stand_in
    volume = _spread(Spread.of(course.volumes[-1] if course.volumes else 0.0 for course in contest.again), significant)
    time = _spread(Spread.of(course.seconds[-1] if course.seconds else math.inf for course in contest.again), duration)
    measured = stand_in.views.front.seconds
    return (
        f"Check: the study again, {contest.own.name}, {_workers(stand_in.workers)}, "
        f"{number(stand_in.own_trainings)} full trainings: simulated hypervolume {volume} in {time}; "
        f"measured {significant(stand_in.own_volume)}{f' in {duration(measured)}' if measured else ''}."
    )


def count(value: float, most: int) -> str:
    """Full trainings: a whole number, as parts of one are for no one to order."""
    return str(math.ceil(value - 1e-9)) if math.isfinite(value) else f">{most}"


def _learned(name: str, fit: Fit) -> str:
    off = f"{math.expm1(fit.spread):.0%}" if fit.is_log else significant(fit.spread)
    noise = f"{math.expm1(fit.noise):.0%}" if fit.is_log else significant(fit.noise)
    if fit.process is None:
        return (
            f"{name}: of trials that are left out the knobs foretell nothing (R² {fit.r2:.2f}), so every candidate has "
            f"the mean give or take {off}. The results mean little; more trials would help."
        )
    return (
        f"{name}: trials that are left out are foretold to within {off} (R² {fit.r2:.2f}); noise of {noise} is added."
    )


def _costs(contest: Contest) -> str:
    stand_in = contest.stand_in
    scaled = [
        f"{name} times {factor:.2f}, as the study's device measured"
        for name, factor in stand_in.costs.corrections.items()
        if abs(factor - 1) > 0.01
    ]
    names = ", ".join(stand_in.costs.corrections) or "nothing"
    return f"Known before training, from the architecture: {names}{f' ({scaled[0]})' if scaled else ''}."


def _spread(spread: Spread, text: Callable[[float], str]) -> str:
    median, low, high = (text(value) for value in (spread.median, spread.low, spread.high))
    if low == high:
        return median
    return f"{median} ({low} to {high})" if math.isfinite(spread.high) else f"{median} (from {low})"


def _workers(workers: int) -> str:
    return "1 worker" if workers == 1 else f"{workers} workers"
