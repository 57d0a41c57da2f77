"""Candidates that a user names: a YAML file with a value for each knob, such as ``prune.ratio.mid: 0.3``."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from search._space_file import read_text
from search._yaml import Entries, plain, read_yaml
from search.space_error import Mistakes, SpaceError
from trainers.errors import UserError

if TYPE_CHECKING:
    from search.known import Foresight
    from search.space import Candidate, Space
    from search.study import Study


def read_candidates(paths: Sequence[Path], space: Space) -> list[Candidate]:
    """The candidate in each file, values as the knobs' types.

    Raises:
        UserError: with every mistake of every file: knobs that are missing or unknown, values out of range.
    """
    found, faults = [], []
    for path in paths:
        try:
            found.append(_candidate(path, space))
        except SpaceError as error:
            faults.append(str(error))
    if faults:
        raise UserError("\n".join(faults))
    return found


def check_allowed(candidates: Sequence[Candidate], paths: Sequence[Path], foresight: Foresight) -> None:
    """What is known before training must be within the constraints and limits, as for every other trial.

    Raises:
        UserError: naming each file and what it breaks.
    """
    broken = [
        f"{path} {reason}."
        for path, candidate in zip(paths, candidates, strict=True)
        for reason in foresight.of(candidate).reasons
    ]
    if broken:
        raise UserError("\n".join([*broken, "Change the candidate, or loosen what it breaks in the space."]))


def queue(study: Study, candidates: Sequence[Candidate]) -> str:
    """Have each candidate tried, and say in a line what becomes of them."""
    said = [study.try_by_hand(candidate) for candidate in candidates]
    new = [str(number) for number, is_new in said if is_new]
    known = [str(number) for number, is_new in said if not is_new]
    parts = [f"trained in full beside the budget, as trial {', '.join(new)}"] if new else []
    parts += [f"tried already, as trial {', '.join(known)}"] if known else []
    return f"by hand: {'; '.join(parts)}"


def _candidate(path: Path, space: Space) -> Candidate:
    mistakes = Mistakes()
    node = read_yaml(read_text(path), mistakes=mistakes)
    if not isinstance(node, Entries):
        if not mistakes:
            example = f", such as `{space.knobs[0].path}: {space.knobs[0].extremes()[0]}`" if space.knobs else ""
            mistakes.add(f"must be a mapping from knobs to values{example}.")
        mistakes.raise_for(str(path))
    assert isinstance(node, Entries)
    written: dict[str, Any] = dict(plain(node))  # type: ignore[call-overload]  # of Entries it is a dict
    try:
        space.fill(written)
    except SpaceError as error:
        raise SpaceError(str(path), error.mistakes) from None
    return space.candidate(lambda knob: knob.accepted(written[knob.path]))
