"""Damage for fuzzers: plain data with parts dropped, doubled, renamed, exchanged or blown up; bytes with bits flipped.

All of it is drawn from the generator that is given, so a case is made again from its number.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator, Sequence
from random import Random
from typing import Any

#: Values that readers meet seldom: edges of number formats, other types, text that means something elsewhere.
ODD: tuple[Any, ...] = (
    *(0, -1, 1, 2, 3, 0.5, -0.0, 10**6, 2**31, 2**63, 10**30, 10**400, -(10**19)),
    *(1e-320, 1e308, -1e308, float("inf"), float("nan"), True, False, None, [], {}, [[]], [None], {"": None}),
    *(
        "",
        " ",
        "0",
        "1e999",
        "../../x",
        "/etc/passwd",
        "a/b",
        "~",
        "~nosuchuser/x",
        "x" * 300,
        "\0",
        "\x1b[31mred",
        "\u202eevil",
        "\ud7ff",
        "é" * 200,
    ),
    *("</script><script>window.hit=1</script>", "<img src=x onerror=window.hit=1>", "[/bold]", "{0.__class__}", "%s%n"),
    *("__class__", "null", "name", "choice", "float", "x" * 5_000),
)
Path = tuple[Any, ...]


def mutated(tree: Any, generator: Random, *, donors: Sequence[Any] = (), times: int | None = None) -> Any:
    """A copy of plain data after one to four changes; subtrees of ``donors`` may be put into it."""
    changed = copy.deepcopy(tree)
    for _ in range(times or generator.choice((1, 1, 2, 4))):
        change = generator.choice(_CHANGES)
        changed = change(changed, generator, [*donors, tree])
    return changed


def damaged(content: bytes, generator: Random, *, times: int | None = None) -> bytes:
    """Bytes after one to eight changes: bits flipped, runs dropped, doubled or overwritten, the end cut off."""
    found = bytearray(content)
    for _ in range(times or generator.choice((1, 1, 2, 8))):
        at = generator.randrange(len(found) + 1)
        run = generator.choice((1, 1, 4, 40))
        kind = generator.randrange(6)
        if kind == 0 and at < len(found):
            found[at] ^= 1 << generator.randrange(8)
        elif kind == 1:
            del found[at : at + run]
        elif kind == 2:
            found[at:at] = found[at : at + run]
        elif kind == 3:
            found[at : at + run] = generator.randbytes(run)
        elif kind == 4:
            del found[at:]
        else:
            found[at:at] = generator.choice(
                (b"\0", b"\xff\xfe", b"\xef\xbb\xbf", b"\r", b"&a [*a]", b"!!x ", b"- " * 40, b"{" * 40)
            )
    return bytes(found)


def places(tree: Any) -> list[Path]:
    """The paths of all values in plain data, that of the whole first."""
    return list(_places(tree, ()))


def _places(tree: Any, path: Path) -> Iterator[Path]:
    yield path
    inside = tree.items() if isinstance(tree, dict) else enumerate(tree) if isinstance(tree, list) else ()
    for key, value in inside:
        yield from _places(value, (*path, key))


def value_at(tree: Any, path: Path) -> Any:
    """What stands at a path of ``places``."""
    for step in path:
        tree = tree[step]
    return tree


def replaced(tree: Any, path: Path, value: Any) -> Any:
    """The same data, changed in place, with ``value`` at ``path``."""
    if not path:
        return value
    value_at(tree, path[:-1])[path[-1]] = value
    return tree


def _drop(tree: Any, generator: Random, donors: Sequence[Any]) -> Any:
    path = _inner(tree, generator)
    if path:
        del value_at(tree, path[:-1])[path[-1]]
    return tree


def _double(tree: Any, generator: Random, donors: Sequence[Any]) -> Any:
    path = _inner(tree, generator)
    if path:
        parent, value = value_at(tree, path[:-1]), copy.deepcopy(value_at(tree, path))
        if isinstance(parent, list):
            parent[path[-1] : path[-1]] = [value] * generator.choice((1, 1, 50))
        else:
            parent[f"{path[-1]}{generator.choice(('_2', ' ', '.', 'x'))}"] = value
    return tree


def _rename(tree: Any, generator: Random, donors: Sequence[Any]) -> Any:
    path = _inner(tree, generator)
    if path and isinstance(path[-1], str):
        parent = value_at(tree, path[:-1])
        others = [step for place in places(donors[0]) for step in place if isinstance(step, str)] or ["x"]
        odd = [value for value in ODD if isinstance(value, str)]
        parent[generator.choice((generator.choice(others), generator.choice(odd)))] = parent.pop(path[-1])
    return tree


def _make_odd(tree: Any, generator: Random, donors: Sequence[Any]) -> Any:
    return replaced(tree, generator.choice(places(tree)), copy.deepcopy(generator.choice(ODD)))


def _retype(tree: Any, generator: Random, donors: Sequence[Any]) -> Any:
    path = generator.choice(places(tree))
    value = value_at(tree, path)
    kinds: tuple[Callable[[Any], Any], ...] = (
        lambda it: [it],
        lambda it: {"choice": [it, it]},
        str,
        lambda it: {"x": it},
    )
    return replaced(tree, path, generator.choice(kinds)(value))


def _scale(tree: Any, generator: Random, donors: Sequence[Any]) -> Any:
    paths = [path for path in places(tree) if type(value_at(tree, path)) in (int, float)]
    if paths:
        path = generator.choice(paths)
        factor = generator.choice((-1, 0, 0.5, 2, 7, 1_000, 10**9, 1e-9))
        tree = replaced(tree, path, value_at(tree, path) * factor)
    return tree


def _splice(tree: Any, generator: Random, donors: Sequence[Any]) -> Any:
    donor = generator.choice(donors)
    return replaced(
        tree, generator.choice(places(tree)), copy.deepcopy(value_at(donor, generator.choice(places(donor))))
    )


def _nest(tree: Any, generator: Random, donors: Sequence[Any]) -> Any:
    path = generator.choice(places(tree))
    value = value_at(tree, path)
    for _ in range(generator.choice((3, 40, 300))):
        value = [value] if generator.random() < 0.5 else {"a": value}
    return replaced(tree, path, value)


def _inner(tree: Any, generator: Random) -> Path:
    paths = [path for path in places(tree) if path]
    return generator.choice(paths) if paths else ()


_CHANGES = (_drop, _double, _rename, _make_odd, _make_odd, _retype, _scale, _scale, _splice, _nest)
