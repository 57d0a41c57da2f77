"""The sections of the page below its heading, each a pure function of the study."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence

from search.report.answer import listed
from search.report.axes import title_of, with_unit
from search.report.candidate import short
from search.report.cards import reached, strip_image, tie
from search.report.markup import Html, element, joined
from search.report.number import duration, number, with_error
from search.report.table import largest_first
from search.report.tabular import amount, folded_table, row, table
from search.report.volume import is_share_of
from search.views import Shortfall, StudyViews, TrialView

_STATES = ("complete", "stopped", "failed", "rejected")


def state(views: StudyViews) -> Html:
    """The study in a few figures."""
    counts: Counter[str] = Counter(trial.state for trial in views.trials)
    told = ", ".join(f"{counts[name]} {name}" for name in _STATES if counts[name]) or "none has ended yet"
    by_hand = sum(trial.by_hand for trial in views.trials)
    told += f"; {by_hand} of them by hand, beside the budget" if by_hand else ""
    # Rejected candidates broke a limit on known costs and were never trained: they cost no budget.
    paid = [trial for trial in views.trials if trial.state != "rejected" and not trial.by_hand]
    seconds = views.front.seconds
    spent = seconds if seconds is not None else sum(trial.seconds or 0.0 for trial in views.trials)
    tiles = [
        ("Trials", f"{len(paid)}{_of_budget(views, paid)}", told),
        ("Front", str(len(views.front.points)), "models that no other equals or beats in all"),
        ("Hypervolume", number(views.front.hypervolume), _volume_note(views)),
        ("Time", duration(spent), "wall time" if seconds is not None else "of all trials together"),
        ("Extractor", " and ".join(views.extractors) or "-", f"what measured {title_of(views.learned)}"),
    ]
    return element("dl", *[_tile(*tile) for tile in tiles], class_="tiles")


def _volume_note(views: StudyViews) -> str:
    if is_share_of(views):
        return "share of the region within the limits, 0 to 1"
    return "volume within the limits, in units of the limits"


def _of_budget(views: StudyViews, paid: Sequence[TrialView]) -> str:
    budget, full = views.front.budget_trials, views.front.budget_images
    if budget is None:
        return ""
    if not full or not views.stopped:
        return f" of {budget}"
    spent = sum(min(1.0, (trial.images or 0) / full) for trial in paid)
    return f", worth {spent:.1f} of {budget} full ones"


def warnings(views: StudyViews) -> Html | None:
    """What forbids taking the page at face value."""
    told = [
        element("p", text, class_="warning", role="alert")
        for text in (_extractors(views), _elsewhere(views), _versions(views))
        if text
    ]
    return joined(*told) if told else None


def _extractors(views: StudyViews) -> str | None:
    if len(views.extractors) < 2:
        return None
    return (
        f"{title_of(views.learned)} was measured by {' and '.join(views.extractors)}: these values cannot be compared."
    )


def _elsewhere(views: StudyViews) -> str | None:
    found = views.front.elsewhere
    if not found:
        return None
    titles = {objective.name: title_of(objective) for objective in views.front.objectives}
    trials = sorted({each.trial for each in found})
    measured = listed(sorted({titles.get(each.objective, each.objective) for each in found}))
    devices = listed(sorted({each.device for each in found}))
    those = f"Trials {listed(trials)} are" if len(trials) > 1 else f"Trial {trials[0]} is"
    return (
        f"{those} left out of the front, its figures and the budget: {measured} was measured on {devices}, "
        "the teacher's on another device, and times of different devices cannot be compared."
    )


def _versions(views: StudyViews) -> str | None:
    measured = [trial.versions for trial in views.complete if trial.versions]
    names = dict.fromkeys(name for versions in measured for name in versions)
    found = {name: sorted({str(versions.get(name, "none")) for versions in measured}) for name in names}
    differing = [f"{name} {listed(several)}" for name, several in found.items() if len(several) > 1]
    if not differing:
        return None
    return f"Not all trials ran on the same versions, and may differ for that alone: {'; '.join(differing)}."


def curse(views: StudyViews) -> Html | None:
    """What measuring again did to the trials that led: the luckiest first values do not last."""
    ratio = views.front.winners_curse
    if ratio is None:
        return None
    change = round(100 * abs(ratio - 1))
    moved = (
        f"{'rose' if ratio > 1 else 'fell'} by {change} % in the median" if change else "stayed the same in the median"
    )
    count = len(views.eligible)
    those = f"the {count} trials" if count > 1 else "the trial"
    text = (
        f"Measured again after the search with fresh noise, {title_of(views.learned)} of {those} that led {moved}. "
        "The front is drawn from what was measured then, and no other trial may be on it."
    )
    return element("p", text, class_="quiet")


def front_rows(views: StudyViews, pictures: Mapping[str, str], teacher: str | None) -> Html:
    """The front, the largest model first, under the teacher; without pictures where none are kept."""
    objectives = [views.learned, *views.costs]
    shown = ["Pictures"] if pictures else []
    headings = ["Trial", *shown, *map(with_unit, objectives), "Candidate", "Folder"]
    rows = [_teacher_row(views, headings, teacher)] if views.front.teacher else []
    for point in largest_first(views):
        mark = element("span", "knee", class_="badge knee") if point.trial == views.front.knee else None
        tied = (
            element("span", f"tied with {listed(point.tied)}", class_="badge", title=tie(point)) if point.tied else None
        )
        cells = [
            joined(element("b", str(point.trial)), Html(" "), mark, Html(" "), tied),
            *[strip_image(f"trial {point.trial}", pictures.get(point.path)) for _ in shown],
            *[with_error(point.values.get(item.name), point.stderr.get(item.name)) for item in objectives],
            short(point.candidate),
            element("code", point.path),
        ]
        # Rows are reached by Tab: the script chooses the focused one.
        rows.append(row(headings, cells, tabindex=0, data_trial=point.trial, aria_selected="false"))
    return table(headings, rows, class_="front pictured" if pictures else "front")


def stopped_early(views: StudyViews) -> Html | None:
    """Trials that were stopped early, with what they measured at the share that they reached."""
    if not views.stopped:
        return None
    learned = views.learned
    headings = ["Trial", "Trained to", f"{with_unit(learned)} there", "Reason", "Candidate"]
    rows = [
        [
            str(trial.number),
            reached(views, trial),
            with_error(trial.values.get(learned.name), trial.stderr.get(learned.name)),
            trial.reason or "no reason kept",
            short(trial.candidate),
        ]
        for trial in views.stopped
    ]
    return folded_table("Stopped early", headings, rows)


def troubles(views: StudyViews) -> Html | None:
    """Trials that failed or were turned away, with their reasons."""
    ended = [trial for trial in views.trials if trial.state in ("failed", "rejected")]
    if not ended:
        return None
    headings = ["Trial", "State", "Kind", "Reason", "Candidate"]
    order = sorted(ended, key=lambda trial: (_STATES.index(trial.state), trial.number))
    rows = [
        [str(trial.number), trial.state, trial.kind or "", trial.reason or "no reason kept", short(trial.candidate)]
        for trial in order
    ]
    return folded_table("Trials without a result", headings, rows)


def shortfalls(views: StudyViews) -> Html | None:
    """Requests met only in part: how often each, and where by the most."""
    found: dict[tuple[str, str], list[tuple[int, Shortfall]]] = {}
    for trial in views.trials:
        for item in trial.achieved:
            if item.asked != item.achieved:
                found.setdefault((item.what, item.note), []).append((trial.number, item))
    if not found:
        return None
    headings = ["What", "Trials", "By the most: asked", "Achieved", "In trial", "Why"]
    rows = []
    for (what, note), items in sorted(found.items()):
        worst, item = max(items, key=lambda pair: _gap(pair[1]))
        rows.append([what, f"{len(items):,}", amount(item.asked), amount(item.achieved), str(worst), note])
    return folded_table("Asked against achieved", headings, rows)


def nothing_yet(views: StudyViews) -> Html:
    """In place of the front, as long as there is none."""
    has_ended = views.front.finished
    if views.complete:
        so_far = "" if has_ended else " so far"
        text = f"{_trials(views.complete)} complete, but none lies within the limits, so the front is empty{so_far}."
    elif has_ended:
        text = "The study has ended, and no trial of it is complete."
    else:
        text = "No trial is complete yet. Reload this page as the study goes on."
    return element("p", text, class_="empty")


def _trials(trials: list[TrialView]) -> str:
    return "1 trial is" if len(trials) == 1 else f"{len(trials)} trials are"


def _teacher_row(views: StudyViews, headings: Sequence[str], picture: str | None) -> Html:
    teacher = views.front.teacher
    assert teacher is not None
    objectives = [views.learned, *views.costs]
    figures = [with_error(teacher.values.get(item.name), teacher.stderr.get(item.name)) for item in objectives]
    shown = [strip_image("the teacher", picture)] if "Pictures" in headings else []
    cells = [element("b", "Teacher"), *shown, *figures, "what all trials start from", ""]
    return row(headings, cells, class_="teacher")


def _tile(name: str, value: str, note: str) -> Html:
    return element("div", element("dt", name), element("dd", value), element("dd", note, class_="quiet"))


def _gap(item: Shortfall) -> float:
    is_number = all(isinstance(value, int | float) for value in (item.asked, item.achieved))
    return abs(item.asked - item.achieved) if is_number else 0.0
