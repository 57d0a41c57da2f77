"""Passwords of databases, taken out of whatever is shown or kept: logs, reports, lineage, exceptions."""

from __future__ import annotations

import re

_STARS = "***"
# scheme://user:password@host. The user may have an "@" too, as some providers' do.
_HEAD = re.compile(r"(?i)\b[a-z][a-z0-9+.-]{0,30}://[^\s:/]*:")
# Where a URL in a text ends: a blank, or a quote or bracket that is not in the midst of a word.
_STOP = re.compile(r"\s|['\"<>](?=[\s'\"<>.,;:)\]}]|\Z)|\Z")
# http://host:80/ is no password.
_PORT = re.compile(r"[0-9]{1,5}(?=[/?#\s'\"<>.,;:)\]}]|\Z)")
_LINE_END = re.compile(r"[\r\n]|\Z")
# ?password=..., &sslpassword=..., and the same as words of a libpq connection string or of keyword arguments. Quotes
# and brackets in the midst of a word are the password's.
_AS_OPTION = re.compile(
    r"(?i)(\b(?:ssl|pg)?(?:password|passwd|pwd)['\"]?\s*[=:]\s*)"
    r"('(?:[^'\\]|\\.)*'|\"(?:[^\"\\]|\\.)*\"|(?:[^\s&'\",;)}<>]|['\",;)}<>](?=[^\s&'\",;:)}\]<>]))+)"
)


def without_passwords(text: str) -> str:
    """``text`` with the password of every URL and connection string in it replaced by ``***``.

    >>> without_passwords("cannot reach postgresql+psycopg://ann:s3:cr/t@db.example:5432/slimfront?password=x")
    'cannot reach postgresql+psycopg://ann:***@db.example:5432/slimfront?password=***'
    """
    return _AS_OPTION.sub(rf"\1{_STARS}", _without_authorities(text))


def _without_authorities(text: str) -> str:
    """A password that was not percent-encoded may hold anything, so it ends at the last @ of its URL.

    Where that has none, the password may have had a blank, and ends at the last @ of the word with the line's next one.
    Too much of a host's name may go with it, never too little of the password. No part of a text is looked at once for
    each URL before it: a stranger's text may be made of nothing else.
    """
    shown, done = [], 0
    stop, last = -1, -1
    line_end, next_at = -1, -1
    for head in _HEAD.finditer(text):
        begin = head.end()
        if begin < done:
            continue
        if begin > stop:
            stop = _end_of(_STOP, text, begin)
            last = text.rfind("@", begin, stop)
        end = last
        if end < begin and not _PORT.match(text, begin):
            if stop > line_end:
                line_end = _end_of(_LINE_END, text, stop)
            if next_at < stop:
                next_at = text.find("@", stop)
                next_at = len(text) if next_at < 0 else next_at
            if next_at < line_end:
                end = text.rfind("@", next_at, _end_of(_STOP, text, next_at))
        if end >= begin:
            shown += [text[done:begin], _STARS]
            done = end
    return "".join([*shown, text[done:]])


def _end_of(pattern: re.Pattern[str], text: str, begin: int) -> int:
    """Where the first match after ``begin`` is; each pattern matches at the end of a text."""
    match = pattern.search(text, begin)
    return len(text) if match is None else match.start()
