"""The file of a space as text, and the question at its head."""

from __future__ import annotations

import stat
from pathlib import Path

from search.space_error import Mistake, SpaceError

MAX_BYTES = 100_000
_EXAMPLE = "spaces/pruning_ratios.yaml"


def read_text(path: Path) -> str:
    """The text of a file, exactly as it is.

    Raises:
        SpaceError: when there is no such file, or it is not a text of a sensible size.
    """
    try:
        if path.is_dir():
            inside = sorted(path.glob("*.yaml"))
            raise _error(path, f"is a folder. Name a YAML file, such as {inside[0] if inside else _EXAMPLE}.")
        if not stat.S_ISREG(path.stat().st_mode):
            # Opening a pipe would wait for whoever writes into it.
            raise _error(path, f"is no regular file. Name a YAML file such as {_EXAMPLE}.")
        with path.open("rb") as file:
            raw = file.read(MAX_BYTES + 1)
    except FileNotFoundError:
        raise _error(path, f"does not exist. Name a YAML file such as {_EXAMPLE}.") from None
    except (OSError, ValueError) as error:  # a name with a NUL is a ValueError
        raise _error(path, f"cannot be read: {getattr(error, 'strerror', None) or error}.") from None
    if len(raw) > MAX_BYTES:
        raise _error(path, f"is larger than {MAX_BYTES:,} bytes. A space is a short text; is this the right file?")
    try:
        return raw.decode()
    except UnicodeDecodeError as error:
        raise _error(path, f"is not UTF-8 text: byte {error.start} cannot be read. Save it as UTF-8.") from None


def head_comment(text: str) -> str:
    """The comment at the head of the file without ``#``, one line each; empty when there is none.

    >>> head_comment("# Which blocks?\\n# And how far?\\n\\nname: x")
    'Which blocks?\\nAnd how far?'
    """
    lines = []
    for line in text.removeprefix("\ufeff").lstrip().splitlines():
        if not line.startswith("#"):
            break
        lines.append(line.lstrip("#").strip())
    return "\n".join(lines).strip()


def as_comment(text: str) -> str:
    """``text`` as a comment at the head of a file."""
    return "".join(f"# {line}".rstrip() + "\n" for line in text.splitlines())


def _error(path: Path, text: str) -> SpaceError:
    return SpaceError(str(path), [Mistake(text=text)])
