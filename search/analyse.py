"""``python -m search.analyse``: which blocks bear pruning, which timesteps count, how far weights moved, speed."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

from cyclopts import Parameter

from trainers.command import INTERRUPTED, command


def main(
    model: Path,
    *models: Path,
    what: Literal["sensitivity", "timesteps", "weight-variation", "generation"],
    by: Literal["block", "macro-block"] = "block",
    criterion: str | None = None,
    rule: Literal["paper", "flexible"] = "paper",
    times: float = 4.0,
    samples: int | None = None,
    data: str | None = None,
    write: Path | None = None,
    out: Path | None = None,
    page: Path | None = None,
    json: Annotated[bool, Parameter(negative=())] = False,
) -> int:
    """What a model says before anything is searched: a table, a page with figures, and ranges for the knobs.

    - sensitivity: FID and pictures when one block alone loses 25, 50 or 75 % of its channels, nothing trained after.
    - timesteps: loss and importance of each timestep, and what a threshold on the loss keeps.
    - weight-variation: how far weights moved from each model to the next, by macro-block.
    - generation: time of a batch and of an image in it, for 1, 2, 4 .. 64 images at a time, on this device.

    Example: `python -m search.analyse spaces/pruning_ratios.yaml --what sensitivity`

    Args:
        model: A space or a study (its teacher), an exported folder, or the folder of a model.
        models: The models after it, in order, for weight-variation; students kept beside one go before it.
        what: The analysis.
        by: What sensitivity prunes at a time.
        criterion: Which channels go first, as a space writes it. When left out, magnitude; for timesteps diff_pruning.
        rule: The same count from each norm group, or ranked freely, as in `prune`.
        times: For sensitivity: a block is pruned too far where FID is this many times that of the whole model.
        samples: For sensitivity: images drawn for each FID. When left out, as in the space, or 1,000.
        data: The data set of a model that does not say it, as a space writes it: digits.
        write: A space whose knobs are to get the suggested ranges.
        out: The new space that --write makes.
        page: The page with the figures. When left out, it lies beside the model, or here for a space.
        json: Print one JSON object.
    """
    import sys
    from json import dumps

    from rich.console import Console

    from search.analysis.page import write_page
    from search.analysis.request import Request
    from search.analysis.telling import as_json, show

    request = Request(
        what=what,
        paths=(model, *models),
        by=by,
        criterion=criterion,
        rule=rule,
        times=times,
        samples=samples,
        data=data,
        write=write,
        out=out,
    )
    request.check()
    console = Console(stderr=json, markup=False, emoji=False)
    finding = request.finding(console)
    written = write_page(finding, page or request.page)
    if json:
        sys.stdout.write(dumps(as_json(finding), indent=2, ensure_ascii=False, allow_nan=False) + "\n")
    else:
        show(finding, console)
    console.print(f"figures: {written}", soft_wrap=True, markup=False, highlight=False)
    request.write_ranges(finding, console)
    if finding.is_whole:
        return 0
    console.print("interrupted; what is measured is kept. Give the same command again to go on.")
    return INTERRUPTED


if __name__ == "__main__":
    command(main, name="python -m search.analyse")
