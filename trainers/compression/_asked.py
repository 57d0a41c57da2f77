"""Which ratio was asked for each coupled group, and how many channels it can lose for it."""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from functools import lru_cache

from trainers.compression.channels import CoupledGroup
from trainers.errors import UserError
from trainers.models.arch_spec import ArchSpec
from trainers.registry import suggestion

_WILDCARDS = "*?[]"
_NEARER_SHOWN = 3


@dataclass(frozen=True, kw_only=True)
class Rules:
    """How many channels may go, and together with which others (see ``Prune``)."""

    rule: str
    round_to: int
    heads: str
    keeps_count: bool
    """Of norm groups: as many equal ones as before, which a width has to allow."""


@dataclass(frozen=True)
class Loss:
    """What a group loses.

    Args:
        count: Channels.
        parts: Equal parts of the width that each lose the same; 1 when channels are ranked freely.
        unit: Neighbouring channels that go together: 1, or the width of an attention head.
        reason: Why it is not what was asked, where it could not be.
    """

    count: int
    parts: int
    unit: int
    reason: str = ""


def asked_ratios(
    spec: ArchSpec, groups: Sequence[CoupledGroup], ratio: float | Mapping[str, float]
) -> dict[str, float]:
    """Group name -> ratio. A group's own name goes before a pattern, longer patterns before shorter ones, then blocks.

    Last of all goes ``*``, which names whatever nothing else does.

    Raises:
        UserError: when a key names nothing or decides nothing, or two keys of one rank disagree about a group.
    """
    if not isinstance(ratio, Mapping):
        return {group.name: ratio for group in groups}
    placed = tuple((group.name, group.block, group.macro_block) for group in groups)
    named, nearest = _named(tuple(ratio), placed)
    deciding = {key for keys in nearest for key in keys}
    mistakes = [
        _idle(key, named[key], groups, nearest) if named[key] else _unknown(key, spec, groups)
        for key in ratio
        if key not in deciding
    ]
    asked = {}
    for group, keys in zip(groups, nearest, strict=True):
        if len(keys) > 1 and len({ratio[key] for key in keys}) > 1:
            names = " and ".join(repr(key) for key in keys)
            mistakes.append(f"ratio: {names} both name {group.name}, with different ratios. Keep one of them.")
        asked[group.name] = ratio[keys[0]] if keys else 0.0
    if mistakes:
        raise UserError("\n".join(mistakes))
    return asked


def loss_of(group: CoupledGroup, asked: float, rules: Rules) -> Loss:
    """As many channels as the rules allow, never more than ``asked`` of the width."""
    unit = group.width // group.heads if rules.heads == "drop" and group.heads > 1 else 1
    parts = group.heads if group.heads and unit == 1 else group.norm_groups if rules.rule == "paper" else 1
    units = group.width // parts // unit
    # The tolerance keeps 0.29999999999999998 * 10 from losing a channel that was asked for.
    wanted = min(math.floor(asked * units + 1e-9), units - 1)
    multiple = math.lcm(rules.round_to, group.norm_groups if rules.keeps_count else 1)
    fitting = (count for count in range(wanted, 0, -1) if (units - count) * unit * parts % multiple == 0)
    removed = next(fitting, 0)
    reason = ""
    if asked and not removed:
        whole = f"{group.width} channels" + (f" in {parts} equal parts" if parts > 1 else "")
        whole += f" in {units} heads" if unit > 1 else ""
        why = f"would not stay a multiple of {multiple}" if wanted else "cannot lose so few"
        if units == 1:
            why = "can lose none, whatever the ratio"
        reason = f"kept whole: {whole} {why}"
    return Loss(removed * unit * parts, parts, unit, reason)


# A search asks for the same keys and groups with thousands of ratios.
@lru_cache(maxsize=64)
def _named(
    keys: tuple[str, ...], groups: tuple[tuple[str, str, str], ...]
) -> tuple[dict[str, tuple[int, ...]], tuple[tuple[str, ...], ...]]:
    """For each key which groups it names; for each group, by name, block and macro-block, its nearest keys."""
    ranks = [{key: rank for key in keys if (rank := _rank(key, name, blocks))} for name, *blocks in groups]
    nearest = tuple(tuple(key for key in found if found[key] == max(found.values())) for found in ranks)
    return {key: tuple(place for place, found in enumerate(ranks) if key in found) for key in keys}, nearest


def _rank(key: str, name: str, blocks: Collection[str]) -> int:
    """How closely a key names a group: by ``*`` 1, by its block 2, by a pattern its letters, by its name most, or 0."""
    if key in blocks:
        return 2
    if key == name:
        return 2 + len(key)
    is_pattern = any(sign in key for sign in _WILDCARDS)
    if not is_pattern or not fnmatchcase(name, key):
        return 0
    letters = sum(letter not in _WILDCARDS for letter in key)
    return 2 + letters if letters else 1


def _idle(key: str, places: Sequence[int], groups: Sequence[CoupledGroup], nearest: Sequence[Sequence[str]]) -> str:
    """What is said of a key whose groups all have a nearer one."""
    nearer = dict.fromkeys(nearest[place][0] for place in places)
    shown = ", ".join(repr(each) for each in list(nearer)[:_NEARER_SHOWN])
    more = f" and {len(nearer) - _NEARER_SHOWN} more" if len(nearer) > _NEARER_SHOWN else ""
    return (
        f"ratio: {key!r} decides nothing: what it names, such as {groups[places[0]].name}, is named more closely by "
        f"{shown}{more}. Leave it out."
    )


def _unknown(key: str, spec: ArchSpec, groups: Sequence[CoupledGroup]) -> str:
    if key in spec.network.blocks():
        return f"ratio: block {key!r} of this network has no channels to remove. Leave it out."
    macro_blocks = dict.fromkeys(group.macro_block for group in groups)
    blocks = spec.network.blocks()
    known = [*blocks, *macro_blocks, *(group.name for group in groups)]
    near = suggestion(key, known)
    if "Did you mean" not in near:
        near = (
            f"Allowed: the blocks {', '.join(blocks)}; the macro-blocks {', '.join(macro_blocks)}; "
            f"or the name of a group, such as {groups[0].name!r}, with or without wildcards."
        )
    return f"ratio: this network has no block {key!r}. {near}"
