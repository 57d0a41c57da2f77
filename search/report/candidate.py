"""A candidate in short: one line that tells neighbours on the front apart."""

from collections.abc import Mapping
from typing import Any

from search.report.number import number


def short(candidate: Mapping[str, Any]) -> str:
    """The answers in the order of the recipe, each under the last part of its path; a chosen name speaks for itself.

    Paths that end alike get as many earlier parts as tell them apart.

    >>> short({"prune.rule": "paper", "prune.ratio.mid": 0.5512, "student.channels": [16, 32], "quantize.bits": 4})
    'paper, mid 0.55, channels 16-32, bits 4'
    >>> short({"prune.ratio.mid": 0.5, "mask.ratio.mid": 0.25})
    'prune.ratio.mid 0.5, mask.ratio.mid 0.25'
    >>> short({"recipe.0": None, "recipe.1.prune.rule": "paper"})
    'recipe.0 none, paper'
    """
    return ", ".join(
        value if isinstance(value, str) else f"{name} {answer(value)}" for name, value in named(candidate).items()
    )


def named(candidate: Mapping[str, Any]) -> dict[str, Any]:
    """The answers under their shortest names."""
    return {_shortest(path, candidate): value for path, value in candidate.items()}


def answer(value: Any) -> str:
    """One answer as text: numbers rounded, lists joined, of a choice with options only its name."""
    match value:
        case None:
            return "none"
        case bool():
            return "yes" if value else "no"
        case int() | float():
            return number(value, digits=2)
        case list() | tuple():
            return "-".join(answer(item) for item in value)
        case Mapping():
            return "-".join(str(key) for key in value)
        case _:
            return str(value)


def _shortest(path: str, candidate: Mapping[str, Any]) -> str:
    parts = path.split(".")
    # The number of a stage that is itself a choice says nothing alone.
    for length in range(1 + parts[-1].isdigit(), len(parts)):
        ending = parts[-length:]
        if not any(other != path and other.split(".")[-length:] == ending for other in candidate):
            return ".".join(ending)
    return path
