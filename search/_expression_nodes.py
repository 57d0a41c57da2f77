"""What an expression is made of, and what it is worth for given values."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Literal

Comparison = Literal["<", "<=", ">", ">=", "==", "!="]


class UndefinedError(Exception):
    """The value cannot be computed: a division by zero, an overflow, or text where a number belongs."""


@dataclass(frozen=True)
class Number:
    value: float


@dataclass(frozen=True)
class Text:
    value: str


@dataclass(frozen=True)
class Name:
    name: str


@dataclass(frozen=True)
class Negative:
    operand: Amount


@dataclass(frozen=True)
class Chain:
    """``first`` and then, from left to right, operators of one rank (``+ -`` or ``* /``) with their operands.

    Flat rather than nested, so that a long sum is not a deep tree.
    """

    first: Amount
    rest: tuple[tuple[str, Amount], ...]


@dataclass(frozen=True)
class Compare:
    left: Amount
    operator: Comparison
    right: Amount


@dataclass(frozen=True)
class All:
    parts: tuple[Condition, ...]


@dataclass(frozen=True)
class AnyOf:
    parts: tuple[Condition, ...]


Amount = Number | Text | Name | Negative | Chain
Condition = Compare | All | AnyOf

_OPPOSITE: dict[Comparison, Comparison] = {"<": ">=", "<=": ">", ">": "<=", ">=": "<", "==": "!=", "!=": "=="}


def opposite(condition: Condition) -> Condition:
    """The condition that holds when ``condition`` does not; so no ``not`` is left when violations are added up."""
    if isinstance(condition, Compare):
        return Compare(condition.left, _OPPOSITE[condition.operator], condition.right)
    parts = tuple(opposite(part) for part in condition.parts)
    return AnyOf(parts) if isinstance(condition, All) else All(parts)


def amount(node: Amount, values: Mapping[str, str | float | None]) -> str | float:
    """The number or text that ``node`` stands for.

    Raises:
        UndefinedError: when there is none.
    """
    if isinstance(node, Number | Text):
        return node.value
    if isinstance(node, Name):
        value = values[node.name]
        return value if isinstance(value, str) else _finite(value)
    if isinstance(node, Negative):
        return -_number(node.operand, values)
    total = _number(node.first, values)
    for operator, operand in node.rest:
        total = _finite(_combined(total, operator, _number(operand, values)))
    return total


def names(node: Amount | Condition) -> Iterator[str]:
    """All names, in the order written."""
    if isinstance(node, Name):
        yield node.name
    for part in _parts(node):
        yield from names(part)


def number_names(node: Amount | Condition) -> Iterator[str]:
    """The names that cannot stand for text."""
    is_ordered = isinstance(node, Compare) and node.operator not in ("==", "!=")
    for part in _parts(node):
        if isinstance(part, Name) and (is_ordered or isinstance(node, Negative | Chain)):
            yield part.name
        yield from number_names(part)


def text_comparisons(node: Amount | Condition) -> Iterator[tuple[str, str]]:
    """Pairs of a name and the text that it is compared with."""
    if isinstance(node, Compare):
        for one, other in ((node.left, node.right), (node.right, node.left)):
            if isinstance(one, Name) and isinstance(other, Text):
                yield one.name, other.value
    for part in _parts(node):
        yield from text_comparisons(part)


def _parts(node: Amount | Condition) -> tuple[Amount | Condition, ...]:
    if isinstance(node, Negative):
        return (node.operand,)
    if isinstance(node, Chain):
        return (node.first, *(operand for _, operand in node.rest))
    if isinstance(node, Compare):
        return (node.left, node.right)
    return node.parts if isinstance(node, All | AnyOf) else ()


def _number(node: Amount, values: Mapping[str, str | float | None]) -> float:
    value = amount(node, values)
    if isinstance(value, str):
        raise UndefinedError
    return value


def _combined(left: float, operator: str, right: float) -> float:
    if operator == "+":
        return left + right
    if operator == "-":
        return left - right
    if operator == "*":
        return left * right
    if right == 0:
        raise UndefinedError
    return left / right


def _finite(value: float | None) -> float:
    if value is None or not math.isfinite(value):
        raise UndefinedError
    return float(value)
