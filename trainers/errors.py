"""The one kind of error that a user can cause: it is shown as a message without a traceback, exit code 2."""

from trainers.redaction import without_passwords


class UserError(Exception):
    """Something the user can put right: its text says what was found, what is allowed, what to do, and no password."""

    def __str__(self) -> str:
        return without_passwords(super().__str__())
