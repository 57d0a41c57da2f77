"""ArchSpec: the single truth about an architecture, without weights.

Costs are computed from it, a network is built from it, and it is saved beside the weights as JSON.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, fields, replace
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, Field, PositiveInt

from trainers.models.diffusion import Diffusion
from trainers.models.network import NETWORKS, Network
from trainers.models.samplers.ddim import Ddim
from trainers.models.samplers.sampler import SAMPLERS, Sampler
from trainers.written import reader

# Of anything that is counted; what is larger is no network, and would take hours or all memory to build.
_MOST = 2**32
_Count = Annotated[int, Field(ge=0, le=_MOST)]

_Guidance = Annotated[float, Field(ge=0, allow_inf_nan=False)]


def _storable(bits: int) -> int:
    if bits not in (32, 16, 8, 4):
        raise ValueError(f"no weight is stored in {bits} bits")
    return bits


LayerKind = Literal["conv", "conv_transpose", "linear", "norm", "layer_norm", "embedding", "constant"]


@dataclass(frozen=True, kw_only=True)
class Layer:
    """One layer with weights.

    Args:
        kind: ``linear`` layers may be applied to many tokens; a ``norm`` is a group normalisation, a ``layer_norm`` one
            over the channels of each token; a ``constant`` holds numbers that are never trained.
        inputs, outputs: Channels; of an embedding, rows and width; equal for a norm; of a constant, 0 and how many.
        kernel: Weights per pair of channels: 9 for a 3x3 convolution, 1 for a linear layer.
        groups: Of a convolution.
        bias: Whether there is one.
        positions: How often the kernel is applied in one forward pass of one image: output pixels, tokens, and of a
            transposed convolution input pixels.
        norm_groups: Of a norm: their number when they are equal whichever channels went, else the size of each
            (Flexible Group Normalization).
        norm_over: Of a norm with "zeroed" statistics: the channels that each group counts, removed ones included, as if
            they were there and zero. Empty: those present ("proper").
        bits: Of each stored weight: 32, 16, 8 or 4.
        bias_bits: Of each stored bias: 32 or 16.
        format: Of weights below 32 bits: ``fp16``, ``int8`` (dynamic 8-bit map in blocks), ``llm_int8`` (rows with one
            scale each, multiplied with int8 activations), ``nf4`` or ``fp4``; empty at 32 bits.
        is_cached: Quantised weights are restored once, at first use, instead of at each call.
        zeros: Share of weights and biases that are exactly 0, and stay so in training (masks).
    """

    kind: LayerKind
    inputs: _Count
    outputs: Annotated[int, Field(ge=1, le=_MOST)]
    kernel: Annotated[int, Field(ge=1, le=_MOST)] = 1
    groups: Annotated[int, Field(ge=1, le=_MOST)] = 1
    bias: bool = True
    positions: _Count = 1
    norm_groups: _Count | tuple[_Count, ...] = 0
    norm_over: tuple[_Count, ...] = ()
    bits: Annotated[int, AfterValidator(_storable)] = 32
    bias_bits: Annotated[int, AfterValidator(_storable)] = 32
    format: Annotated[str, Field(pattern="^(|fp16|int8|llm_int8|nf4|fp4)$")] = ""
    is_cached: bool = False
    zeros: Annotated[float, Field(ge=0, le=1)] = 0.0

    def but(self, **changes: Any) -> Layer:
        """This layer with some fields changed.

        As ``dataclasses.replace``, but copied whole: a search plans thousands of candidates, layer by layer.

        Raises:
            TypeError: when there is no such field.
        """
        changed = object.__new__(Layer)
        changed.__dict__.update(self.__dict__, **changes)
        if len(changed.__dict__) != len(self.__dict__):
            raise TypeError(f"a layer has no {', '.join(changes.keys() - self.__dict__.keys())}")
        return changed

    @property
    def weights(self) -> int:
        """Number of weights, without the bias."""
        if self.kind == "constant":
            return 0
        if self.is_norm:
            return self.outputs
        return self.outputs * self.inputs * self.kernel // self.groups

    @property
    def parameters(self) -> int:
        """Number of weights and biases."""
        return self.weights + (self.outputs if self.bias else 0)

    @property
    def macs(self) -> int:
        """Multiply-accumulates of one forward pass of one image; only convolutions and linear layers have any."""
        return self.weights * self.positions if self.is_product else 0

    @property
    def equal_norm_groups(self) -> int:
        """How many groups a norm has, as ``nn.GroupNorm`` counts them; 0 when they are uneven or count what is gone."""
        if isinstance(self.norm_groups, int):
            return 0 if self.norm_over else self.norm_groups
        is_even = len(set(self.norm_groups)) == 1 and self.norm_over in ((), self.norm_groups)
        return len(self.norm_groups) if is_even else 0

    @property
    def is_norm(self) -> bool:
        """Whether it scales and shifts channels."""
        return self.kind in ("norm", "layer_norm")

    @property
    def is_conv(self) -> bool:
        """Whether it is a convolution, transposed or not."""
        return self.kind in ("conv", "conv_transpose")

    @property
    def is_product(self) -> bool:
        """Whether its weights multiply: convolutions and linear layers."""
        return self.kind in ("conv", "conv_transpose", "linear")

    @property
    def is_quantised(self) -> bool:
        """Whether its weights are stored as codes, not as numbers of 32 or 16 bits."""
        return self.bits < 16

    @property
    def output_axis(self) -> int:
        """The axis of the weight tensor that holds the output channels."""
        return 1 if self.kind in ("conv_transpose", "embedding") else 0


@dataclass(frozen=True, kw_only=True, slots=True)
class Attention:
    """One attention: its two matrix products cost 2 * tokens * keys * width MACs, width being the query's outputs.

    Args:
        query: The layer that makes the queries.
        tokens: Queries of one image.
        heads: That share the width equally.
        keys: Tokens that are attended to; 0: the queries' own.
    """

    query: str
    tokens: _Count
    heads: Annotated[int, Field(ge=1, le=_MOST)]
    keys: _Count = 0

    @property
    def scores(self) -> int:
        """Pairs of a query and a key, in one head."""
        return self.tokens * (self.keys or self.tokens)


@dataclass(frozen=True, kw_only=True)
class ArchSpec:
    """An architecture, layer by layer, and how it is sampled.

    Args:
        network: Options of the network before anything was removed; building starts from them.
        layers: By name in the network, in the order in which they are run.
        attentions: Every attention.
        diffusion: Noise schedule and what the network predicts.
        sampling_steps: Steps of the sampler for one generation.
        sampler: How images are drawn.
        guidance: Of a class-conditional network: how far beyond its prediction without labels; 1 is none.
    """

    network: Network
    layers: Mapping[str, Layer]
    attentions: tuple[Attention, ...] = ()
    diffusion: Diffusion = field(default_factory=Diffusion)
    sampling_steps: int = 1000
    sampler: Sampler = field(default_factory=Ddim)
    guidance: float = 1.0

    @property
    def image_size(self) -> int:
        """Height and width of the images."""
        assert self.network.image_size is not None
        return self.network.image_size

    @property
    def image_channels(self) -> int:
        """1 for grey, 3 for colour."""
        assert self.network.image_channels is not None
        return self.network.image_channels

    @property
    def evaluations(self) -> float:
        """Forward passes of one image for one generation; with guidance, each step takes two."""
        is_guided = self.guidance != 1 and self.network.classes > 0
        return self.sampler.evaluations(self.sampling_steps) * (2 if is_guided else 1)

    def with_layers(self, changed: Mapping[str, Layer]) -> ArchSpec:
        """This spec with some layers replaced."""
        return replace(self, layers={**self.layers, **changed})

    def with_sampling_steps(self, steps: int) -> ArchSpec:
        """This spec sampled in another number of steps."""
        return replace(self, sampling_steps=steps)

    def drawing_mistakes(self) -> list[str]:
        """Why images cannot be drawn in this way, each beginning with the option at fault; empty when they can."""
        name = SAMPLERS.name_of(self.sampler)
        found = [f"sampler: {name}: {mistake}" for mistake in self.sampler.mistakes(self.diffusion)]
        if self.guidance != 1 and self.network.unlabelled is None:
            found.append(
                f"guidance: {self.guidance} needs a network that also answers without labels. "
                "Use guided_unet with classes, or leave guidance at 1."
            )
        if self.sampling_steps > self.diffusion.steps:
            found.append(
                f"sampling_steps: {self.sampling_steps} is more than the {self.diffusion.steps} timesteps of the "
                f"process. Give at most {self.diffusion.steps}."
            )
        return found

    def map_layers(self, change: Callable[[str, Layer], Layer]) -> ArchSpec:
        """This spec with every layer passed through ``change(name, layer)``."""
        return replace(self, layers={name: change(name, layer) for name, layer in self.layers.items()})

    def known_ahead(self) -> ArchSpec:
        """This spec without what only scores decide: which channels share a norm group, and where zeros are.

        The planned spec and that of the built model are then equal.
        """
        return self.map_layers(lambda name, layer: layer.but(norm_groups=0, norm_over=(), zeros=0.0))

    def structure(self) -> tuple[Any, ...]:
        """A hashable key of the network's structure, the same for equal structures; storage bits do not count."""
        shapes = (
            (name, layer.inputs, layer.outputs, layer.groups, layer.norm_groups) for name, layer in self.layers.items()
        )
        return (self.network, self.attentions, *shapes)

    def to_json(self) -> str:
        """One line of JSON; ``from_json`` reads it."""
        return json.dumps(
            {
                "network": NETWORKS.written(self.network),
                "layers": {name: _changed(layer) for name, layer in self.layers.items()},
                "attentions": [_changed(attention) for attention in self.attentions],
                "diffusion": self.diffusion.written(),
                "sampling_steps": self.sampling_steps,
                "sampler": SAMPLERS.written(self.sampler),
                "guidance": self.guidance,
            },
            separators=(",", ":"),
        )

    @classmethod
    def from_json(cls, text: str) -> ArchSpec:
        """The spec that ``to_json`` wrote; everything is checked, nothing is executed.

        Raises:
            ValueError: when it is not such a text.
        """
        written = json.loads(text, parse_constant=_refuse)
        if not isinstance(written, dict):
            raise ValueError("an architecture must be a JSON object")
        spec = cls(
            network=NETWORKS.parse(written.get("network")),
            layers=reader(dict[str, Layer])(written.get("layers")),
            attentions=reader(tuple[Attention, ...])(written.get("attentions")),
            diffusion=reader(Diffusion)(written.get("diffusion")),
            sampling_steps=reader(PositiveInt)(written.get("sampling_steps")),
            sampler=SAMPLERS.parse(written.get("sampler", "ddim")),
            guidance=reader(_Guidance)(written.get("guidance", 1.0)),
        )
        if mistakes := spec._contradictions():
            raise ValueError(mistakes[0])
        return spec

    def _contradictions(self) -> list[str]:
        """What an architecture that was read says against itself."""
        network = self.network
        if network.image_size is None or network.image_channels is None:
            return ["its network does not say how large its images are"]
        widths = {name: layer.outputs for name, layer in self.layers.items()}
        uneven = [each.query for each in self.attentions if widths.get(each.query, 1) % each.heads]
        return [
            *network.mistakes(),
            *self.drawing_mistakes(),
            *(f"the heads of {query!r} do not divide its width" for query in uneven),
        ]


def _refuse(constant: str) -> None:
    raise ValueError(f"{constant} is no number of an architecture")


def _changed(piece: Layer | Attention) -> dict[str, Any]:
    """The fields that differ from their defaults."""
    return {field.name: value for field in fields(piece) if (value := getattr(piece, field.name)) != field.default}
