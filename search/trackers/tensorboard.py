"""TensorBoard: event files in the study's folder."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from search.trackers.tracker import TRACKERS, Log, Told, Tracker

if TYPE_CHECKING:
    from tensorboardX import SummaryWriter


@TRACKERS.register("tensorboard")
@dataclass(frozen=True, kw_only=True)
class Tensorboard(Tracker):
    """Values over trials, knobs beside values (HParams) and pictures: ``tensorboard --logdir STUDY/tensorboard``."""

    # Writes the same files as TensorBoard itself, and is there wherever Ray Tune is.
    package: ClassVar[str] = "tensorboardX"

    @contextmanager
    def log(self, study: str, folder: Path) -> Iterator[Log]:
        from tensorboardX import SummaryWriter

        with SummaryWriter(str(folder / "tensorboard")) as writer:
            yield _Events(writer)


class _Events:
    def __init__(self, writer: SummaryWriter) -> None:
        self._writer = writer

    def tell(self, told: Told) -> None:
        for name, value in told.values.items():
            self._writer.add_scalar(name, value, told.trial)
        if told.values:
            self._writer.add_hparams(_knobs(told), dict(told.values), name=told.name, global_step=told.trial)
        if told.strip is not None:
            self._writer.add_image("samples", _pixels_HWC(told.strip), told.trial, dataformats="HWC")
        self._writer.flush()


def _knobs(told: Told) -> dict[str, Any]:
    # A choice of nothing is None, which HParams does not know.
    return {path: "none" if value is None else value for path, value in told.knobs.items()}


def _pixels_HWC(strip: Path) -> Any:
    import numpy as np
    from PIL import Image

    with Image.open(strip) as image:
        return np.asarray(image.convert("RGB"))
