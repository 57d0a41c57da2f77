"""Which trials are measured again: rounds end with a front that is confirmed, and nobody is asked for in vain."""

from __future__ import annotations

import numpy as np
import pytest

from objectives.fid import Fid
from objectives.size import SizeMb
from search.confirmation import to_confirm, unconfirmed
from search.front import non_dominated
from search.record import Record

NOTHING = [np.nan, np.nan]
FAR = [np.inf, np.inf]


def test_the_unlucky_are_measured_again_and_the_beaten_are_not() -> None:
    first = [[10.0, 5.0], [10.9, 5.0], [11.1, 5.0], [30.0, 4.0], [99.0, 4.0]]
    stderr = [[0.5, 0.0]] * 5
    assert to_confirm(first, stderr, [NOTHING] * 5, FAR) == [0, 1, 3]
    # Who is not known to be noisy is taken at his word.
    assert to_confirm(first, [[np.nan, 0.0]] * 5, [NOTHING] * 5, FAR) == [0, 3]


def test_beyond_a_limit_nothing_is_measured_again() -> None:
    first = [[10.0, 5.0], [9.0, 7.0], [21.0, 1.0], [22.0, 0.5]]
    assert to_confirm(first, [[0.5, 0.0]] * 4, [NOTHING] * 4, [20.5, 6.0]) == [0, 2]


def test_a_confirmed_value_takes_the_place_of_the_first() -> None:
    first, stderr = [[10.0, 5.0], [15.0, 5.0]], [[0.5, 0.0]] * 2
    assert to_confirm(first, stderr, [NOTHING, NOTHING], FAR) == [0]
    assert to_confirm(first, stderr, [[13.9, np.nan], NOTHING], FAR) == []
    assert to_confirm(first, stderr, [[14.1, np.nan], NOTHING], FAR) == [1]
    assert to_confirm(first, stderr, [[14.1, np.nan], [16.0, np.nan]], FAR) == []
    assert to_confirm([], [], [], FAR) == []


@pytest.mark.parametrize("seed", range(5))
def test_rounds_end_with_a_front_that_is_confirmed(seed: int) -> None:
    generator = np.random.default_rng(seed)
    true_NM = generator.random((60, 3)) + 0.2
    noise = 0.15
    first_NM, again_NM = (true_NM + [noise, 0, 0] * generator.normal(size=(60, 3)) for _ in range(2))
    confirmed_NM = np.full((60, 3), np.nan)
    while rows := to_confirm(first_NM, np.full((60, 3), [noise, 0, 0]), confirmed_NM, [np.inf] * 3):
        # One at a time, as workers are free: what is asked for next may change with each.
        assert np.isnan(confirmed_NM[rows[0]]).all()
        confirmed_NM[rows[0], 0] = again_NM[rows[0], 0]
    counted_NM = np.where(np.isnan(confirmed_NM), first_NM, confirmed_NM)
    front = np.flatnonzero(non_dominated(counted_NM))
    assert np.isfinite(confirmed_NM[front, 0]).all()
    is_confirmed_N = np.isfinite(confirmed_NM[:, 0])
    assert len(front) <= is_confirmed_N.sum() < 55
    # Drawn from the confirmed alone it is the same front.
    alone = np.flatnonzero(is_confirmed_N)
    assert alone[non_dominated(counted_NM[alone])].tolist() == front.tolist()


def test_goals_limits_and_states_of_records_are_heeded() -> None:
    def record(number: int, fid: float, size: float, **others: object) -> Record:
        values = {"fid": fid, "size_mb": size}
        return Record(number=number, **{"state": "complete", "values": values, "stderr": {"fid": 1.0}, **others})

    records = [
        record(3, 10.0, 1.0),
        record(4, 1.0, 0.1, state="stopped"),
        record(5, 11.5, 1.0),
        record(7, 9.0, 3.0),
        record(8, 60.0, 0.5),
    ]
    objectives = {"fid": Fid(), "size_mb": SizeMb()}
    assert unconfirmed(records, objectives, {"fid": 50.0, "size_mb": 2.0}) == [3, 5]
    again = {"fid": {"value": 10.5, "stderr": 0.5, "draws": 3}}
    assert unconfirmed([record(3, 10.0, 1.0, confirmed=again), *records[1:]], objectives, {"size_mb": 2.0}) == [5, 8]
    assert unconfirmed(records[1:2], objectives, {}) == []
