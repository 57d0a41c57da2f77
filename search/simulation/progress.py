"""How far a comparison of simulated searches is: a bar on a terminal, a line every ten seconds elsewhere."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from search.report.number import duration

if TYPE_CHECKING:
    from rich.console import Console

_SECONDS_BETWEEN_LINES = 10.0


@contextmanager
def progress(console: Console, title: str) -> Iterator[Callable[[float], None]]:
    """Gives what is to be told the part of the work that is done, from 0 to 1."""
    from rich.progress import Progress, TimeRemainingColumn

    bar = Progress(*Progress.get_default_columns()[:-1], TimeRemainingColumn(), console=console, transient=True)
    task = bar.add_task(title, total=1.0)
    begun = last = time.monotonic()

    def advance(done: float) -> None:
        nonlocal last
        now = time.monotonic()
        bar.update(task, completed=done)
        if not console.is_terminal and now - last > _SECONDS_BETWEEN_LINES:
            last = now
            console.print(f"{title}: {done:.0%}, about {duration((now - begun) * (1 / max(done, 1e-3) - 1))} left")

    if not console.is_terminal:
        yield advance
        return
    with bar:
        yield advance
