"""Passwords of databases, taken out of whatever is shown or kept: logs, reports, lineage, exceptions."""

from __future__ import annotations

import re

_STARS = "***"
# scheme://user:password@host. A password that was not percent-encoded may hold any of ":/?#@", so it ends at the last @
# before a blank, a quote or a bracket; too much of a host's name may go with it, never too little of the password.
# All within bounds: a text of a stranger may be made so that each of its characters begins another search to its end.
_IN_AUTHORITY = re.compile(r"(?i)(\b[a-z][a-z0-9+.-]{0,30}://[^\s:/@'\"]{0,300}):([^\s'\"<>]{0,1000})@")
# ?password=..., &sslpassword=..., and the same as words of a libpq connection string or of keyword arguments.
_AS_OPTION = re.compile(r"(?i)(\b(?:ssl)?(?:password|passwd|pwd)['\"]?\s*[=:]\s*)('[^']*'|\"[^\"]*\"|[^\s&'\",;)}<>]+)")


def without_passwords(text: str) -> str:
    """``text`` with the password of every URL and connection string in it replaced by ``***``.

    >>> without_passwords("cannot reach postgresql+psycopg://ann:s3:cr/t@db.example:5432/slimfront?password=x")
    'cannot reach postgresql+psycopg://ann:***@db.example:5432/slimfront?password=***'
    """
    text = _IN_AUTHORITY.sub(rf"\1:{_STARS}@", text)
    return _AS_OPTION.sub(rf"\1{_STARS}", text)
