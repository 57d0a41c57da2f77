"""What a training stage cannot do, found before anything is trained."""

from __future__ import annotations

from typing import TYPE_CHECKING

from trainers.errors import UserError

if TYPE_CHECKING:
    from trainers.distillation._stage import TrainingStage
    from trainers.models.arch_spec import ArchSpec


def check_training(stage: TrainingStage, spec: ArchSpec) -> None:
    """Refuse options that do not fit the network.

    Raises:
        UserError: one line per mistake.
    """
    mistakes = []
    if stage.label_dropout and spec.network.unlabelled is None:
        mistakes.append(
            f"label_dropout: {stage.label_dropout} needs a network that also answers without labels. "
            "Use guided_unet with classes, or leave label_dropout out."
        )
    if stage.checkpointing and not any("." in name for name in spec.layers):
        mistakes.append("checkpointing: this network has no blocks of several layers. Leave it out.")
    if mistakes:
        raise UserError("\n".join(mistakes))


def check_drawing(spec: ArchSpec) -> ArchSpec:
    """The spec itself, when images can be drawn from it.

    Raises:
        UserError: one line per mistake.
    """
    if mistakes := spec.drawing_mistakes():
        raise UserError("\n".join(mistakes))
    return spec
