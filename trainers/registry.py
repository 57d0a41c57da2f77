"""Named pieces: a class that registers itself in its own file becomes an option in YAML.

A registry imports every file of its folders at the first question it is asked. An import that fails, or a name that is
taken, stops the program: a piece is never left out silently. So that a space can be checked in a moment, these files
import torch and the other large libraries inside their functions; a test keeps it so.
"""

import dataclasses
import difflib
import importlib
import pkgutil
from collections.abc import Callable, Hashable, Iterable, Iterator, Mapping
from typing import Annotated, Any, Generic, TypeVar

from pydantic import ConfigDict, GetCoreSchemaHandler
from pydantic_core import PydanticCustomError, core_schema

from trainers.written import reader

Piece = TypeVar("Piece")


class Registry(Generic[Piece]):
    """Pieces of one kind by name.

    Args:
        kind: What a piece is called in messages: "stage", "pruning criterion".
        folders: Packages whose modules hold the pieces; modules that start with ``_`` are not looked at.
    """

    def __init__(self, kind: str, folders: tuple[str, ...]) -> None:
        self.kind = kind
        self._folders = folders
        self._pieces: dict[str, type[Piece]] = {}
        self._is_complete = False
        self._read: Callable[[object], Piece] | None = None

    def register(self, name: str) -> Callable[[type[Piece]], type[Piece]]:
        """Class decorator: make the class known under ``name``; a name can be taken once."""

        def keep(piece: type[Piece]) -> type[Piece]:
            taken = self._pieces.get(name)
            if taken is not None:
                raise RuntimeError(
                    f"two {self.kind} pieces are called {name!r}: {_place(taken)} and {_place(piece)}. Rename one."
                )
            if not dataclasses.is_dataclass(piece):
                raise RuntimeError(f"{_place(piece)} must be a dataclass: its fields are its options in YAML.")
            piece.__registry__ = self  # type: ignore[attr-defined]
            piece.__pydantic_config__ = ConfigDict(extra="forbid")  # type: ignore[attr-defined]
            self._pieces[name] = piece
            return piece

        return keep

    def names(self) -> list[str]:
        """All names, sorted."""
        self._import_all()
        return sorted(self._pieces)

    def get(self, name: str) -> type[Piece]:
        """The class called ``name``.

        Raises:
            KeyError: with the message for the user, when there is none.
        """
        self._import_all()
        if name not in self._pieces:
            raise KeyError(f"unknown {self.kind} {name!r}. {suggestion(name, self._pieces)}")
        return self._pieces[name]

    def name_of(self, piece: Piece | type[Piece]) -> str:
        """The name that the class of ``piece`` is registered under."""
        wanted = piece if isinstance(piece, type) else type(piece)
        return next(name for name, known in self._pieces.items() if known is wanted)

    def parse(self, written: object) -> Piece:
        """The piece that YAML writes as ``name``, ``{name: {option: value}}`` or ``{name: <name>, option: value}``.

        Raises:
            pydantic.ValidationError: with every mistake and its path.
        """
        if self._read is None:
            self._read = reader(Annotated[Any, self])
        return self._read(written)

    def written(self, piece: Piece) -> str | dict[str, Any]:
        """The YAML data that ``parse`` reads ``piece`` from; options at their defaults are left out."""
        options = written_options(piece)
        return {self.name_of(piece): options} if options else self.name_of(piece)

    def __get_pydantic_core_schema__(self, source: object, handler: GetCoreSchemaHandler) -> core_schema.CoreSchema:
        """Lets a field be ``Annotated[Criterion, CRITERIA]``; mistakes keep their path, with the name as a step."""
        choices: dict[Hashable, core_schema.CoreSchema] = {
            name: core_schema.no_info_before_validator_function(_options, handler.generate_schema(piece))
            for name, piece in self
        }
        union = core_schema.tagged_union_schema(choices, discriminator=_name)
        return core_schema.no_info_wrap_validator_function(self._validate, union)

    def _validate(self, written: object, read: core_schema.ValidatorFunctionWrapHandler) -> Any:
        if type(written) in self._pieces.values():
            return written
        name = _name(written)
        if name is None:
            raise PydanticCustomError(
                "not_a_piece",
                "must be the name of a {kind} or `name: {options}`, got {found}. Allowed: {allowed}.",
                {"kind": self.kind, "found": repr(written), "allowed": ", ".join(self.names())},
            )
        if name not in self._pieces:
            reason = f"unknown {self.kind} {name!r}. {suggestion(name, self._pieces)}"
            raise PydanticCustomError("unknown_piece", "{reason}", {"reason": reason})
        return read(written)

    def __iter__(self) -> Iterator[tuple[str, type[Piece]]]:
        self._import_all()
        return iter(sorted(self._pieces.items()))

    def _import_all(self) -> None:
        if self._is_complete:
            return
        for folder in self._folders:
            for module in pkgutil.iter_modules(importlib.import_module(folder).__path__):
                if not module.name.startswith("_") and not module.ispkg:
                    importlib.import_module(f"{folder}.{module.name}")
        self._is_complete = True


def suggestion(name: str, allowed: Iterable[str]) -> str:
    """What to write instead of the unknown ``name``: the nearest of ``allowed``, or all of them."""
    known = sorted(allowed)
    near = difflib.get_close_matches(name, known, n=1)
    return f"Did you mean {near[0]!r}?" if near else f"Allowed: {', '.join(known)}."


def written_options(piece: Any) -> dict[str, Any]:
    """The fields of a dataclass that differ from their defaults, as plain YAML data."""
    changed = {}
    for field in dataclasses.fields(piece):
        value = getattr(piece, field.name)
        default = field.default_factory() if field.default_factory is not dataclasses.MISSING else field.default
        if value != default:
            changed[field.name] = _plain(value)
    return changed


def _plain(value: Any) -> Any:
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        home: Registry[Any] | None = getattr(type(value), "__registry__", None)
        return home.written(value) if home else written_options(value)
    if isinstance(value, Mapping):
        return {key: _plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    return value


def _name(written: object) -> str | None:
    """The name in one of the three ways of writing a piece; None when it is none of them."""
    if isinstance(written, str):
        return written
    if isinstance(written, Mapping) and isinstance(written.get("name"), str):
        return str(written["name"])
    if isinstance(written, Mapping) and len(written) == 1:
        return str(next(iter(written)))
    return None


def _options(written: object) -> object:
    if isinstance(written, str):
        return {}
    assert isinstance(written, Mapping)
    if "name" in written:
        return {key: value for key, value in written.items() if key != "name"}
    options = next(iter(written.values()))
    return {} if options is None else options


def _place(piece: type) -> str:
    return f"{piece.__module__}.{piece.__qualname__}"
