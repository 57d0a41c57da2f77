"""Constraints: what they mean, how far a candidate is from meeting them, and what is refused."""

import math
import operator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from search.expression import SMALLEST_VIOLATION, UNDEFINED_VIOLATION, Constraint
from trainers.errors import UserError


def error_of(text: str) -> str:
    with pytest.raises(UserError) as caught:
        Constraint.parse(text)
    return str(caught.value)


@pytest.mark.parametrize(
    ("text", "values", "holds"),
    [
        ("prune.ratio.mid >= prune.ratio.down_0", {"prune.ratio.mid": 0.4, "prune.ratio.down_0": 0.5}, False),
        ("prune.ratio.mid >= prune.ratio.down_0", {"prune.ratio.mid": 0.5, "prune.ratio.down_0": 0.5}, True),
        ("size_mb <= 2 * macs_g + 0.5", {"size_mb": 2.5, "macs_g": 1.0}, True),
        ("size_mb <= 2 * macs_g + 0.5", {"size_mb": 2.6, "macs_g": 1.0}, False),
        ("distil.sampling_steps * batch < 100", {"distil.sampling_steps": 10, "batch": 10}, False),
        ("1 - 2 - 3 == -4", {}, True),
        ("8 / 4 / 2 == 1", {}, True),
        ("2 + 3 * 4 == 14", {}, True),
        ("(2 + 3) * 4 == 20", {}, True),
        ("-a * 2 == -6", {"a": 3}, True),
        ("0 < a <= b < 1", {"a": 0.2, "b": 0.2}, True),
        ("0 < a <= b < 1", {"a": 0.2, "b": 0.1}, False),
        ("0 < a <= b < 1", {"a": 0.2, "b": 1.0}, False),
        ("a == 1 or a == 2 and b == 1", {"a": 1, "b": 0}, True),
        ("(a == 1 or a == 2) and b == 1", {"a": 1, "b": 0}, False),
        ("not (a < 1 or b < 1)", {"a": 1, "b": 0}, False),
        ("not a < 1 and b < 1", {"a": 1, "b": 0}, True),
        ("not (0 < a < 1)", {"a": 1}, True),
        ("prune.rule == 'paper'", {"prune.rule": "paper"}, True),
        ('prune.rule != "paper"', {"prune.rule": "paper"}, False),
        ("prune.rule == 3", {"prune.rule": "paper"}, False),
        ("a == true", {"a": True}, True),
        ("x < 1_000.5e-1", {"x": 100}, True),
    ],
)
def test_meaning(text, values, holds):
    assert Constraint.parse(text).holds(values) is holds


@pytest.mark.parametrize(
    ("text", "values", "violation"),
    [
        ("a <= b", {"a": 3, "b": 1}, 2.0),
        ("a <= b", {"a": 1, "b": 3}, 0.0),
        ("a < b", {"a": 1, "b": 1}, SMALLEST_VIOLATION),
        ("a > b", {"a": 1, "b": 1.5}, 0.5),
        ("a == b", {"a": 1, "b": 4}, 3.0),
        ("a != b", {"a": 1, "b": 1}, 1.0),
        ("a >= 2 and b >= 2", {"a": 1, "b": 1.5}, 1.5),
        ("a >= 2 or b >= 2", {"a": 1, "b": 1.5}, 0.5),
        ("not (a < 2 or b < 2)", {"a": 1, "b": 1.5}, 1.5),
        ("rule == 'paper'", {"rule": "flexible"}, 1.0),
        ("1 / a > 2", {"a": 0}, UNDEFINED_VIOLATION),
        ("not 1 / a > 2", {"a": 0}, UNDEFINED_VIOLATION),
        ("a == 0 or 1 / a > 2", {"a": 0}, 0.0),
        ("a * a < 1", {"a": 1e200}, UNDEFINED_VIOLATION),
        ("a < b", {"a": 1.7e308, "b": -1.7e308}, math.ldexp(1 - 2**-53, 1024)),
        ("a < 1", {"a": math.nan}, UNDEFINED_VIOLATION),
        ("a + 1 < 1", {"a": "max"}, UNDEFINED_VIOLATION),
        ("a > 1", {"a": "max"}, UNDEFINED_VIOLATION),
    ],
)
def test_violation_says_how_far(text, values, violation):
    assert Constraint.parse(text).violation(values) == violation


def test_constraint_on_an_option_that_does_not_exist_holds():
    constraint = Constraint.parse("prune.criterion.taylor.threshold > 0.5 and prune.ratio > 0.9")
    assert not constraint.holds({"prune.criterion.taylor.threshold": 0.1, "prune.ratio": 0.1})
    assert constraint.holds({"prune.ratio": 0.1})
    assert constraint.holds({"prune.criterion.taylor.threshold": None, "prune.ratio": 0.1})


def test_names_are_listed_once_in_order():
    constraint = Constraint.parse("b.two * a >= -c or kind == 'x' and a < 3")
    assert constraint.names == ("b.two", "a", "c", "kind")
    assert constraint.number_names == ("b.two", "a", "c")
    assert constraint.text_comparisons == (("kind", "x"),)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a >=", "'a >=', column 5: expected a number, a name, a quoted text or '(', found the end."),
        ("a", "'a', column 2: expected a comparison such as '<=', found the end."),
        ("", "'', column 1: expected a number, a name, a quoted text or '(', found the end."),
        ("a = 3", "'a = 3', column 3: expected '==', found '='."),
        ("a < 3 b", "'a < 3 b', column 7: expected 'and', 'or' or the end, found 'b'."),
        ("(a < 3", "'(a < 3', column 7: expected ')', found the end."),
        ("a < 3)", "'a < 3)', column 6: expected 'and', 'or' or the end, found ')'."),
        ("(a < b) < 3", "'(a < b) < 3', column 9: expected 'and' or 'or' after a comparison in brackets, found '<'."),
        ("a < 'x'", "\"a < 'x'\", column 3: expected '==' or '!=' beside a text, found '<'."),
        ("2 * 'x' < 3", "\"2 * 'x' < 3\", column 5: expected a number to calculate with, found the text 'x'."),
        ("a == 'x", "\"a == 'x\", column 6: expected a closing ', found the end."),
        ("a < $", "'a < $', column 5: expected a number, a name or an operator, found '$'."),
        ("a < 1e999", "'a < 1e999', column 5: expected a number up to 1e308, found '1e999'."),
        ("a < and", "'a < and', column 5: expected a number, a name, a quoted text or '(', found 'and'."),
        (
            "__import__('os') == 1",
            "\"__import__('os') == 1\", column 11: expected a comparison such as '<=', found '('.",
        ),
    ],
)
def test_what_is_refused(text, message):
    assert error_of(text) == message


def test_length_and_depth_are_bounded():
    assert "is 2,004 characters long, at most 1,000 are read" in error_of("a < " + "1" * 2000)
    for deep in ("(" * 300 + "a", "-" * 300 + "a", "not " * 200 + "a"):
        assert "expected at most 32 nested brackets, found more" in error_of(deep)
    assert Constraint.parse("+".join(["1"] * 490) + " < 491").holds({})


@given(st.lists(st.tuples(st.sampled_from("+-*"), st.integers(-9, 9)), max_size=12), st.sampled_from(["<", ">=", "=="]))
def test_arithmetic_agrees_with_python(terms, comparison):
    text = "3" + "".join(f" {sign} ({number})" for sign, number in terms)
    compare = {"<": operator.lt, ">=": operator.ge, "==": operator.eq}[comparison]
    expected = compare(eval(text), 2)  # noqa: S307  # the reference; the text is built above
    assert Constraint.parse(f"{text} {comparison} 2").holds({}) is expected


@given(st.text(alphabet="ab.<>=!+-*/()' 12andort", max_size=30))
def test_any_text_is_a_constraint_or_one_message(text):
    try:
        constraint = Constraint.parse(text)
    except UserError:
        return
    values = dict.fromkeys(constraint.names, 1.0)
    assert constraint.holds(values) is (constraint.violation(values) == 0)
