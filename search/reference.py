"""A point of another work: the report marks it beside the study's own, and nothing else counts it."""

from __future__ import annotations

from dataclasses import dataclass

from pydantic import ConfigDict


@dataclass(frozen=True, kw_only=True)
class Reference:
    """A named point that the report marks for comparison; it is no trial, and never on the front.

    Args:
        name: What the report calls it.
        values: By objective of the space, in its units; one that is not known is left out.
        source: Where the values stand.
        note: What limits the comparison.
    """

    __pydantic_config__ = ConfigDict(extra="forbid")

    name: str
    values: dict[str, float]
    source: str = ""
    note: str = ""
