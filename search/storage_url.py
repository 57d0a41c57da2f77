"""Where a study's database is when it is no file in its folder: a PostgreSQL URL, kept and shown without password."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from urllib.parse import parse_qsl, unquote, urlencode, urlsplit, urlunsplit

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
# libpq's other options would write a file (sslkeylogfile), read one (passfile, service, sslkey), or turn checks off.
_OPTIONS = {
    "application_name": re.compile(r"[\w .-]{1,60}"),
    "channel_binding": re.compile(r"disable|prefer|require"),
    "connect_timeout": re.compile(r"[1-9][0-9]?|[1-5][0-9]{2}|600"),
    "host": re.compile(r"/[\w./-]+"),
    "password": re.compile(r".+"),
    "port": re.compile(r"[1-9][0-9]{0,4}"),
    "sslmode": re.compile(r"disable|allow|prefer|require|verify-ca|verify-full"),
    "sslrootcert": re.compile(r"system|/[^\0]+"),
}
_MEANT = {
    "application_name": "at most 60 letters and digits",
    "connect_timeout": "a number of seconds from 1 to 600",
    "host": "the folder of a socket, such as /var/run/postgresql",
    "password": "at least one character",
    "port": "a number from 1 to 65535",
    "sslrootcert": "'system' or the whole path of a file",
}


def mistake_of(url: str) -> str | None:
    """What is wrong with ``url`` as a place for studies, not showing what may be a password; None when nothing is.

    It may be a stranger's, so what is accepted means the same to everybody who takes it apart (this file, SQLAlchemy
    and libpq), and none of its options names a file to write, code to load, or another place.
    """
    if not unquote(url).isprintable() or " " in url:
        return f"has a blank or a character that cannot be seen. Write %20 for a blank; it must be {ALLOWED}."
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError:
        return f"is not a URL: its host or port cannot be read. It must be {ALLOWED}."
    if parts.scheme not in _SCHEMES:
        return f"begins with {parts.scheme[:20] + '://' if parts.scheme else 'no scheme'!r}. It must be {ALLOWED}."
    if parts.netloc.count("@") > 1 or "@" in parts.path + parts.query:
        return f"has an '@' too many. Write %40 for one in the user or the password; it must be {ALLOWED}."
    if len(parts.path) < 2 or "/" in parts.path[1:]:
        return f"names no database. It must be {ALLOWED}."
    if port == 0 or "#" in url:
        return f"has a part that such a URL cannot have. It must be {ALLOWED}."
    return _mistake_of_options(parse_qsl(parts.query, keep_blank_values=True), has_host=bool(parts.hostname))


def _mistake_of_options(options: Sequence[tuple[str, str]], *, has_host: bool) -> str | None:
    names = [name for name, _ in options]
    # Where a password holds an '&', what looks like another option is the rest of it.
    may_be_shown = "password" not in names
    for name, value in options:
        if name not in _OPTIONS:
            shown = repr(name[:30]) if may_be_shown and name.isidentifier() else "that has no such name"
            return (
                f"has the option {shown}. It can have {', '.join(sorted(_OPTIONS))}. Leave out all others, and write "
                "%26 for an '&' in a password."
            )
        if not _OPTIONS[name].fullmatch(value):
            found = f", got {value[:40]!r}" if may_be_shown else ""
            return f"has the option {name!r}, which must be {_MEANT.get(name, _OPTIONS[name].pattern)}{found}."
    if len(set(names)) < len(names):
        return "has an option twice. Keep one."
    if has_host and not {"host", "port"}.isdisjoint(names):
        return "has a host before the database, and a host or a port among the options. Keep those before it."
    return None


def has_password(url: str) -> bool:
    """Whether a password is written in it."""
    return without_password(url) != url


def own_password(url: str) -> str | None:
    """The password that is written in a URL without a mistake; None where libpq would look for one in its own places.

    >>> own_password("postgresql://me:@host/db?password=a%40b"), own_password("postgresql://me:@host/db")
    ('a@b', None)
    """
    parts = urlsplit(url)
    return dict(parse_qsl(parts.query)).get("password") or unquote(parts.password or "") or None


def is_of_environment(url: str, *, environment: Mapping[str, str] = os.environ) -> bool:
    """Whether the environment says the same; what it says is the user's own word."""
    return url == environment.get(VARIABLE)


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

    What is no such place is not shown at all: where a password would be in it, nobody can tell.

    >>> override_shown("storage=postgresql://me:s3cret@host/studies"), override_shown("storage=postgresql:me:s3cret@x")
    ('storage=postgresql://me@host/studies', 'storage=***')
    """
    path, equals, value = override.partition("=")
    # As YAML a value may be in quotes.
    url = value.strip().strip("'\"")
    if path.strip() != "storage" or url in ("", "~", "null"):
        return without_passwords(override)
    return f"{path}{equals}{without_password(url) if mistake_of(url) is None else '***'}"


def url_of(
    folder: Path, asked: str | None, *, is_named: bool = False, environment: Mapping[str, str] = os.environ
) -> str | None:
    """Where the database of the study in ``folder`` is, or will be; None is a file in that folder.

    A study stays where it began; otherwise it is where the space says, or the environment. How to connect to one
    place is better known to the environment than to a space, which may be a stranger's and ask for no encryption.

    Args:
        is_named: The user named what is ``asked``, not only the space.

    Raises:
        UserError: when it began somewhere else than is asked for, or what is asked for is no such place.
    """
    said = environment.get(VARIABLE) or None
    wrong = mistake_of(said) if said else None
    if wrong and not asked:
        raise UserError(f"{VARIABLE} {wrong}")
    if asked is None or (
        said and not (wrong or is_named or own_password(asked)) and _identity(said) == _identity(asked)
    ):
        asked = said
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
        wrong = mistake_of(url) if isinstance(url, str) else "cannot be read."
    except KeyError:
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
