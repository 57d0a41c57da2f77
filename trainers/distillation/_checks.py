"""What a training stage cannot do, found before anything is trained."""

from __future__ import annotations

from typing import TYPE_CHECKING

from trainers.errors import UserError

if TYPE_CHECKING:
    from trainers.distillation._stage import TrainingStage
    from trainers.distillation._taught_stage import TaughtStage
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


def check_teaching(stage: TaughtStage, spec: ArchSpec, *, teacher: ArchSpec) -> None:
    """Refuse a student of ``spec`` where this teacher cannot answer what the stage asks it.

    Raises:
        UserError: one line per mistake.
    """
    mistakes = []
    asks_without_labels = spec.network.classes == 0 or stage.label_dropout > 0
    needs_labels = teacher.network.classes > 0 and teacher.network.unlabelled is None
    if stage.weights.asks_teacher and asks_without_labels and needs_labels:
        mistakes.append(
            "weights: the student learns images without labels, but its teacher cannot answer without one. Give the "
            "student the teacher's classes and leave label_dropout out, or take a teacher like guided_unet, or keep "
            "to weights.noise."
        )
    if stage.weights.block and not shared_ends(spec, teacher):
        mistakes.append("weights.block: student and teacher have no block in common. Use weights.output.")
    if mistakes:
        raise UserError("\n".join(mistakes))


def shared_ends(student: ArchSpec, teacher: ArchSpec) -> tuple[str, ...]:
    """The last convolution of each block, where both networks have it at the same resolution."""
    ends = {student.network.block_of(name): name for name, layer in student.layers.items() if layer.is_conv}
    return tuple(
        name
        for name in ends.values()
        if name in teacher.layers and teacher.layers[name].positions == student.layers[name].positions
    )


def check_drawing(spec: ArchSpec) -> ArchSpec:
    """The spec itself, when images can be drawn from it.

    Raises:
        UserError: one line per mistake.
    """
    if mistakes := spec.drawing_mistakes():
        raise UserError("\n".join(mistakes))
    return spec
