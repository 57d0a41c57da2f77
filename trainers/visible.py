"""Text from elsewhere that is shown: nothing in it moves the cursor, colours a terminal, or reorders what is read."""

from __future__ import annotations

import re
from typing import Any

from trainers.redaction import without_passwords

# Control characters except line feed and tab, marks that reorder text (Unicode's bidirectional overrides, embeddings
# and isolates), line separators that only some programs know, and halves of surrogate pairs, which cannot be written.
HIDDEN = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u2028-\u202e\u2066-\u2069\ufeff\ufff9-\ufffb\ud800-\udfff]")


def visible(text: str) -> str:
    r"""``text`` with each hidden character written out.

    >>> visible("a\x1b[31m red \u202e mirrored")
    'a\\x1b[31m red \\u202e mirrored'
    """
    return HIDDEN.sub(lambda found: ascii(found[0])[1:-1], text)


def all_visible(data: Any) -> Any:
    """Plain data with every text in it, keys included, made visible."""
    if isinstance(data, str):
        return visible(data)
    if isinstance(data, list):
        return [all_visible(item) for item in data]
    if isinstance(data, dict):
        return {visible(key): all_visible(value) for key, value in data.items()}
    return data


def for_terminal(text: str) -> str:
    """What may be printed of an error: visible, and without the passwords of databases."""
    return visible(without_passwords(text))
