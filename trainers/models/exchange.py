"""The denoising network for other programs, ``denoiser.pt2`` of torch.export and ``denoiser.onnx``, checked as written.

Both hold one network evaluation, ``(image, timestep[, label]) -> prediction``, for any batch size, in float32: weights
in fewer bits are restored, since neither format has their codes. Sampling is a loop around it.
"""

from __future__ import annotations

import contextlib
import io
import logging
import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from tempfile import TemporaryDirectory

import torch
from torch import Tensor, nn

from trainers.models.building import assembled
from trainers.models.diffusers_folder import dense, restored
from trainers.models.diffusion_model import DiffusionModel
from trainers.models.group_norm import FlexibleGroupNorm

TOLERANCE = 1e-4
"""Of a written network's answers, relative to the largest of ours."""
_ONNX_PACKAGES = ("onnx", "onnxscript", "onnxruntime")
_INPUTS = ("image", "timestep", "label")


@dataclass(frozen=True)
class Exchange:
    """A file in an exchange format, or why there is none.

    Args:
        difference: From our own answers, the largest, relative to the largest answer; None where it was not written.
        rounding: The same of a model that multiplies 8-bit activations from itself in float32, which is what a file
            holds and ``difference`` is measured from; 0 of all others.
        reason: Why it was not written; empty where it was.
    """

    file: str
    difference: float | None = None
    rounding: float = 0.0
    reason: str = ""

    def __str__(self) -> str:
        if self.reason:
            return f"not written: {self.reason}"
        said = f"one evaluation of the network in float32; answers differ by {self.difference:.1g} at most"
        if not self.rounding:
            return said
        return f"{said}. The model itself multiplies 8-bit activations, which moves its answers by {self.rounding:.1g}"


def save_for_exchange(model: DiffusionModel, folder: Path) -> list[Exchange]:
    """Write the network into ``folder`` in each format that can express it; what answers otherwise is not kept."""
    for name in ("denoiser.pt2", "denoiser.onnx"):
        (folder / name).unlink(missing_ok=True)
    denoiser = Denoiser(model)
    made, other = _examples(model, batch=2, seed=0), _examples(model, batch=5, seed=1)
    with _quiet(), torch.no_grad():
        try:
            program = torch.export.export(denoiser, made, dynamic_shapes=tuple({0: _ANY} for _ in made))
        except Exception as error:  # What an operator raises that cannot be traced is nowhere listed.
            reason = f"torch.export cannot trace this network: {_first_line(error)}"
            return [Exchange("denoiser.pt2", reason=reason), Exchange("denoiser.onnx", reason=reason)]
        own, plain = _own_answer(model, *other), denoiser(*other)
        is_rounded = any(layer.format == "llm_int8" for layer in model.spec.layers.values())
        expected, rounding = (plain, _difference(own, plain)) if is_rounded else (own, 0.0)

        def pt2(path: Path) -> Tensor:
            torch.export.save(program, path)
            answer: Tensor = torch.export.load(path).module()(*other)
            return answer

        def onnx(path: Path) -> Tensor:
            return _onnx_answer(program, path, other)

        missing = [package for package in _ONNX_PACKAGES if find_spec(package) is None]
        found = [_written(folder / "denoiser.pt2", pt2, expected, rounding)]
        if missing:
            install = "`pip install -e '.[onnx]'` in the checkout of this program"
            reason = f"it needs {', '.join(missing)}: {install}, then give the same command again"
            return [*found, Exchange("denoiser.onnx", reason=reason)]
        return [*found, _written(folder / "denoiser.onnx", onnx, expected, rounding)]


class Denoiser(nn.Module):
    """A model's network as a function of tensors, on the CPU, its weights in float32 and its norms in plain operations.

    Args:
        model: Whose weights are copied.
    """

    def __init__(self, model: DiffusionModel) -> None:
        super().__init__()
        state = {name: tensor.detach().cpu().clone() for name, tensor in restored(model.net).items()}
        self.net = assembled(dense(model.spec), state)
        self.network = model.spec.network
        for name, norm in [*self.net.named_modules()]:
            if isinstance(norm, FlexibleGroupNorm):
                parent, _, attribute = name.rpartition(".")
                setattr(self.net.get_submodule(parent), attribute, PlainGroupNorm(norm))
        self.eval()

    def forward(self, image: Tensor, timestep: Tensor, label: Tensor | None = None) -> Tensor:
        """What the network predicts."""
        return self.network.call(self.net, image, timestep, label)


class PlainGroupNorm(nn.Module):
    """``FlexibleGroupNorm`` in operations that every format has: groups are averaged by a constant matrix.

    Args:
        norm: The one to take the place of.
    """

    average_CC: Tensor
    absent_C: Tensor

    def __init__(self, norm: FlexibleGroupNorm) -> None:
        super().__init__()
        group_C = torch.tensor([group for group, size in enumerate(norm.sizes) for _ in range(size)])
        counted_C = torch.tensor(norm.groups.over)[group_C]
        self.register_buffer("average_CC", (group_C[:, None] == group_C) / counted_C)
        self.register_buffer("absent_C", 1 - self.average_CC.sum(0))
        self.weight, self.bias, self.eps = norm.weight, norm.bias, norm.eps

    def forward(self, input_BCHW: Tensor) -> Tensor:
        """Normalised values, shaped like the input: (batch, channels, ...)."""
        flat_BCP = input_BCHW.flatten(2)
        mean_BC = flat_BCP.mean(2)
        variance_BC = (flat_BCP - mean_BC[:, :, None]).square().mean(2)
        of_group_BC = mean_BC @ self.average_CC
        variance_BC = (variance_BC + (mean_BC - of_group_BC).square()) @ self.average_CC
        # Channels that were removed but are counted lie the whole mean away from it.
        variance_BC = variance_BC + self.absent_C * of_group_BC.square()
        scale_BC = (variance_BC + self.eps).rsqrt() * self.weight
        output_BCP = (flat_BCP - of_group_BC[:, :, None]) * scale_BC[:, :, None] + self.bias[:, None]
        return output_BCP.reshape(input_BCHW.shape)


_ANY = torch.export.Dim.DYNAMIC


def _examples(model: DiffusionModel, *, batch: int, seed: int) -> tuple[Tensor, ...]:
    """Inputs of the network at random."""
    spec, generator = model.spec, torch.Generator().manual_seed(seed)
    image_BCHW = torch.randn(batch, spec.image_channels, spec.image_size, spec.image_size, generator=generator)
    timestep_B = torch.randint(spec.diffusion.steps, (batch,), generator=generator)
    if spec.diffusion.time != "discrete":
        timestep_B = timestep_B.float()
    if not spec.network.classes:
        return image_BCHW, timestep_B
    return image_BCHW, timestep_B, torch.randint(spec.network.classes, (batch,), generator=generator)


def _own_answer(model: DiffusionModel, image: Tensor, timestep: Tensor, label: Tensor | None = None) -> Tensor:
    return model.to("cpu").predict(image, timestep, label)


def _written(path: Path, write: Callable[[Path], Tensor], expected: Tensor, rounding: float) -> Exchange:
    """The file, moved into its place when what is read back from it answers as expected."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with TemporaryDirectory(dir=path.parent) as folder:
        temporary = Path(folder) / path.name
        try:
            difference = _difference(write(temporary), expected)
        except Exception as error:  # Three libraries' ways to say that an operator is unknown.
            return Exchange(path.name, reason=f"an operator cannot be written: {_first_line(error)}")
        if not difference <= TOLERANCE:
            return Exchange(path.name, reason=f"its answers differ by {difference:.1g}, more than {TOLERANCE:g}")
        temporary.replace(path)
    return Exchange(path.name, difference=difference, rounding=rounding)


def _onnx_answer(program: torch.export.ExportedProgram, path: Path, inputs: tuple[Tensor, ...]) -> Tensor:
    import onnxruntime

    made = torch.onnx.export(
        program, dynamo=True, verbose=False, input_names=_INPUTS[: len(inputs)], output_names=["prediction"]
    )
    assert made is not None
    # In one file, as long as ONNX allows it.
    made.save(path, external_data=False)
    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    given = {put.name: tensor.numpy() for put, tensor in zip(session.get_inputs(), inputs, strict=True)}
    return torch.from_numpy(session.run(None, given)[0])


def _difference(found: Tensor, expected: Tensor) -> float:
    return float((found - expected).abs().max() / expected.abs().max().clamp(min=1e-12))


def _first_line(error: Exception) -> str:
    return f"{type(error).__name__}: {str(error).strip().partition(chr(10))[0][:200]}"


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Within it, what exporters say of their own progress is not shown."""
    before = logging.root.manager.disable
    logging.disable(logging.WARNING)
    try:
        with warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()):
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.disable(before)
