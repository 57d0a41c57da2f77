"""Options that a file of others names, held against the types that the code relies on."""

from __future__ import annotations

import json
from collections.abc import Mapping
from functools import cache
from typing import Any

from pydantic import TypeAdapter, ValidationError


def check_types(kind: Any, options: Mapping[str, Any]) -> None:
    """Every option that the typed dictionary ``kind`` names is of its type, and is not converted into it.

    Raises:
        ValueError: naming the first one that is not.
    """
    named = {name: value for name, value in options.items() if name in kind.__annotations__}
    try:
        # As JSON, where a list may stand for a tuple, and all else is taken strictly.
        _adapter(kind).validate_json(json.dumps(named), strict=True)
    except ValidationError as error:
        first = error.errors()[0]
        option = str(first["loc"][0]) if first["loc"] else next(iter(named))
        raise ValueError(f"{option}: {first['msg']}, got {named.get(option)!r:.100}") from None


@cache
def _adapter(kind: Any) -> TypeAdapter[Any]:
    return TypeAdapter(kind)
