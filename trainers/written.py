"""What a user wrote, read as a type: as pydantic converts it, but that true and false are never taken for numbers."""

from collections.abc import Callable
from typing import Any, cast

from pydantic import TypeAdapter
from pydantic_core import CoreSchema, PydanticKnownError, SchemaValidator, core_schema


def reader(kind: Any) -> Callable[[object], Any]:
    """Gives the value of type ``kind`` that data stands for; it raises pydantic.ValidationError with every mistake."""
    return SchemaValidator(_told_apart(TypeAdapter(kind).core_schema)).validate_python


def _told_apart(schema: Any) -> Any:
    """The schema with every number in it, however deep, behind a look at whether a boolean is given."""
    if isinstance(schema, list | tuple):
        return type(schema)(map(_told_apart, schema))
    if not isinstance(schema, dict):
        return schema
    kind = schema.get("type")
    if kind in ("int", "float"):
        return _behind(PydanticKnownError(cast(Any, f"{kind}_type")), schema)
    if kind == "literal" and not any(isinstance(each, bool) for each in schema["expected"]):
        *others, last = map(repr, schema["expected"])
        allowed = f"{', '.join(others)} or {last}" if others else last
        return _behind(PydanticKnownError("literal_error", {"expected": allowed}), schema)
    return {key: _told_apart(part) for key, part in schema.items() if key != "metadata"}


def _behind(mistake: PydanticKnownError, schema: dict[str, Any]) -> CoreSchema:
    def refuse_boolean(written: object) -> object:
        if isinstance(written, bool):
            raise mistake
        return written

    return core_schema.no_info_before_validator_function(refuse_boolean, cast(CoreSchema, schema))
