"""Text to an expression: a tokenizer and a recursive-descent parser, bounded in length and depth.

condition  = conjunction {"or" conjunction}             comparison = sum {("<" | "<=" | ">" | ...) sum}
conjunction = negation {"and" negation}                 sum        = product {("+" | "-") product}
negation   = "not" negation | comparison                product    = operand {("*" | "/") operand}
operand    = "-" operand | number | 'text' | name | "(" condition ")"
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable
from typing import NamedTuple, cast

from search._expression_nodes import (
    All,
    Amount,
    AnyOf,
    Chain,
    Compare,
    Comparison,
    Condition,
    Name,
    Negative,
    Number,
    Text,
    opposite,
)
from trainers.errors import UserError

MAX_LENGTH = 1_000
MAX_DEPTH = 32

_TOKEN = re.compile(
    r"(?P<number>(?:\d[\d_]*(?:\.\d*)?|\.\d+)(?:[eE][+-]?\d+)?)"
    r"|(?P<name>[A-Za-z_]\w*(?:\.\w+)*)"
    r"|(?P<text>'[^']*'|\"[^\"]*\")"
    r"|(?P<sign><=|>=|==|!=|[-+*/()<>])",
    re.ASCII,
)
_COMPARISONS = ("<", "<=", ">", ">=", "==", "!=")
_WORDS = ("and", "or", "not")
_TRUTH = {"true": 1.0, "false": 0.0}


class ExpressionError(UserError):
    """A text that is not an expression: where, and what was expected there."""


class _Token(NamedTuple):
    kind: str
    text: str
    column: int


def parsed(text: str) -> Condition:
    """The condition that ``text`` writes.

    Raises:
        ExpressionError: with the column (from 1) and what was expected there.
    """
    if len(text) > MAX_LENGTH:
        raise ExpressionError(
            f"{text[:40]!r}... is {len(text):,} characters long, at most {MAX_LENGTH:,} are read. Split it in several."
        )
    return _Parser(text).parse()


def _tokens(text: str) -> list[_Token]:
    tokens = []
    at = 0
    while at < len(text):
        if text[at].isspace():
            at += 1
            continue
        match = _TOKEN.match(text, at)
        if match is None:
            raise _error(text, at + 1, _advice(text, at))
        tokens.append(_Token(str(match.lastgroup), match.group(), at + 1))
        at = match.end()
    return [*tokens, _Token("end", "the end", len(text) + 1)]


def _advice(text: str, at: int) -> str:
    if text[at] == "=":
        return "expected '==', found '='"
    if text[at] in "'\"":
        return f"expected a closing {text[at]}, found the end"
    return f"expected a number, a name or an operator, found {text[at]!r}"


def _error(text: str, column: int, reason: str) -> ExpressionError:
    return ExpressionError(f"{text!r}, column {column}: {reason}.")


class _Parser:
    def __init__(self, text: str) -> None:
        self._text = text
        self._tokens = _tokens(text)
        self._at = 0
        self._depth = 0

    def parse(self) -> Condition:
        condition = self._as_condition(self._disjunction())
        if self._next.kind != "end":
            raise self._expected("'and', 'or' or the end")
        return condition

    @property
    def _next(self) -> _Token:
        return self._tokens[self._at]

    def _take(self, *allowed: str) -> str | None:
        """The next token when it is one of ``allowed`` (an operator or word), and on to the one after it."""
        if self._next.kind in ("sign", "name") and self._next.text in allowed:
            self._at += 1
            return self._tokens[self._at - 1].text
        return None

    def _disjunction(self) -> Amount | Condition:
        return self._joined("or", self._conjunction, AnyOf)

    def _conjunction(self) -> Amount | Condition:
        return self._joined("and", self._negation, All)

    def _joined(
        self, word: str, part: Callable[[], Amount | Condition], join: type[All] | type[AnyOf]
    ) -> Amount | Condition:
        first = part()
        if self._next.text != word:
            return first
        parts = [self._as_condition(first)]
        while self._take(word):
            parts.append(self._as_condition(part()))
        return join(tuple(parts))

    def _negation(self) -> Amount | Condition:
        if not self._take("not"):
            return self._comparison()
        self._enter()
        negated = opposite(self._as_condition(self._negation()))
        self._depth -= 1
        return negated

    def _comparison(self) -> Amount | Condition:
        left = self._sum()
        if self._next.text not in _COMPARISONS:
            return left
        links: list[Condition] = []
        amount = self._as_amount(left)
        while operator := self._take(*_COMPARISONS):
            column = self._tokens[self._at - 1].column
            right = self._as_amount(self._sum())
            if operator not in ("==", "!=") and (isinstance(amount, Text) or isinstance(right, Text)):
                raise _error(self._text, column, f"expected '==' or '!=' beside a text, found {operator!r}")
            links.append(Compare(amount, cast(Comparison, operator), right))
            amount = right
        return links[0] if len(links) == 1 else All(tuple(links))

    def _sum(self) -> Amount | Condition:
        return self._chain(("+", "-"), self._product)

    def _product(self) -> Amount | Condition:
        return self._chain(("*", "/"), self._operand)

    def _chain(self, operators: tuple[str, ...], part: Callable[[], Amount | Condition]) -> Amount | Condition:
        column = self._next.column
        first = part()
        rest: list[tuple[str, Amount]] = []
        while operator := self._take(*operators):
            if not rest:
                first = self._as_number(first, column)
            column = self._next.column
            rest.append((operator, self._as_number(part(), column)))
        return Chain(cast(Amount, first), tuple(rest)) if rest else first

    def _operand(self) -> Amount | Condition:
        if self._take("-"):
            self._enter()
            column = self._next.column
            negative = Negative(self._as_number(self._operand(), column))
            self._depth -= 1
            return negative
        if self._take("("):
            self._enter()
            inner = self._disjunction()
            if not self._take(")"):
                raise self._expected("')'")
            self._depth -= 1
            return inner
        token = self._next
        if token.kind not in ("number", "text", "name") or token.text in _WORDS:
            raise self._expected("a number, a name, a quoted text or '('")
        self._at += 1
        if token.kind == "number":
            return Number(self._finite(token))
        if token.kind == "text":
            return Text(token.text[1:-1])
        return Number(_TRUTH[token.text]) if token.text in _TRUTH else Name(token.text)

    def _finite(self, token: _Token) -> float:
        value = float(token.text.replace("_", ""))
        if math.isinf(value):
            raise _error(self._text, token.column, f"expected a number up to 1e308, found {token.text!r}")
        return value

    def _enter(self) -> None:
        self._depth += 1
        if self._depth > MAX_DEPTH:
            raise _error(self._text, self._next.column, f"expected at most {MAX_DEPTH} nested brackets, found more")

    def _as_condition(self, node: Amount | Condition) -> Condition:
        if isinstance(node, Compare | All | AnyOf):
            return node
        raise self._expected("a comparison such as '<='")

    def _as_amount(self, node: Amount | Condition) -> Amount:
        if isinstance(node, Compare | All | AnyOf):
            raise self._expected("'and' or 'or' after a comparison in brackets")
        return node

    def _as_number(self, node: Amount | Condition, column: int) -> Amount:
        if isinstance(node, Text):
            raise _error(self._text, column, f"expected a number to calculate with, found the text {node.value!r}")
        return self._as_amount(node)

    def _expected(self, what: str) -> ExpressionError:
        found = self._next.text if self._next.kind == "end" else repr(self._next.text)
        return _error(self._text, self._next.column, f"expected {what}, found {found}")
