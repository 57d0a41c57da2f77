"""Simulated searches of one study side by side: how far each sampler comes, with how many trainings and how soon."""

from __future__ import annotations

import math
from bisect import bisect_left, bisect_right
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

from search.simulation.entrant import Entrant
from search.simulation.stand_in import StandIn
from search.simulation.virtual_time import SimulatedResult, simulate

NEARLY = 0.95
"""Of the best hypervolume: from here on a search gains little."""
OFTEN_ASKED = (1, 4, 16, 64)
_PART = 0.2
"""About the part of a search after which it has come as far as the study."""


@dataclass(frozen=True, kw_only=True)
class Course:
    """How one simulated search went: a row for each full training that ended.

    Args:
        spent: Full trainings until then, parts included.
        seconds: Virtual time until then.
        volumes: Hypervolume from then on.
    """

    spent: list[float]
    seconds: list[float]
    volumes: list[float]

    def volume_at(self, spent: float) -> float:
        """The hypervolume once so many full trainings were spent."""
        reached = bisect_right(self.spent, spent)
        return self.volumes[reached - 1] if reached else 0.0

    def trainings_to(self, volume: float) -> float:
        """Full trainings until ``volume`` was reached; infinite where it was not."""
        reached = bisect_left(self.volumes, volume)
        return self.spent[reached] if reached < len(self.spent) else math.inf

    def seconds_to(self, volume: float) -> float:
        """The same in virtual time."""
        reached = bisect_left(self.volumes, volume)
        return self.seconds[reached] if reached < len(self.seconds) else math.inf


@dataclass(frozen=True, kw_only=True)
class Spread:
    """The median of several seeds and their ends; infinite where it was not reached."""

    median: float
    low: float
    high: float

    @classmethod
    def of(cls, values: Iterable[float]) -> Spread:
        """Of at least one value."""
        ordered = sorted(values)
        # The upper one of two: a mean with what was never reached would be no number.
        return cls(median=ordered[len(ordered) // 2], low=ordered[0], high=ordered[-1])


@dataclass(frozen=True, kw_only=True)
class Standing:
    """One entrant's courses.

    Args:
        courses: With the asked number of workers, one per seed.
        seconds: Number of workers -> virtual time to the aim, one per seed.
    """

    entrant: Entrant
    courses: Sequence[Course]
    seconds: dict[int, list[float]]

    def volume_at(self, spent: float) -> Spread:
        """The hypervolume once so many full trainings were spent."""
        return Spread.of(course.volume_at(spent) for course in self.courses)

    def trainings_to(self, volume: float) -> Spread:
        """Full trainings until ``volume``."""
        return Spread.of(course.trainings_to(volume) for course in self.courses)

    def seconds_to(self, volume: float) -> Spread:
        """Virtual time until ``volume``, with the asked number of workers."""
        return Spread.of(course.seconds_to(volume) for course in self.courses)


@dataclass(frozen=True, kw_only=True)
class Contest:
    """All that was simulated.

    Args:
        aim: The hypervolume that is timed: the study's own, or where that is 0 nearly the best.
        own: The study as it was run.
        again: Its courses, one per seed.
    """

    stand_in: StandIn
    workers: int
    trainings: int
    aim: float
    standings: Sequence[Standing]
    own: Entrant
    again: Sequence[Course]

    @property
    def highest(self) -> float:
        """The best median hypervolume of all entrants."""
        return max(standing.volume_at(self.trainings).median for standing in self.standings)

    @property
    def winner(self) -> Standing:
        """The best by ``merit``."""
        return min(self.standings, key=self.merit)

    def merit(self, standing: Standing) -> tuple[float, float]:
        """Lowest for who is soonest, counted in trainings, at nearly the best; then for who comes furthest."""
        return (
            standing.trainings_to(NEARLY * self.highest).median,
            -standing.volume_at(self.trainings).median,
        )


def hold(
    stand_in: StandIn,
    entrants: Sequence[Entrant],
    own: Entrant,
    *,
    workers: int,
    trainings: int,
    seeds: int,
    advance: Callable[[float], None],
) -> Contest:
    """Simulate all; ``advance`` is told which part of the work is done.

    Args:
        own: The study as it was run.
        workers: Trainings at a time.
        trainings: What each search may spend.
        seeds: Searches of each entrant, each with luck of its own that it shares with the others' searches.
    """
    others = [count for count in sorted({*OFTEN_ASKED, workers}) if count != workers]
    whole = seeds * (1 + sum(_weight(each) * (1 + _PART * len(others)) for each in entrants))
    track = _Track(stand_in=stand_in, advance=lambda done: advance(done / whole))
    again = [
        track.run(own, workers=stand_in.workers, budget=max(1, round(stand_in.own_trainings)), seed=seed, weight=1)
        for seed in range(seeds)
    ]
    courses = {
        entrant.name: [
            track.run(entrant, workers=workers, budget=trainings, seed=seed, weight=_weight(entrant))
            for seed in range(seeds)
        ]
        for entrant in entrants
    }
    best = max(Spread.of(course.volume_at(trainings) for course in each).median for each in courses.values())
    aim = stand_in.own_volume or NEARLY * best

    def timed(entrant: Entrant, count: int) -> list[float]:
        if count == workers:
            return [course.seconds_to(aim) for course in courses[entrant.name]]
        weight = _PART * _weight(entrant)
        return [
            track.run(entrant, workers=count, budget=trainings, seed=seed, weight=weight, until_volume=aim).seconds_to(
                aim
            )
            for seed in range(seeds)
        ]

    standings = [
        Standing(
            entrant=entrant,
            courses=courses[entrant.name],
            seconds={count: timed(entrant, count) for count in sorted([*others, workers])},
        )
        for entrant in entrants
    ]
    return Contest(
        stand_in=stand_in,
        workers=workers,
        trainings=trainings,
        aim=aim,
        standings=standings,
        own=own,
        again=again,
    )


@dataclass(kw_only=True)
class _Track:
    """Runs one search after the other and tells the weight of what is done."""

    stand_in: StandIn
    advance: Callable[[float], None]
    done: float = 0.0

    def run(
        self, entrant: Entrant, *, workers: int, budget: int, seed: int, weight: float, until_volume: float = math.inf
    ) -> Course:
        stand_in = self.stand_in
        course = Course(spent=[], seconds=[], volumes=[])
        points: list[dict[str, float]] = []

        def note(result: SimulatedResult) -> bool:
            self.advance(self.done + weight * result.spent / budget)
            if result.share >= 1:
                points.append(result.values)
                course.spent.append(result.spent)
                course.seconds.append(result.finished_at)
                course.volumes.append(stand_in.volume(points))
            return bool(course.volumes) and course.volumes[-1] >= until_volume

        simulate(
            stand_in.distributions,
            stand_in.trained(seed=seed),
            costs=stand_in.known,
            limits=stand_in.limits,
            sampler=entrant.sampler(stand_in, seed=seed),
            halving=entrant.rule(stand_in.shares),
            workers=workers,
            budget=budget,
            seconds=stand_in.duration(seed=seed),
            seed=seed,
            until=note,
            ask=stand_in.ask,
        )
        self.done += weight
        self.advance(self.done)
        return course


def _weight(entrant: Entrant) -> float:
    """About how long a search takes beside that of a sampler that fits nothing."""
    return (20.0 if entrant.halving else 8.0) if entrant.fits_a_process else 1.0
