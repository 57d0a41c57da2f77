"""Layer-wise reconstruction: what is left of each layer is refitted to give what the teacher's layer gives."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated

from pydantic import Field

from trainers.errors import UserError
from trainers.stage import STAGES, Stage

if TYPE_CHECKING:
    from trainers.models.arch_spec import ArchSpec
    from trainers.models.diffusion_model import DiffusionModel
    from trainers.run import Run
    from trainers.stage import Place


@STAGES.register("reconstruct")
@dataclass(frozen=True, kw_only=True)
class Reconstruct(Stage):
    """Refits all weights after ``prune``, ``group`` or ``mask`` by least squares, in seconds and without training.

    From the image to the output, each layer's weights W and bias b become those that minimise, over noisy images::

        |W x + b - y|^2 + ridge * mean(x^2) * |W - W_before|^2

    where x is what the layer is given in the compressed network, behind layers that are refitted already, and y what
    the teacher's layer gives for the same image, of the channels that are left (He et al. 2017, channel pruning, and
    Frantar & Alistarh 2022, for whole networks; there of classifiers). Norms get their scale and shift in the same way.
    Weights that a mask holds at zero stay zero, and groups stay groups, so no cost changes.

    It gives the teacher's layers back as far as they go: put it before the training stages, which take it from there.

    Args:
        images: Noisy images, each at another timestep, the timesteps evenly spread over all of them. All go through the
            network at once.
        ridge: How strongly weights are held to what they were. What is tuned afterwards ends lower with 0.1 than with
            0.01, which comes closer at once.
    """

    images: Annotated[int, Field(ge=1, le=2**16)] = 128
    ridge: Annotated[float, Field(ge=1e-6, le=1e6)] = 0.1

    def plan(self, spec: ArchSpec) -> ArchSpec:
        quantised = [name for name, layer in spec.layers.items() if layer.is_quantised]
        if quantised:
            raise UserError(f"{quantised[0]} is quantised already. Put reconstruct before quantize.")
        return spec

    def check_place(self, spec: ArchSpec, place: Place) -> None:
        if place.begun_anew:
            raise UserError(
                f"the student has new weights since {place.begun_anew}, and its layers are not the teacher's. "
                "Leave reconstruct out."
            )

    def apply(self, model: DiffusionModel, run: Run) -> DiffusionModel:
        from trainers.compression import _reconstruction

        return _reconstruction.reconstructed(self, model, run)
