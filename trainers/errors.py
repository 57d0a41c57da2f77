"""The one kind of error that a user can cause: it is shown as a message without a traceback, exit code 2."""

import re

from trainers.redaction import without_passwords

_LONG = re.compile(r"(\S{200})\S{200,}(\S{100})")
"""A word that nobody wrote to be read: an id or a name of thousands of characters."""


class UserError(Exception):
    """Something the user can put right: its text says what was found, what is allowed, what to do, and no password.

    Of a word of 500 characters and more it has the two ends.
    """

    def __str__(self) -> str:
        return _LONG.sub(r"\1...\2", without_passwords(super().__str__()))
