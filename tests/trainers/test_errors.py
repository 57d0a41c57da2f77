"""What an error says: enough of what was written to find it, and no more."""

from __future__ import annotations

import pytest

from trainers.errors import UserError


@pytest.mark.parametrize("length", [10, 255, 499])
def test_a_word_is_shown_as_it_is(length: int) -> None:
    assert str(UserError(f"no folder {'a' * length} here")) == f"no folder {'a' * length} here"


def test_of_a_word_that_nobody_reads_the_ends_are_shown() -> None:
    said = str(UserError(f"cannot get 'own/{'a' * 3_000}z' (no network). Run `hf download own/{'a' * 3_000}z`."))
    assert len(said) < 1_000
    assert said.startswith("cannot get 'own/aaa") and "aaa...aaa" in said and "aaz' (no network). Run `hf" in said
