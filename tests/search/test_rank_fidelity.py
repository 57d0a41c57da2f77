"""Rank fidelity: the correlation against scipy's, its interval and correction by drawing, and what a study stores."""

import json
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import spearmanr

from search.rank_fidelity import (
    RungFidelity,
    agreement,
    corrected_correlation,
    described,
    rank_fidelity,
    regret,
    spearman,
)
from search.record import Record
from search.views import StudyViews
from tests.search.study_folder import trial, write_views

PAIRS = st.lists(st.tuples(st.integers(0, 5), st.integers(0, 5)), min_size=2, max_size=12)
RUNGS = (2_000, 6_000, 18_000)


def correlated(generator, count, rho):
    """Pairs of a positive value at a share and a final one, with this correlation of their logarithms."""
    low = generator.normal(size=count)
    final = rho * low + math.sqrt(1 - rho**2) * generator.normal(size=count)
    return np.exp(3.5 + 0.6 * low), np.exp(3 + 0.5 * final)


def record(number, low, final=None, *, state="complete", **values):
    """A trial with its FID after 2,000 images and at the end."""
    rungs = [{"images": 2_000, "values": {"fid": low}}]
    return Record(number=number, state=state, values={"fid": low if final is None else final, **values}, rungs=rungs)


def first_row(records, *, goal="min", objective="fid", within=()):
    return rank_fidelity(records, objective=objective, goal=goal, rungs=RUNGS, within=within)[0]


@settings(deadline=None)
@given(PAIRS)
def test_correlation_is_scipys_with_equal_values_too(pairs):
    low, final = np.array(pairs, float).T
    if np.ptp(low) == 0 or np.ptp(final) == 0:
        assert spearman(low, final) is None
    else:
        assert spearman(low, final) == pytest.approx(spearmanr(low, final).statistic, abs=1e-12)


@pytest.mark.parametrize(("rho", "pairs"), [(0.0, 8), (0.6, 14), (0.9, 25)])
def test_interval_covers_the_truth_about_as_often_as_it_says(rho, pairs):
    generator = np.random.default_rng(4)
    truth = 6 / math.pi * math.asin(rho / 2)
    found = [agreement(*correlated(generator, pairs, rho)) for _ in range(1_500)]
    covered = np.mean([row.low <= truth <= row.high for row in found])
    # Three standard errors of the share are 0.017; the interval is an approximation, on the wide side for few pairs.
    assert 0.925 < covered < 0.985


def test_four_pairs_in_perfect_order_are_no_certainty():
    found = agreement([1, 2, 3, 4], [10, 20, 30, 40])
    assert (found.spearman, found.high) == (1.0, 1.0)
    assert found.low < 0


def test_three_pairs_have_no_interval():
    found = agreement([1, 2, 3], [10, 30, 20])
    assert (found.pairs, found.spearman, found.low, found.high) == (3, 0.5, None, None)


def test_correction_gives_back_what_choosing_took_away():
    low, final = correlated(np.random.default_rng(1), 20_000, 0.7)
    truth = spearman(low, final)
    chosen = low < np.quantile(low, 0.4)
    assert spearman(low[chosen], final[chosen]) < truth - 0.15
    assert corrected_correlation(low[chosen], final[chosen], low) == pytest.approx(truth, abs=0.05)


def test_a_sample_that_is_not_narrower_is_left_as_it_is():
    low, final = correlated(np.random.default_rng(2), 30, 0.5)
    assert corrected_correlation(low, final, low) == pytest.approx(spearman(low, final))
    middle = np.sort(low)[10:20]
    assert corrected_correlation(low, final, middle) == pytest.approx(spearman(low, final))


@pytest.mark.parametrize(
    ("low", "final", "expected"),
    [
        ([50.0, 40.0, 60.0], [30.0, 33.0, 45.0], 0.1),
        ([50.0, 40.0, 60.0], [33.0, 30.0, 45.0], 0.0),
        ([-2.0, -3.0], [-5.0, -4.0], 0.25),  # larger is better, turned: 4 was picked where 5 could be had
        ([2.0, 3.0], [1.0, -1.0], None),
        ([], [], None),
    ],
)
def test_regret_of_picking_the_best_at_the_share(low, final, expected):
    assert regret(low, final) == (expected if expected is None else pytest.approx(expected))


def test_stopped_trials_widen_the_correction_and_nothing_else():
    ended = [record(number, low, final) for number, (low, final) in enumerate([(40, 30), (44, 29), (48, 36), (46, 33)])]
    stopped = [record(number, low, state="stopped") for number, low in enumerate([90, 120, 200], start=4)]
    alone, all_of_them = first_row(ended), first_row([*ended, *stopped])
    assert alone["spearman"] == all_of_them["spearman"] == 0.8
    assert all_of_them["pairs"] == 4
    assert alone["corrected"] == 0.8 < all_of_them["corrected"] < 1
    assert all_of_them["regret"] == pytest.approx(30 / 29 - 1, abs=1e-4)


def test_an_objective_to_maximise_is_its_mirror_image():
    pairs = [(40, 30), (44, 29), (48, 36), (46, 33), (60, 31)]
    lower = first_row([record(number, low, final) for number, (low, final) in enumerate(pairs)])
    higher = first_row(
        [record(number, 900 / low, 900 / final) for number, (low, final) in enumerate(pairs)], goal="max"
    )
    assert higher == lower


def test_limits_narrow_who_is_counted():
    pairs = [(40, 30), (44, 29), (48, 36), (46, 33), (300, 200)]
    row = first_row([record(number, low, final) for number, (low, final) in enumerate(pairs)], within={0, 1, 2, 3})
    assert (row["pairs"], row["within"]["pairs"]) == (5, 4)
    assert row["spearman"] == 0.9 > row["within"]["spearman"] == 0.8


@pytest.mark.parametrize("bad", [math.nan, math.inf])
def test_values_that_are_no_number_do_not_count(bad):
    row = first_row([record(0, 40, 30), record(1, bad, 31), record(2, 60, 35)])
    assert row["pairs"] == 2
    json.dumps(row, allow_nan=False)


def test_there_is_a_row_for_each_share_and_none_without_shares():
    rows = rank_fidelity([record(0, 40, 30)], objective="fid", goal="min", rungs=RUNGS, within=())
    assert [(row["images"], row["pairs"]) for row in rows] == [(2_000, 1), (6_000, 0)]
    assert rows[0]["share"] == pytest.approx(1 / 9)
    assert rank_fidelity([record(0, 40, 30)], objective="fid", goal="min", rungs=(18_000,), within=()) == []


def test_final_values_are_first_measurements(tmp_path):
    records = [trial(number, fid=30.0 + number, confirmed={"fid": {"value": 99.0 - number}}) for number in range(5)]
    (row,) = StudyViews.open(write_views(tmp_path / "study", records)).front.rank_fidelity
    assert row.spearman == 1.0


def test_lines_for_people():
    within = agreement([1, 2, 3, 4, 5], [10, 20, 40, 30, 50])
    known = {"share": 1 / 9, "images": 2_000, "full_images": 18_000, "within": within}
    rows = [
        RungFidelity(**known, pairs=14, spearman=0.62, low=0.21, high=0.84, corrected=0.71, regret=0.08),
        RungFidelity(**known, pairs=5, spearman=0.9, low=0.2, high=1.0, corrected=0.9, regret=0.0),
        RungFidelity(**known, pairs=1),
    ]
    assert described(rows) == [
        "2,000 of 18,000 images: order agrees 0.62 (0.21 to 0.84, 14 trials; 0.71 had all gone on; "
        "0.90 for the 5 within the limits); picking by it costs 8 %",
        "2,000 of 18,000 images: order agrees 0.90 (0.20 to 1.00, 5 trials); picking by it costs nothing",
        "2,000 of 18,000 images: 1 trial has a value here and at the end, too few to tell how well the order agrees",
    ]
