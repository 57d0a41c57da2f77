"""How long a model takes to generate, by the number of images that it draws at a time."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from objectives.objective import Measurement
from search.analysis.figures import figure, series
from search.analysis.finding import Finding, Panel
from search.report.axes import axis
from search.report.number import number, significant
from search.views import ObjectiveView

BATCHES = (1, 2, 4, 8, 16, 32, 64)


@dataclass(frozen=True, kw_only=True)
class Generation(Finding):
    """The time of a batch, by the images in it.

    Args:
        times: Milliseconds of all sampling steps of one batch; fewer than ``BATCHES`` after an interruption, one at
            least.
        steps: Sampling steps.
    """

    what = "generation"
    title = "how long generating takes"

    name: str
    times: Mapping[int, Measurement]
    steps: int

    @property
    def is_whole(self) -> bool:
        return set(self.times) == set(BATCHES)

    def answer(self) -> str:
        if not self.times:
            return "Nothing was measured."
        best = min(self.times, key=self._each)
        found = f"An image takes {number(self._each(best))} ms at {best} at a time"
        return found + (f", {number(self._each(1))} ms alone." if best > 1 and 1 in self.times else ".")

    def headings(self) -> list[str]:
        return ["images at a time", "ms a batch", "ms an image", "images a second", "repeated"]

    def rows(self) -> list[list[str]]:
        return [
            [
                str(batch),
                f"{significant(found.value)} ± {significant(found.stderr, digits=2)}",
                f"{significant(self._each(batch))} ± {significant(found.stderr / batch, digits=2)}",
                number(1000 / self._each(batch)),
                str(found.samples),
            ]
            for batch, found in self.times.items()
        ]

    def notes(self) -> list[str]:
        places = ", ".join(sorted({found.by for found in self.times.values()}))
        return [
            f"Medians of whole generations, {self.steps} sampling steps, with their standard errors; on {places}."
            if self.times
            else "Nothing was measured.",
            "As the objectives `latency_ms` (one image) and `generation_ms` (a batch) measure it.",
        ]

    def panels(self) -> list[Panel]:
        if not self.times:
            return []
        xs = [float(batch) for batch in self.times]
        across = axis(ObjectiveView(name="", title="Images at a time", learned=True), xs, limit=None)
        across |= {"tickvals": xs, "ticktext": [str(batch) for batch in self.times]}
        panels = []
        for place, (title, what, is_each) in enumerate(
            (("Time of a batch", "Batch", False), ("Time of an image in it", "Image", True))
        ):
            shares = [batch if is_each else 1 for batch in self.times]
            ys = [found.value / share for found, share in zip(self.times.values(), shares, strict=True)]
            errors = [found.stderr / share for found, share in zip(self.times.values(), shares, strict=True)]
            up = axis(ObjectiveView(name="", title=what, unit="ms", learned=True), ys, limit=None)
            bars = {"type": "data", "array": errors, "thickness": 1}
            trace = series(place, xs, ys, hover="%{x} at a time: %{y:.4g} ms", is_line=True, error_y=bars)
            panels.append(Panel(title=title, figure=figure({"xaxis": across, "yaxis": up}, [trace]), legend=()))
        return panels

    def as_json(self) -> dict[str, Any]:
        return {
            "steps": self.steps,
            "batches": [
                {"batch": batch, "ms_per_image": self._each(batch), **asdict(found)}
                for batch, found in self.times.items()
            ],
        }

    def _each(self, batch: int) -> float:
        return self.times[batch].value / batch
