"""``front.json``: confirmed values, who may be a point of the front, ties and the winner's curse."""

import json
import math

import numpy as np
import pytest

from search.front import hypervolume
from tests.search.study_folder import LIMITS, NAMES, front_of, trial


def confirmed(value, stderr=0.1):
    return {"fid": {"value": value, "stderr": stderr, "draws": 4}}


def front(records):
    found = front_of("study", records)
    json.dumps(found, allow_nan=False)
    return found


def points(records):
    return {point["trial"]: point for point in front(records)["points"]}


def test_until_a_trial_is_confirmed_the_first_values_count():
    records = [trial(0, fid=25.0), trial(1, fid=26.0, size_mb=0.4), trial(2, fid=27.0), trial(3, fid=70.0)]
    found = points(records)
    assert list(found) == [0, 1]
    assert (found[0]["values"]["fid"], found[0]["confirmed"], found[0]["first"]) == (25.0, False, {})
    assert front(records)["winners_curse"] is None


def test_an_unconfirmed_value_never_beats_a_confirmed_one():
    records = [trial(0, fid=25.0, confirmed=confirmed(26.0)), trial(1, fid=20.0, size_mb=0.1)]
    found = points(records)
    assert list(found) == [0]
    assert (found[0]["values"]["fid"], found[0]["stderr"]["fid"]) == (26.0, 0.1)
    assert (found[0]["values"]["size_mb"], found[0]["stderr"]["latency_ms"]) == (0.5, 0.1)
    assert (found[0]["confirmed"], found[0]["first"]) == (True, {"fid": 25.0})


def test_a_lucky_trial_falls_off_the_front_and_out_of_the_limits():
    records = [
        trial(0, fid=25.0, confirmed=confirmed(29.0)),
        trial(1, fid=26.0, confirmed=confirmed(26.0)),
        trial(2, fid=58.0, size_mb=0.1, confirmed=confirmed(61.0)),
    ]
    found = front(records)
    assert [point["trial"] for point in found["points"]] == [1]
    assert found["knee"] == 1
    # Those that fell are the ones that luck had put there: they count.
    assert found["winners_curse"] == pytest.approx(np.median([29 / 25, 26 / 26, 61 / 58]), abs=1e-4)


def test_hypervolume_is_that_of_the_values_that_count():
    records = [trial(0, fid=25.0, confirmed=confirmed(30.0)), trial(1, fid=20.0)]
    relative = [[{**records[0]["values"], "fid": 30.0}[name] / LIMITS[name] for name in NAMES]]
    assert front(records)["hypervolume"] == pytest.approx(hypervolume(relative, np.ones(4)), abs=1e-6)


def test_ties_are_judged_by_confirmed_errors_and_name_trials_off_the_front():
    # Equal costs: 1 and 2 are dominated by 0, and 1 cannot be told apart from it.
    values = {0: 30.0, 1: 30.2, 2: 30.5}
    records = [trial(number, fid=value, confirmed=confirmed(value)) for number, value in values.items()]
    assert {number: point["tied"] for number, point in points(records).items()} == {0: [1]}
    assert 2 * math.hypot(0.1, 0.1) < 0.5 < 2 * math.hypot(0.5, 0.5)  # the first errors would tie 2 as well
    unconfirmed = [{**record, "confirmed": {}} for record in records]
    assert points(unconfirmed)[0]["tied"] == [1, 2]


def test_the_unconfirmed_are_tied_with_nobody():
    records = [trial(0, fid=30.0, confirmed=confirmed(30.0)), trial(1, fid=30.0, size_mb=0.4)]
    assert points(records)[0]["tied"] == []


@pytest.mark.parametrize("error", [None, math.nan, math.inf])
def test_an_error_that_is_no_number_counts_as_none(error):
    records = [trial(number, fid=30.0 + 1.2 * number, size_mb=0.5 - 0.1 * number) for number in range(2)]
    assert front_of("study", records)["points"][0]["tied"] == [1]
    records[0]["stderr"] = {"fid": error}
    assert front_of("study", records)["points"][0]["tied"] == []


@pytest.mark.parametrize("records", [[], [trial(0, state="failed", values={}, stderr={})], [trial(0, fid=90.0)]])
def test_without_a_point_everything_is_empty(records):
    found = front(records)
    assert (found["points"], found["hypervolume"], found["knee"], found["winners_curse"]) == ([], 0.0, None, None)
    assert [row["images"] for row in found["rank_fidelity"]] == [8_000]


def test_stopped_trials_are_no_points_but_tell_of_rank_fidelity():
    shares = [(40, 30), (44, 29), (48, 36), (46, 33)]
    records = [
        trial(number, fid=final, rungs=[{"images": 8_000, "values": {"fid": low}}])
        for number, (low, final) in enumerate(shares)
    ]
    stopped = trial(4, fid=10.0, size_mb=0.01, state="stopped", rungs=[{"images": 8_000, "values": {"fid": 150.0}}])
    (alone,), (row,) = front(records)["rank_fidelity"], front([*records, stopped])["rank_fidelity"]
    assert 4 not in points([*records, stopped])
    assert (row["spearman"], row["within"]["pairs"]) == (0.8, 4)
    assert row["corrected"] > alone["corrected"] == 0.8
