"""The processes of this machine, as /proc has them."""

from __future__ import annotations

from pathlib import Path


def below(pid: int) -> list[int]:
    """All processes that this one started, and those that they did."""
    parents: dict[int, list[int]] = {}
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            text = stat.read_text()
        except OSError:  # it has ended
            continue
        # The name before it is in parentheses and may hold spaces.
        parents.setdefault(int(text.rpartition(")")[2].split()[1]), []).append(int(stat.parent.name))
    found, ahead = [], [pid]
    while ahead:
        ahead = [child for parent in ahead for child in parents.get(parent, [])]
        found += ahead
    return found
