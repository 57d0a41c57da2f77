"""``model_card.md``: what a model is, what it was made from and how, what it measures, and where that ends."""

from __future__ import annotations

import html
import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from trainers.visible import visible

if TYPE_CHECKING:
    from trainers.data.dataset import Images
    from trainers.models.arch_spec import ArchSpec
    from trainers.models.diffusion_model import DiffusionModel


@dataclass(frozen=True, kw_only=True)
class Card:
    """What the card tells.

    Args:
        name: Of the model.
        model: As it is shipped.
        teacher: The architecture that it was made from.
        source: Where the teacher came from, as the recipe says it.
        images: The data.
        recipe: Its stages, as YAML data.
        record: The content of ``measurements.json``.
        trial: Objective -> what the trial measured; empty for a recipe that is no trial's.
        lineage: The content of ``lineage.json``; empty without one.
        files: What lies in the folder, and what could not be written: name -> remark.
    """

    name: str
    model: DiffusionModel
    teacher: ArchSpec
    source: str
    images: Images
    recipe: Sequence[Any]
    record: Mapping[str, Any]
    trial: Mapping[str, Mapping[str, Any]]
    lineage: Mapping[str, Any]
    files: Mapping[str, str]

    def text(self) -> str:
        """The card as Markdown, with the head that model hubs read."""
        parts = (
            ["---", "library_name: slimfront", "tags: [diffusion, image-generation, compressed]", "---", ""],
            [f"# {_plain(self.name)}", "", self._summary(), "", "![What it draws](samples.webp)", ""],
            ["## Use", "", *self._use(), ""],
            ["## Data", "", self._data(), ""],
            ["## Teacher", "", self._teacher(), ""],
            ["## What was done", "", *self._stages(), "", *self._achieved()],
            ["## Measured", "", *self._measured(), ""],
            ["## Limits of use", "", *self._limits(), ""],
            ["## Lineage", "", *self._lineage()],
        )
        return "\n".join(line for part in parts for line in part) + "\n"

    def _summary(self) -> str:
        spec = self.model.spec
        asked = f" of {spec.network.classes} classes" if spec.network.classes else ""
        return (
            f"A diffusion model that draws images{asked} like those of {_plain(self.images.name)}, "
            f"{self.images.image_size} x {self.images.image_size} pixels, {_colours(self.images.channels)}. "
            f"{_parameters(spec):,} parameters, {_parameters(spec) / _parameters(self.teacher):.0%} of its teacher's; "
            f"one image takes {spec.evaluations:g} evaluations of the network."
        )

    def _use(self) -> Iterator[str]:
        labels = " LABEL" if self.model.spec.network.classes else ""
        yield "```"
        yield f"python generate.py 16 0{labels}"
        yield "```"
        yield ""
        yield "It needs Slimfront: `pip install -e .` in a checkout of it."
        yield ""
        yield "`model.safetensors` holds weights and architecture, and is read without unpickling anything. Beside it:"
        yield ""
        yield from (f"- `{name}`: {remark}" for name, remark in self.files.items())

    def _data(self) -> str:
        images = self.images
        latents = "" if images.latents is None else " The network sees their latents; `decoder` makes images of them."
        return (
            f"{_plain(images.name)}: {len(images.train_NCHW):,} training images of "
            f"{images.image_size} x {images.image_size}, {_colours(images.channels)}, "
            f"content hash `{images.hash}`.{latents}"
        )

    def _teacher(self) -> str:
        spec = self.teacher
        source = _plain(self.source)
        said = f"{_parameters(spec):,} parameters, from {source}; one image takes {spec.evaluations:g} evaluations."
        return f"{said} What it measures stands beside the figures below." if self.lineage.get("teacher") else said

    def _stages(self) -> Iterator[str]:
        yield f"In this order, over {self.record['images']:,} images in all:"
        yield ""
        yield from (f"{place}. `{_one_line(stage)}`" for place, stage in enumerate(self.recipe, start=1))

    def _achieved(self) -> Iterator[str]:
        notes = self.record["achieved"]
        if notes:
            yield "| asked for | asked | achieved | |"
            yield "| --- | ---: | ---: | --- |"
            yield from (
                f"| {_plain(note['what'])} | {_short(note['asked'])} | {_short(note['achieved'])} "
                f"| {_plain(note.get('note', ''))} |"
                for note in notes
            )
            yield ""

    def _measured(self) -> Iterator[str]:
        teacher, confirmed = self.lineage.get("teacher", {}), self.lineage.get("confirmed", {})
        yield "| | value | standard error | samples | measured by | in the trial | teacher |"
        yield "| --- | ---: | ---: | ---: | --- | ---: | ---: |"
        for name, found in self.record["measurements"].items():
            # What was measured again after the search is less lucky than what the search chose by.
            then = {**self.trial, **confirmed}.get(name, {}).get("value", "")
            error = f"{found['stderr']:.2g}" if found["stderr"] else "exact"
            mine, trials, teachers = map(_short, (found["value"], then, teacher.get(name, "")))
            # Another extractor's figures have another scale.
            by = self.trial.get(name, {}).get("by", found["by"])
            elsewhere = f" (by {_plain(by)})" if by != found["by"] else ""
            cells = [f"{cell}{elsewhere}" if cell else "" for cell in (trials, teachers)]
            by = _plain(found["by"])
            yield f"| {_plain(name)} | {mine} | {error} | {found['samples']:,} | {by} | {' | '.join(cells)} |"
        yield ""
        yield f"On {_plain(self.record['device'])}."

    def _limits(self) -> Iterator[str]:
        yield (
            f"- It was trained on {_plain(self.images.name)} alone and draws nothing else. "
            "Nobody looked for bias in the data, for copies of training images, or for harm in what is drawn: "
            "do so before it is used for anything."
        )
        yield (
            "- Figures of quality depend on the extractor and the number of samples beside them, and compare with no "
            "figures by others. Times are those of the device above."
        )
        if any(layer.bits < 32 for layer in self.model.spec.layers.values()):
            yield (
                "- Weights are stored in fewer bits and restored when they are used, which saves space and no time. "
                "Exchange formats have them in float32."
            )
        if not all(note["achieved"] == note["asked"] for note in self.record["achieved"]):
            yield "- Not all that was asked for was achieved; see the table above."

    def _lineage(self) -> Iterator[str]:
        found = {
            "study": self.lineage.get("study"),
            "trial": self.lineage.get("trial"),
            "space": self.lineage.get("space"),
            "seed": self.record["seed"],
            "images seen": f"{self.record['images']:,}",
            "seconds of training": self.record["seconds"],
            "processes": self.record["processes"],
            "fingerprint of the weights": self.model.fingerprint(),
            "versions": ", ".join(f"{name} {version}" for name, version in self.record["versions"].items()),
        }
        yield from (f"- {what}: {_plain(value)}" for what, value in found.items() if value is not None)


def _parameters(spec: ArchSpec) -> int:
    return sum(layer.parameters for layer in spec.layers.values())


def _colours(channels: int) -> str:
    return {1: "grey", 3: "in colour"}.get(channels, f"{channels} channels")


def _one_line(stage: Any) -> str:
    """A stage as a recipe writes it: ``quantize: {"bits": 8}``."""
    if not isinstance(stage, Mapping):
        return _code(str(stage))
    return _code(", ".join(f"{name}: {json.dumps(options)}" for name, options in stage.items()))


def _short(value: Any) -> str:
    return f"{value:.5g}" if isinstance(value, float) else _plain(value)


def _plain(text: object) -> str:
    r"""Text of a study on one line of Markdown, in which nothing of it is markup.

    >>> _plain("a <b>|[c](d)\n---")
    'a &lt;b&gt;\\|\\[c\\](d) ---'
    """
    return re.sub(r"([\\`|\[\]*])", r"\\\1", html.escape(" ".join(visible(str(text)).split()), quote=False))


def _code(text: str) -> str:
    """Text between backticks, which holds none itself."""
    return " ".join(visible(text).replace("`", "'").split())
