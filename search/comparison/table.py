"""Tables and a sheet of pictures of a comparison."""

from __future__ import annotations

import io
import statistics
from collections.abc import Sequence

from objectives.objective import OBJECTIVES
from search.comparison.file import Comparison
from search.comparison.verdict import Result, Verdict, chance

_LABEL_WIDTH = 150


def recipes_table(comparison: Comparison, results: Sequence[Result]) -> list[str]:
    """Markdown: each recipe's mean over the seeds and their spread."""
    names = [OBJECTIVES.name_of(objective) for objective in comparison.objectives]
    lines = [f"| recipe | {' | '.join(names)} | seconds |", "| --- |" + " --- |" * (len(names) + 1)]
    for recipe in comparison.recipes:
        ours = [result for result in results if result.recipe == recipe]
        if ours:
            cells = [_spread([result.values[name] for result in ours]) for name in names]
            lines.append(f"| {recipe} | {' | '.join(cells)} | {statistics.fmean(r.seconds for r in ours):.0f} |")
    return lines


def claims_table(comparison: Comparison, verdicts: Sequence[Verdict]) -> list[str]:
    """Markdown: claim, the figures it was made with, ours with its interval, and what became of it."""
    lines = [f"| claim | theirs | ours ({_sure(comparison)}) | verdict |", "| --- | --- | --- | --- |"]
    for verdict in verdicts:
        error = "" if verdict.margin is None else f" +- {verdict.margin:.2g}"
        ours = f"{verdict.by} {verdict.gain:+.3g}{error} in its favour"
        lines.append(f"| {verdict.claim.claim} | {verdict.claim.theirs} | {ours} | {verdict.kind} |")
    if comparison.looks > 1:
        share = f"each time may err in 5 % / {comparison.looks} of cases (Bonferroni)"
        lines += [
            "",
            f"The claims were judged {comparison.looks} times, so {share}: intervals are of {_sure(comparison)}.",
        ]
    return lines


def _sure(comparison: Comparison) -> str:
    return f"{100 * (1 - chance(comparison)):.4g} %"


def sheet(comparison: Comparison, results: Sequence[Result]) -> bytes:
    """A WEBP with one row a recipe: its name, and what its first model draws from the noise that all share.

    A result that was kept without its picture has no row; no rows at all are one white pixel.
    """
    from PIL import Image, ImageDraw

    drawn = sorted((result for result in results if result.strip), key=lambda result: -result.seed)
    strips = {result.recipe: result.strip for result in drawn}
    rows = {
        name: Image.open(io.BytesIO(strips[name]), formats=("WEBP",)) for name in comparison.recipes if name in strips
    }
    width, height = (max((getattr(row, side) for row in rows.values()), default=0) for side in ("width", "height"))
    page = Image.new("RGB", (_LABEL_WIDTH + width, max(1, len(rows) * (height + 4))), "white")
    pen = ImageDraw.Draw(page)
    for place, (name, row) in enumerate(rows.items()):
        top = place * (height + 4)
        pen.text((4, top + height // 2 - 5), name, fill="black")
        page.paste(row, (_LABEL_WIDTH, top))
    out = io.BytesIO()
    page.save(out, "WEBP", quality=80, method=4)
    return out.getvalue()


def _spread(values: Sequence[float]) -> str:
    mean = f"{statistics.fmean(values):.4g}"
    return mean if len(set(values)) == 1 else f"{mean} ({min(values):.4g} to {max(values):.4g})"
