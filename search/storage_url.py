"""Where a study's database is when it is no file in its folder: a PostgreSQL URL, kept and shown without password."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from pathlib import Path
from urllib.parse import parse_qsl, urlencode, urlsplit, urlunsplit

from trainers.atomic import write_atomically
from trainers.errors import UserError
from trainers.foreign import json_inside
from trainers.redaction import without_passwords

VARIABLE = "SLIMFRONT_STORAGE"
_FILE = "storage.json"
_SCHEMES = ("postgresql", "postgres", "postgresql+psycopg")
ALLOWED = (
    "postgresql://user@host/database, or left out for a file in the study's folder. "
    "A password is better kept in PGPASSWORD or ~/.pgpass"
)


def mistake_of(url: str) -> str | None:
    """What is wrong with ``url`` as a place for studies, not showing what may be a password; None when nothing is."""
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError:
        return f"is not a URL: its host or port cannot be read. It must be {ALLOWED}."
    if parts.scheme not in _SCHEMES:
        return f"begins with {parts.scheme[:20] + '://' if parts.scheme else 'no scheme'!r}. It must be {ALLOWED}."
    if len(parts.path) < 2 or "/" in parts.path[1:]:
        return f"names no database. It must be {ALLOWED}."
    if port == 0 or parts.fragment:
        return f"has a part that such a URL cannot have. It must be {ALLOWED}."
    return None


def has_password(url: str) -> bool:
    """Whether a password is written in it."""
    return without_password(url) != url


def without_password(url: str) -> str:
    """The URL as it may be kept and shown.

    >>> without_password("postgresql://me:s3cr:t@@host:5433/studies?password=x&sslmode=require")
    'postgresql://me@host:5433/studies?sslmode=require'
    """
    parts = urlsplit(url)
    user, _, host = parts.netloc.rpartition("@")
    netloc = f"{user.partition(':')[0]}@{host}" if user else host
    secret = ("password", "passfile", "sslpassword")
    kept = [pair for pair in parse_qsl(parts.query, keep_blank_values=True) if pair[0] not in secret]
    query = urlencode(kept, safe="/")
    return urlunsplit((parts.scheme, netloc, parts.path, query, ""))


def override_shown(override: str) -> str:
    """A ``--set`` option as it may be shown, and given again: without the password it connects by what libpq knows.

    >>> override_shown("storage=postgresql://me:s3cret@host/studies")
    'storage=postgresql://me@host/studies'
    """
    path, equals, value = override.partition("=")
    is_url = path.strip() == "storage" and mistake_of(value.strip()) is None
    return without_passwords(f"{path}{equals}{without_password(value.strip())}" if is_url else override)


def url_of(folder: Path, asked: str | None, *, environment: Mapping[str, str] = os.environ) -> str | None:
    """Where the database of the study in ``folder`` is, or will be; None is a file in that folder.

    A study stays where it began; otherwise it is where the space says, or the environment.

    Raises:
        UserError: when it began somewhere else than is asked for, or what is asked for is no such place.
    """
    asked = asked or environment.get(VARIABLE) or None
    wrong = mistake_of(asked) if asked else None
    if wrong:
        raise UserError(f"{VARIABLE} {wrong}")
    kept = _kept(folder)
    if kept is not None:
        if asked and _identity(asked) != _identity(kept):
            raise UserError(_elsewhere(folder, kept, without_password(asked)))
        return asked or kept
    if asked and (folder / "study.db").is_file():
        raise UserError(_elsewhere(folder, str(folder / "study.db"), without_password(asked)))
    return asked


def is_kept(folder: Path) -> bool:
    """Whether the folder says that its database is elsewhere."""
    return (folder / _FILE).is_file()


def keep(folder: Path, url: str) -> None:
    """Say in the folder where its database is, without the password, so that whoever opens the folder finds it."""
    content = {"storage": without_password(url), "study": folder.name}
    write_atomically(folder / _FILE, (json.dumps(content, indent=1) + "\n").encode())


def _kept(folder: Path) -> str | None:
    if not is_kept(folder):
        return None
    try:
        url = (json_inside(folder, _FILE) or {})["storage"]
        wrong = mistake_of(url)
    except (ValueError, TypeError, KeyError, AttributeError):
        wrong = "cannot be read."
    if wrong:
        raise UserError(
            f'{folder / _FILE}: its "storage" {wrong} It says where the study is; write that URL into it again.'
        )
    return str(url)


def _identity(url: str) -> tuple[str, int, str]:
    """What makes two URLs one database; the user may change, and a host may also stand in the query."""
    parts = urlsplit(url)
    query = dict(parse_qsl(parts.query))
    port = parts.port or int(query["port"] if query.get("port", "").isdigit() else 5432)
    return parts.hostname or query.get("host", ""), port, parts.path


def _elsewhere(folder: Path, kept: str, asked: str) -> str:
    return (
        f"{folder} has its study in {kept}, asked for is {asked}. A study stays where it began: "
        f"take that storage, or give this run another --name."
    )
