"""The one kind of error that a user can cause: it is shown as a message without a traceback, exit code 2."""


class UserError(Exception):
    """Something the user can put right. Its text says what was found, what is allowed and what to do."""
