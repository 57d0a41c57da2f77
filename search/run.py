"""Search a space: ``python -m search.run SPACE``."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

from trainers.command import command
from trainers.errors import UserError


def main(
    space: Path | None = None,
    *,
    name: str | None = None,
    trials: int | None = None,
    workers: int | None = None,
    set_: Annotated[list[str] | None, Parameter(name="--set", negative="")] = None,
    try_: Annotated[list[Path] | None, Parameter(name="--try", negative="")] = None,
    address: str | None = None,
    take_over: Annotated[bool, Parameter(negative="")] = False,
    dry_run: Annotated[bool, Parameter(negative="")] = False,
    resume: Annotated[bool, Parameter(negative="")] = False,
    price_per_hour: float | None = None,
    json: Annotated[bool, Parameter(negative="")] = False,
    offline: Annotated[bool, Parameter(negative="")] = False,
    list_: Annotated[bool, Parameter(name="--list", negative="")] = False,
) -> int:
    """Search a space for the best compact models. A study that was started before goes on where it stopped.

    Parameters
    ----------
    space
        YAML file, such as spaces/pruning_ratios.yaml.
    name
        Name of the study, a folder in studies/runs; the space's own name when left out.
    trials
        Budget in full trainings, in place of the space's; weak trials stop early, so that more of them begin. A larger
        number continues a finished study.
    workers
        Jobs at a time; as many as the machine holds when left out. 0 does them in this process, without Ray.
    set_
        Replace a value of the space: path=value, such as budget.trials=4 or prune.ratio.mid=0.3. Can be repeated.
    try_
        Train the candidate in this file in full, before all others and beside the budget: a YAML mapping from knobs to
        values, such as prune.ratio.mid: 0.3. Can be repeated, also on a finished study.
    address
        Of a running Ray cluster, or "auto"; left out, Ray starts on this machine alone.
    take_over
        Of a driver on another machine that is gone: watch whether it gives a sign of life, and go on if not. After a
        driver on this machine it is not needed.
    dry_run
        Check the space, build its smallest and largest model, print costs and time. Nothing is trained.
    resume
        Insist on a study that exists already.
    price_per_hour
        With --dry-run: what all that the workers run on costs in an hour, in any currency.
    json
        With --dry-run: print JSON.
    offline
        Fetch nothing from the network: a hub id is refused unless its files are on this machine already.
    list_
        Print every piece that a space can use, with its options.
    """
    if list_:
        from search.listing import listing

        sys.stdout.write(listing() + "\n")
        return 0
    if space is None:
        raise UserError("which space? Give a YAML file: python -m search.run spaces/pruning_ratios.yaml")
    if offline:
        from trainers.download import go_offline

        go_offline()
    from search.session import Session

    session = Session(
        space,
        name=name,
        trials=trials,
        workers=workers,
        overrides=tuple(set_ or ()),
        address=address,
        price_per_hour=price_per_hour,
        tries=tuple(try_ or ()),
        take_over=take_over,
    )
    return session.go(dry_run=dry_run, resume=resume, as_json=json)


if __name__ == "__main__":
    command(main, name="python -m search.run")
