"""The front's functions against brute force, and the properties that their docstrings promise."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from search.front import best_within, fits, hypervolume, knee, minimised, non_dominated, tied_with

# Few distinct values: ties and duplicates come up all the time.
VALUES = st.integers(1, 6).flatmap(
    lambda width: arrays(float, st.tuples(st.integers(1, 9), st.just(width)), elements=st.integers(1, 5).map(float))
)


def dominates(one: np.ndarray, other: np.ndarray) -> bool:
    return bool((one <= other).all() and (one < other).any())


@settings(deadline=None)
@given(VALUES)
def test_front_is_what_nothing_dominates(values):
    expected = [not any(dominates(other, point) for other in values) for point in values]
    assert non_dominated(values).tolist() == expected


def test_duplicates_of_a_front_point_are_all_on_the_front():
    assert non_dominated([[1, 2], [3, 3], [1, 2]]).tolist() == [True, False, True]


def test_no_points_make_an_empty_front():
    assert non_dominated(np.zeros((0, 3))).tolist() == []


@settings(max_examples=15, deadline=None)
@given(st.integers(1, 4), st.integers(1, 8), st.integers(0, 2**32 - 1))
def test_hypervolume_matches_monte_carlo(width, count, seed):
    generator = np.random.default_rng(seed)
    values = generator.uniform(0, 1.2, (count, width))
    draws = generator.uniform(0, 1, (40_000, width))
    is_covered = np.zeros(len(draws), dtype=bool)
    for point in values:
        is_covered |= (draws >= point).all(axis=1)
    # 0.0125 is five standard errors of a share of one half.
    assert hypervolume(values, np.ones(width)) == pytest.approx(is_covered.mean(), abs=0.0125)


def test_hypervolume_of_two_overlapping_boxes():
    assert hypervolume([[1.0, 2.0], [2.0, 1.0], [2.0, 1.0]], [3.0, 4.0]) == pytest.approx(4 + 3 - 2)


def test_points_not_better_than_the_reference_count_nothing():
    assert hypervolume([[1.0, 3.0], [0.0, 9.0]], [3.0, 3.0]) == 0.0
    assert hypervolume([[1.0, 2.0], [0.0, 9.0]], [3.0, 3.0]) == 2.0
    assert hypervolume([], [3.0, 3.0]) == 0.0


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_values_that_are_not_finite_are_named(bad):
    values = [[1.0, 2.0], [3.0, bad]]
    for refuse in (non_dominated, lambda points: hypervolume(points, [9, 9]), lambda points: knee(points, [9, 9])):
        with pytest.raises(ValueError, match="point 1, objective 1 is"):
            refuse(values)
    with pytest.raises(ValueError, match="reference of objective 1"):
        hypervolume([[1.0, 2.0]], [3.0, bad])


@settings(deadline=None)
@given(VALUES, st.data())
def test_knee_is_on_the_front_and_within_the_reference(values, data):
    reference = np.array(data.draw(st.lists(st.integers(1, 6), min_size=values.shape[1], max_size=values.shape[1])))
    found = knee(values, reference)
    is_within = (values <= reference).all(axis=1)
    assert (found is None) == (not is_within.any())
    if found is not None:
        assert is_within[found] and non_dominated(values)[found]


@settings(deadline=None)
@given(VALUES, st.data())
def test_knee_does_not_depend_on_units(values, data):
    # Powers of two scale without rounding, so that even exact ties stay ties.
    powers = data.draw(st.lists(st.integers(-8, 8), min_size=values.shape[1], max_size=values.shape[1]))
    scale = 2.0 ** np.array(powers)
    reference = np.full(values.shape[1], 6.0)
    assert knee(values * scale, reference * scale) == knee(values, reference)


def test_knee_stays_when_an_extreme_point_joins():
    values = [[20.0, 1.0], [24.0, 0.3], [55.0, 0.25]]
    assert knee(values, [60.0, 1.5]) == 1
    assert knee([*values, [59.0, 0.001]], [60.0, 1.5]) == 1


def test_knee_of_learned_objectives_counts_ratios():
    values = [[10.0, 6.0], [40.0, 1.0]]
    # Linear gains: 90 * 4 against 60 * 9. Ratios: log 10 * 4 against log 2.5 * 9.
    assert knee(values, [100.0, 10.0]) == 1
    assert knee(values, [100.0, 10.0], is_log_M=[True, False]) == 0


def test_knee_of_one_point_and_of_one_objective():
    assert knee([[5.0, 5.0]], [np.inf, np.inf]) == 0
    assert knee([[5.0], [2.0], [3.0]], [np.inf]) == 1
    assert knee([[5.0], [2.0]], [1.0]) is None
    assert knee([], [1.0]) is None


def test_knee_where_every_point_lies_on_a_limit():
    assert knee([[1.0, 9.0], [9.0, 4.0], [9.0, 3.0]], [9.0, 9.0]) == 0


@settings(deadline=None)
@given(VALUES, st.integers(0, 2**32 - 1))
def test_ties_match_brute_force(values, seed):
    stderr = np.random.default_rng(seed).choice([0.0, 0.3, 0.5], values.shape)

    def gap(one, other, column):
        return (values[one, column] - values[other, column]) / (
            2 * np.hypot(stderr[one, column], stderr[other, column])
        )

    with np.errstate(divide="ignore", invalid="ignore"):
        for index in range(len(values)):
            # Equal and exact gives NaN: neither is above the other.
            expected = [
                other
                for other in range(len(values))
                if other != index
                and not abs(gap(other, index, 0)) > 1
                and not any(gap(other, index, column) > 1 for column in range(1, values.shape[1]))
            ]
            assert tied_with(index, values, stderr) == expected


def test_a_choice_between_costs_is_no_tie():
    values, stderr = [[30.0, 1.0, 9.0], [30.1, 0.5, 9.5], [30.1, 0.5, 9.0]], [[1.0, 0.0, 0.1]] * 3
    assert [tied_with(index, values, stderr) for index in range(3)] == [[2], [2], []]
    assert tied_with(0, values, [[1.0, 0.0, 0.5]] * 3) == [1, 2]


def test_fits_counts_the_maximum_itself():
    assert fits([[1.0, 5.0], [1.0, 5.1], [9.0, 0.0]], [np.inf, 5.0]).tolist() == [True, False, True]


@settings(deadline=None)
@given(VALUES, st.data())
def test_best_within_matches_brute_force(values, data):
    maxima = np.array(
        data.draw(st.lists(st.sampled_from([0.5, 2, 4, np.inf]), min_size=values.shape[1], max_size=values.shape[1]))
    )
    choice = best_within(values, maxima)
    inside = [index for index in range(len(values)) if (values[index] <= maxima).all()]
    firsts = sorted(values[index, 0] for index in inside)
    assert [values[index, 0] for index in (choice.best, choice.runner_up) if index is not None] == firsts[:2]
    if choice.best is not None:
        assert choice.best in inside and choice.best != choice.runner_up
        assert not any(dominates(values[index], values[choice.best]) for index in inside)
    outside = [index for index in range(len(values)) if index not in inside]
    better = [index for index in outside if choice.best is None or values[index, 0] < values[choice.best, 0]]
    need = {
        index: max(value / maximum - 1 for value, maximum in zip(values[index], maxima, strict=True))
        for index in better
    }
    assert (choice.nearest_miss is None) == (not better)
    if choice.nearest_miss is not None:
        assert need[choice.nearest_miss] == pytest.approx(min(need.values()))
        assert choice.excess.max() == pytest.approx(min(need.values()))


def test_equal_quality_goes_to_the_cheaper_one():
    choice = best_within([[5.0, 9.0], [5.0, 2.0], [5.0, 3.0]], [np.inf, 8.0])
    assert (choice.best, choice.runner_up, choice.nearest_miss) == (1, 2, None)


def test_excess_of_a_turned_objective_is_the_share_given_up():
    values = minimised([[20.0, 3.0]], ["min", "max"])
    maxima = minimised([np.inf, 4.0], ["min", "max"]).clip(max=np.inf)
    assert best_within(values, maxima).excess.tolist() == [0.0, 0.25]


def test_sign_turns_back():
    values = np.array([[3.0, 8.0], [1.0, -2.0]])
    assert (minimised(minimised(values, ["max", "min"]), ["max", "min"]) == values).all()
    assert minimised(values, ["max", "min"])[0].tolist() == [-3.0, 8.0]
