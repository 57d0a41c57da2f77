"""A model as a folder that diffusers opens without Slimfront, where diffusers can express it."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from torch import Tensor, nn

from trainers.errors import UserError
from trainers.models.arch_spec import ArchSpec, Layer
from trainers.models.building import assembled
from trainers.models.diffusion_model import DiffusionModel
from trainers.models.networks.unet import Unet
from trainers.models.quantized import QuantizedWeight
from trainers.models.samplers.ddim import Ddim, scheduler_of
from trainers.models.samplers.sampler import SAMPLERS
from trainers.models.tracing import spec_of

if TYPE_CHECKING:
    from diffusers import ModelMixin

    from trainers.data.dataset import Decoder


def save_for_diffusers(model: DiffusionModel, folder: Path, *, decoder: Decoder | None = None) -> str:
    """Write what a pipeline of diffusers opens: ``unet`` and ``scheduler``, which draws as the model does where it can.

    Of a network with labels, or of latents, only the parts: those pipelines ask for no labels, and decode nothing.
    Weights in fewer bits are restored to float32 first: diffusers has no place for the codes.

    Args:
        decoder: Makes pixels of the latents that the model draws, and is written, too; None where it draws pixels.

    Returns:
        How diffusers opens it, and whether it draws as the model does.

    Raises:
        UserError: saying what diffusers' network cannot express, such as a block whose inner width differs.
    """
    spec = dense(model.spec)
    network = expressible(spec)
    if not spec.diffusion.preserves_variance:
        raise UserError("no scheduler of diffusers adds noise as the schedule ve does.")
    state = {name: tensor.detach().cpu() for name, tensor in restored(model.net).items()}
    net = cast("ModelMixin", assembled(replace(spec, network=network), state))
    own = spec.sampler.scheduler(spec.diffusion, spec.sampling_steps)
    scheduler = own or scheduler_of(spec.diffusion)
    other = (
        "" if own else f", by diffusers' DDIM: not as {SAMPLERS.name_of(spec.sampler)} here, of which the figures are"
    )
    if network.classes or decoder is not None:
        net.save_pretrained(folder / "unet")
        scheduler.save_pretrained(folder / "scheduler")
        opener = 'UNet2DModel.from_pretrained(folder, subfolder="unet")'
        if decoder is None:
            return f"{opener}: no pipeline of diffusers asks for labels"
        return f"{opener}, and for its latents {decoder.save_for_diffusers(folder)}: without a pipeline"
    pipeline = _pipeline(net, scheduler)
    pipeline.save_pretrained(folder)
    eta = f" with eta {spec.sampler.eta:g}" if own and isinstance(spec.sampler, Ddim) and spec.sampler.eta else ""
    return f"{type(pipeline).__name__}.from_pretrained(folder), {spec.sampling_steps} inference steps{eta}{other}"


def _pipeline(net: ModelMixin, scheduler: Any) -> Any:
    """That of DDIM for its scheduler; that of DDPM takes any other, and draws by it."""
    from diffusers.pipelines.ddim.pipeline_ddim import DDIMPipeline
    from diffusers.pipelines.ddpm.pipeline_ddpm import DDPMPipeline
    from diffusers.schedulers.scheduling_ddim import DDIMScheduler

    kind = DDIMPipeline if isinstance(scheduler, DDIMScheduler) else DDPMPipeline
    return kind(unet=net, scheduler=scheduler)


def expressible(spec: ArchSpec) -> Unet:
    """Options with which diffusers builds exactly this network.

    Raises:
        UserError: when there are none; it names the first layer that differs.
    """
    network = spec.network
    if not isinstance(network, Unet):
        raise UserError("diffusers' UNet2DModel is another network than this one. Load it with trainers.models.files.")
    widths = tuple(
        spec.layers[f"down_blocks.{level}.resnets.0.conv2"].outputs for level in range(len(network.channels))
    )
    heads = {attention.query: attention.heads for attention in spec.attentions}
    head_dims = {spec.layers[query].outputs // count for query, count in heads.items() if count > 1}
    candidate = replace(
        network,
        channels=widths,
        norm_groups=spec.layers["conv_norm_out"].equal_norm_groups or network.norm_groups,
        head_dim=head_dims.pop() if len(head_dims) == 1 else network.head_dim,
    )
    mistakes = candidate.mistakes()
    if mistakes:
        raise UserError(f"diffusers' UNet2DModel cannot express this network: {mistakes[0]}")
    built = spec_of(candidate, sampling_steps=spec.sampling_steps)
    for name, layer in spec.layers.items():
        difference = _difference(layer, built.layers[name])
        if difference:
            raise UserError(f"diffusers' UNet2DModel cannot express this network: {name} {difference}.")
    if built.attentions != spec.attentions:
        raise UserError("diffusers' UNet2DModel cannot express this network: its attentions differ in width per head.")
    return candidate


def dense(spec: ArchSpec) -> ArchSpec:
    """The same architecture with every weight in 32 bits."""
    return spec.map_layers(lambda name, layer: layer.but(bits=32, bias_bits=32, format="", is_cached=False, zeros=0.0))


def _difference(layer: Layer, built: Layer) -> str:
    if isinstance(layer.norm_groups, tuple) and not layer.equal_norm_groups:
        return f"has uneven norm groups ({min(layer.norm_groups)} to {max(layer.norm_groups)} channels)"
    for what in ("inputs", "outputs", "groups", "equal_norm_groups"):
        found, wanted = getattr(layer, what), getattr(built, what)
        if found != wanted:
            return f"has {found} {what.replace('_', ' ')} where only {wanted} fit the widths of its block"
    return ""


def restored(net: nn.Module) -> dict[str, Tensor]:
    """The state of a network with quantised weights in float32, under the names of dense layers."""
    weights = {name: module.restore() for name, module in net.named_modules() if isinstance(module, QuantizedWeight)}
    others = {
        name: tensor
        for name, tensor in net.state_dict().items()
        if not name.startswith(tuple(f"{w}." for w in weights))
    }
    return {**others, **weights}
