"""Least squares of every layer in turn, during a single forward pass of the compressed network.

Legend: B images, P positions that are looked at in each, R = B * P rows, K weights per output, O outputs.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from trainers.compression._masking import with_counted_zeros
from trainers.compression.descent import NotDescendedError, query_scales, surviving
from trainers.errors import UserError
from trainers.models import float16
from trainers.models.building import assembled

if TYPE_CHECKING:
    from trainers.compression.reconstruct import Reconstruct
    from trainers.models.arch_spec import ArchSpec, Layer
    from trainers.models.diffusion_model import DiffusionModel
    from trainers.run import Run

_ROWS_PER_WEIGHT = 16
_ROWS = 2**15
"""Rows from which an output's weights are found: as many as both ask, or all there are."""
_MOST_VALUES = 2**24
"""Values of rows that are held at once."""
_UNLABELLED = 8
"""Of a network that also answers without labels, one image in so many has none."""
_ITERATIONS = 200
_CONVERGED = 1e-6


def reconstructed(stage: Reconstruct, model: DiffusionModel, run: Run) -> DiffusionModel:
    """The model with all its weights refitted to the outputs of the teacher's layers.

    Raises:
        UserError: when the model's layers are not the teacher's with channels removed.
        FloatingPointError: when an output is not finite.
    """
    try:
        left = surviving(model, run.teacher)
    except NotDescendedError as found:
        raise UserError(
            f"the student {found}. Only layers of the teacher can be reconstructed. Leave reconstruct out."
        ) from None
    inputs = _inputs(model.spec, run, stage.images)
    seen = _Seen(model.spec, run)
    scales = query_scales(run.teacher.spec, model.spec)
    targets: dict[str, Tensor] = {}

    def keep(name: str, layer: nn.Module, given: tuple[Any, ...], output: Tensor) -> None:
        channels = left.get((name, "out"))
        if channels is not None:
            axis = 1 if _is_channels_first(model.spec.layers[name]) else -1
            output = output.index_select(axis, channels.to(output.device))
        targets[name] = seen.rows(name, output) * scales.get(name, 1.0)

    def refit(name: str, layer: nn.Module, given: tuple[Any, ...], output: Tensor) -> Tensor | None:
        target_BPO, output_BPO = targets.pop(name), seen.rows(name, output)
        if not torch.isfinite(output_BPO).all() or not torch.isfinite(target_BPO).all():
            raise FloatingPointError(f"an output of {name} is not finite; the model has diverged")
        if torch.equal(target_BPO, output_BPO):
            return None  # Nothing before it or in it was compressed: it stays as it is, to the last bit.
        error_BPO = target_BPO - output_BPO
        if model.spec.layers[name].is_norm:
            _refit_norm(layer, output_BPO, target_BPO, stage.ridge)
        else:
            _refit_product(layer, given[0], error_BPO, seen.positions_BP[name], model.spec.layers[name], stage.ridge)
        refitted: Tensor = layer.forward(*given)
        return refitted

    names = [name for name, layer in model.spec.layers.items() if layer.is_product or layer.is_norm]
    with torch.no_grad():
        with _watched(run.teacher.net, names, keep):
            wanted = run.teacher.spec.network.call(run.teacher.net, *inputs)
        net = model.copy_of_net().eval()
        before = model.spec.network.call(net, *inputs)
        with _watched(net, names, refit):
            after = model.spec.network.call(net, *inputs)
    state = float16.rounded(model.spec, net.state_dict())
    # What is close to zero may be rounded to it.
    spec = with_counted_zeros(model.spec, state)
    note = {
        "what": "reconstruct layers",
        "asked": len(names),
        "achieved": len(names),
        "note": f"difference from the teacher's output {_difference(before, wanted):.0%} -> "
        f"{_difference(after, wanted):.0%}",
    }
    return model.after(stage, net=assembled(spec, state), spec=spec, notes=(note,))


@dataclass
class _Seen:
    """At which positions each layer is looked at: the same ones in both networks."""

    spec: ArchSpec
    run: Run
    positions_BP: dict[str, Tensor] = field(default_factory=dict)

    def rows(self, name: str, output: Tensor) -> Tensor:
        """Shape (B, P, O); of a norm, which is cheap to refit, all positions."""
        layer = self.spec.layers[name]
        if _is_channels_first(layer):
            output_BPO = output.flatten(2).movedim(1, 2)
        else:
            output_BPO = output if output.dim() == 3 else output[:, None]
        if name not in self.positions_BP:
            self.positions_BP[name] = self._drawn(name, layer, *output_BPO.shape[:2]).to(output.device)
        return output_BPO.take_along_dim(self.positions_BP[name][:, :, None], dim=1)

    def _drawn(self, name: str, layer: Layer, images: int, positions: int) -> Tensor:
        weights = layer.inputs // layer.groups * layer.kernel
        count = min(positions, math.ceil(max(_ROWS, _ROWS_PER_WEIGHT * weights) / images))
        if layer.is_norm or count == positions:
            return torch.arange(positions).expand(images, -1)
        order_BP = torch.rand(images, positions, generator=self.run.generator("positions", name)).argsort(dim=1)
        return order_BP[:, :count].sort(dim=1).values


def _refit_norm(norm: nn.Module, output_BPO: Tensor, target_BPO: Tensor, ridge: float) -> None:
    """Scale and shift of each channel, which is normalised in the compressed network as it is."""
    mean_O, wanted_O = output_BPO.mean(dim=(0, 1)), target_BPO.mean(dim=(0, 1))
    centred_BPO = output_BPO - mean_O
    variance_O = centred_BPO.square().mean(dim=(0, 1))
    covariance_O = (centred_BPO * (target_BPO - wanted_O)).mean(dim=(0, 1))
    # A channel that is always the same says nothing of its scale.
    scale_O = torch.where(variance_O > 0, (covariance_O + ridge * variance_O) / ((1 + ridge) * variance_O), 1.0)
    weight_O, bias_O = norm.weight, norm.bias
    assert isinstance(weight_O, Tensor) and isinstance(bias_O, Tensor)
    weight_O.mul_(scale_O)
    bias_O.mul_(scale_O).add_(wanted_O - scale_O * mean_O)


def _refit_product(
    module: nn.Module, given: Tensor, error_BPO: Tensor, positions_BP: Tensor, layer: Layer, ridge: float
) -> None:
    """Add to weights and bias what makes up for most of the error."""
    parameter, bias_O = module.weight, module.bias
    assert isinstance(parameter, Tensor) and isinstance(bias_O, Tensor | None)
    weight_OK = _by_output(parameter, layer)
    both_KO = weight_OK.T if bias_O is None else torch.cat((weight_OK.T, bias_O[None]))
    is_free_KO = both_KO != 0 if layer.zeros else None
    outputs, changed = layer.outputs // layer.groups, torch.zeros_like(weight_OK)
    for group in range(layer.groups):
        part = slice(group * outputs, (group + 1) * outputs)
        square, product = _normal_equations(module, given, error_BPO[..., part], positions_BP, layer, group)
        weights = weight_OK.shape[1]
        # Where all that it is given is zero, only the bias can change.
        square.diagonal()[:weights] += float(square.diagonal()[:weights].mean()) * ridge or 1.0
        if bias_O is None:
            square, product = square[:weights, :weights], product[:weights]
        found = _solved(square, product, None if is_free_KO is None else is_free_KO[:, part])
        changed[part] = found[:weights].T.to(changed)
        if bias_O is not None:
            bias_O[part] += found[weights].to(bias_O)
    parameter.copy_(_as_stored(weight_OK + changed, parameter, layer))


def _normal_equations(
    module: nn.Module, given: Tensor, error_BPO: Tensor, positions_BP: Tensor, layer: Layer, group: int
) -> tuple[Tensor, Tensor]:
    """Means of x x' and of x e' over all rows, x with a 1 behind it: shapes (K + 1, K + 1) and (K + 1, O)."""
    weights = layer.inputs // layer.groups * layer.kernel
    at_once = max(1, _MOST_VALUES // (weights * max(layer.positions, positions_BP.shape[1])))
    square = torch.zeros(weights + 1, weights + 1, dtype=torch.float64, device=given.device)
    product = torch.zeros(weights + 1, error_BPO.shape[-1], dtype=torch.float64, device=given.device)
    parts = zip(given.split(at_once), error_BPO.split(at_once), positions_BP.split(at_once), strict=True)
    for given_MX, error_MPO, positions_MP in parts:
        row_RK = _rows_given(module, given_MX, positions_MP, layer, group).double()
        row_RK = functional.pad(row_RK, (0, 1), value=1.0)
        square += row_RK.T @ row_RK
        product += row_RK.T @ error_MPO.flatten(0, 1).double()
    rows = error_BPO.shape[0] * error_BPO.shape[1]
    return square / rows, product / rows


def _rows_given(module: nn.Module, given: Tensor, positions_BP: Tensor, layer: Layer, group: int) -> Tensor:
    """What the outputs of a group are weighted sums of, one row for each position of each image."""
    if not layer.is_conv:
        given_BPK = given if given.dim() == 3 else given[:, None]
        return given_BPK.take_along_dim(positions_BP[:, :, None], dim=1).flatten(0, 1)
    given_BCHW = given.unflatten(1, (layer.groups, -1))[:, group]
    assert isinstance(module, nn.Conv2d | nn.ConvTranspose2d) and isinstance(module.padding, tuple)
    if isinstance(module, nn.ConvTranspose2d):
        patch_BKP = _unfolded_transposed(module, given_BCHW)
    else:
        patch_BKP = functional.unfold(given_BCHW, module.kernel_size, module.dilation, module.padding, module.stride)
    return patch_BKP.take_along_dim(positions_BP[:, None], dim=2).movedim(1, 2).flatten(0, 1)


def _unfolded_transposed(module: nn.ConvTranspose2d, given_BCHW: Tensor) -> Tensor:
    """As of the convolution that a transposed one is: of the image with zeros between its pixels, kernel turned."""
    assert isinstance(module.padding, tuple)
    rows, columns = module.stride
    height, width = given_BCHW.shape[2:]
    spread = given_BCHW.new_zeros(*given_BCHW.shape[:2], (height - 1) * rows + 1, (width - 1) * columns + 1)
    spread[:, :, ::rows, ::columns] = given_BCHW
    axes = zip(module.dilation, module.kernel_size, module.padding, strict=True)
    top, left = (dilation * (size - 1) - padding for dilation, size, padding in axes)
    below, right = module.output_padding
    spread = functional.pad(spread, (left, left + right, top, top + below))
    return functional.unfold(spread, module.kernel_size, module.dilation)


def _by_output(weight: Tensor, layer: Layer) -> Tensor:
    """Shape (O, K): one row for each output, K as in ``_rows_given``."""
    if layer.kind != "conv_transpose":
        return weight.flatten(1)
    # (inputs, outputs / groups, H, W), its kernel turned by half.
    turned = weight.unflatten(0, (layer.groups, -1)).transpose(1, 2).flip(-1, -2)
    return turned.flatten(0, 1).flatten(1)


def _as_stored(weight_OK: Tensor, like: Tensor, layer: Layer) -> Tensor:
    """The inverse of ``_by_output``."""
    if layer.kind != "conv_transpose":
        return weight_OK.view_as(like)
    inputs = layer.inputs // layer.groups
    turned = weight_OK.view(layer.groups, -1, inputs, *like.shape[2:]).flip(-1, -2)
    return turned.transpose(1, 2).reshape(like.shape)


def _solved(square: Tensor, product: Tensor, is_free: Tensor | None) -> Tensor:
    """The solution, one column for each output, in which only what is free differs from zero.

    With a mask every column has its own equations; conjugate gradients solve all of them at once.
    """
    if is_free is None:
        return torch.cholesky_solve(product, torch.linalg.cholesky(square))
    free = is_free.to(square).contiguous()
    # Preconditioned by the diagonal, which ridge keeps above zero.
    inverse = free / square.diagonal()[:, None]
    solution = torch.zeros_like(product)
    rest = product * free
    begun = rest.square().sum(dim=0)
    direction = step = inverse * rest
    energy = (rest * step).sum(dim=0)
    for _ in range(_ITERATIONS):
        bent = free * (square @ direction)
        length = energy / (direction * bent).sum(dim=0).clamp_min(1e-300)
        solution = solution + length * direction
        rest = rest - length * bent
        if bool((rest.square().sum(dim=0) <= _CONVERGED**2 * begun).all()):
            break
        step = inverse * rest
        energy, previous = (rest * step).sum(dim=0), energy
        direction = step + energy / previous.clamp_min(1e-300) * direction
    return solution


def _inputs(spec: ArchSpec, run: Run, count: int) -> tuple[Tensor, Tensor, Tensor | None]:
    """Noisy images, their timesteps, and labels where the network has classes."""
    generator = run.generator("images")
    image_BCHW, label_B = run.images.drawn(count, generator)
    noise_BCHW = torch.randn(image_BCHW.shape, generator=generator)
    timestep_B = torch.linspace(0, spec.diffusion.steps - 1, count).round().long()
    noisy_BCHW = spec.diffusion.noised(image_BCHW, noise_BCHW, timestep_B)
    if spec.network.unlabelled is not None:
        label_B[::_UNLABELLED] = spec.network.unlabelled
    labels = label_B.to(run.device) if spec.network.classes else None
    return noisy_BCHW.to(run.device), timestep_B.to(run.device), labels


def _is_channels_first(layer: Layer) -> bool:
    return layer.is_conv or layer.kind == "norm"


def _difference(output_BCHW: Tensor, wanted_BCHW: Tensor) -> float:
    return float((output_BCHW - wanted_BCHW).norm() / wanted_BCHW.norm().clamp_min(1e-12))


_Watcher = Callable[[str, nn.Module, tuple[Any, ...], Tensor], Tensor | None]


@contextmanager
def _watched(net: nn.Module, names: list[str], watch: _Watcher) -> Iterator[None]:
    """``watch`` sees what each layer is given and gives, the first time, and may say what it gives instead."""
    seen: set[str] = set()

    def hook_of(name: str) -> Callable[[nn.Module, tuple[Any, ...], Tensor], Tensor | None]:
        def hook(layer: nn.Module, given: tuple[Any, ...], output: Tensor) -> Tensor | None:
            if name in seen:
                return None
            seen.add(name)
            return watch(name, layer, given, output)

        return hook

    hooks = [net.get_submodule(name).register_forward_hook(hook_of(name)) for name in names]
    try:
        yield
    finally:
        for hook in hooks:
            hook.remove()
