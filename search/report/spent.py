"""Where the time went: seconds by stage and measurement, over all trials."""

from __future__ import annotations

from statistics import median

from search.report.markup import Html, element, joined
from search.report.number import duration, number
from search.report.tabular import row, table
from search.views import StudyViews


def time_spent(views: StudyViews) -> Html | None:
    """Each stage's share of the time that trials took; None where no times were kept."""
    seconds: dict[str, list[float]] = {}
    for trial in views.trials:
        for name, spent in trial.stages.items():
            seconds.setdefault(name, []).append(spent or 0.0)
    all_seconds = sum(trial.seconds or 0.0 for trial in views.trials)
    named = sum(map(sum, seconds.values()))
    if not named:
        return None
    total = max(all_seconds, named)
    rows = [
        (name, sum(spent), f"{_seconds(median(spent))} in {len(spent):,} trials")
        for name, spent in sorted(seconds.items(), key=lambda item: -sum(item[1]))
    ]
    if total - named > 0.005 * total:
        rows.append(("everything else", total - named, "trials that failed, loading, saving"))
    headings = ["Stage", "Time", "Share", "Median"]
    cells = [[name, _seconds(spent), _bar(spent / total), note] for name, spent, note in rows if spent > 0.0005 * total]
    return joined(
        element("h2", "Where the time went"), table(headings, [row(headings, line) for line in cells], class_="spent")
    )


def _seconds(seconds: float) -> str:
    return duration(seconds) if seconds >= 1 else f"{number(seconds, digits=2)} s"


def _bar(share: float) -> Html:
    bar = element("span", class_="bar", style=f"width:{100 * share:.1f}%", aria_hidden="true")
    return joined(element("span", f"{100 * share:.1f} %"), element("span", bar, class_="track"))
