"""What a run shows when it ends: the front, where the report lies, and the next two commands."""

from __future__ import annotations

import math
from collections import Counter
from typing import TYPE_CHECKING

from search.ends import failures

if TYPE_CHECKING:
    from rich.console import Console

    from search.live import Tally
    from search.study import Study
    from search.views import StudyViews


def show_end(console: Console, study: Study, tally: Tally | None) -> None:
    """Write views and report a last time and print what came out; ``tally`` is None when no trial ran."""
    from search.devices import warning
    from search.rank_fidelity import described
    from search.report.page import write_report
    from search.report.table import front_table

    def say(text: str) -> None:
        # Neither wrapped nor styled: commands and paths are there to be pasted.
        console.print(text, markup=False, highlight=False, soft_wrap=True)

    views = study.write_views()
    page = write_report(views)
    if views.front.points:
        console.print(front_table(views))
    else:
        say(_empty_front(views))
    if views.front.elsewhere:
        say(warning(views.front.elsewhere, study.times))
    say(_counts(study, views))
    for line in described(views.front.rank_fidelity):
        say(line)
    if tally is not None:
        say(_overhead(tally))
    say(f"report: {page}")
    say(next_commands(views))


def rounded_up(value: float) -> str:
    """Two significant digits, never below the value: a bound that a model of this cost meets.

    >>> rounded_up(0.3621), rounded_up(26.0), rounded_up(1234.0)
    ('0.37', '26', '1300')
    """
    if value <= 0:
        return f"{value:g}"
    unit = 10.0 ** (math.floor(math.log10(value)) - 1)
    return f"{round(math.ceil(value / unit - 1e-9) * unit, 12):g}"


def next_commands(views: StudyViews) -> str:
    """The commands that a user runs next: how to ask for a budget, and how to take the knee."""
    from search.report.table import size_of

    knee = next((point for point in views.front.points if point.trial == views.front.knee), None)
    size = size_of(views.costs)
    if knee is None or size is None:
        return f"next:\n  python -m search.explore {views.folder}"
    return (
        f"next:\n  python -m search.best {views.folder} --max {size.name}={rounded_up(knee.values[size.name])}\n"
        f"  python -m search.export {views.folder} --knee --out my-student"
    )


def _counts(study: Study, views: StudyViews) -> str:
    counts = Counter(trial.state for trial in views.trials)
    budget = study.space.budget.trials
    return (
        f"{counts['complete']} trials complete, {counts['stopped']} stopped early, {failures(views.trials)}: "
        f"{budget - study.left():.3g} of {budget} full trainings' worth"
    )


def _overhead(tally: Tally) -> str:
    """The share of the trials' wall time that was neither training, compressing nor measuring."""
    ended = [record for record in tally.ended_now if record.state == "complete"]
    wall = sum(record.seconds for record in ended)
    useful = sum(seconds for record in ended for stage, seconds in record.stages.items() if stage != "files")
    share = 1 - useful / wall if wall else 0.0
    return f"{share:.1%} of the trials' {wall:.0f} s was not training, compressing or measuring"


def _empty_front(views: StudyViews) -> str:
    complete = views.complete
    if not complete:
        failed = next((trial.reason for trial in views.trials if trial.state == "failed"), "see the log of a trial")
        return f"no trial was completed, so there is no front: {failed}"
    nearest = min(trial.value(views.learned.name) for trial in complete)
    limit = views.front.limits.get(views.learned.name)
    return f"no trial is within the limits: the best {views.learned.name} is {nearest:.4g}, its limit {limit}"
