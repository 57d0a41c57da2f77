"""ArchSpec: the single truth about an architecture, without weights.

Costs are computed from it, a network is built from it, and it is saved beside the weights as JSON.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field, replace
from typing import Any, Literal

from trainers.models.diffusion import Diffusion
from trainers.models.network import NETWORKS, Network

LayerKind = Literal["conv", "conv_transpose", "linear", "norm", "embedding"]


@dataclass(frozen=True, kw_only=True, slots=True)
class Layer:
    """One layer with weights.

    Args:
        kind: ``linear`` layers may be applied to many tokens; a ``norm`` is a group normalisation.
        inputs, outputs: Channels; of an embedding, rows and width; equal for a norm.
        kernel: Weights per pair of channels: 9 for a 3x3 convolution, 1 for a linear layer.
        groups: Of a convolution.
        bias: Whether there is one.
        positions: How often the kernel is applied in one forward pass of one image (output pixels, tokens).
        norm_groups: Of a norm: their number when they are equal, else the size of each (Flexible Group Normalization).
        bits: Of each stored weight; biases and norms stay in 32.
        format: Of quantised weights: ``int8`` (dynamic 8-bit map), ``nf4`` or ``fp4``; empty at 32 bits.
    """

    kind: LayerKind
    inputs: int
    outputs: int
    kernel: int = 1
    groups: int = 1
    bias: bool = True
    positions: int = 1
    norm_groups: int | tuple[int, ...] = 0
    bits: int = 32
    format: str = ""

    @property
    def weights(self) -> int:
        """Number of weights, without the bias."""
        if self.kind == "norm":
            return self.outputs
        return self.outputs * self.inputs * self.kernel // self.groups

    @property
    def parameters(self) -> int:
        """Number of weights and biases."""
        return self.weights + (self.outputs if self.bias else 0)

    @property
    def macs(self) -> int:
        """Multiply-accumulates of one forward pass of one image; only convolutions and linear layers have any."""
        return self.weights * self.positions if self.kind in ("conv", "conv_transpose", "linear") else 0


@dataclass(frozen=True, kw_only=True, slots=True)
class Attention:
    """One attention: its two matrix products cost 2 * tokens^2 * width MACs, width being the query layer's outputs."""

    query: str
    tokens: int
    heads: int


@dataclass(frozen=True, kw_only=True)
class ArchSpec:
    """An architecture, layer by layer, and how it is sampled.

    Args:
        network: Options of the network before anything was removed; building starts from them.
        layers: By name in the network, in the order in which they are run.
        attentions: Every attention.
        diffusion: Noise schedule and what the network predicts.
        sampling_steps: Forward passes for one generation.
    """

    network: Network
    layers: Mapping[str, Layer]
    attentions: tuple[Attention, ...] = ()
    diffusion: Diffusion = field(default_factory=Diffusion)
    sampling_steps: int = 1000

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

    def with_layers(self, changed: Mapping[str, Layer]) -> ArchSpec:
        """This spec with some layers replaced."""
        return replace(self, layers={**self.layers, **changed})

    def with_sampling_steps(self, steps: int) -> ArchSpec:
        """This spec sampled in another number of steps."""
        return replace(self, sampling_steps=steps)

    def map_layers(self, change: Callable[[str, Layer], Layer]) -> ArchSpec:
        """This spec with every layer passed through ``change(name, layer)``."""
        return replace(self, layers={name: change(name, layer) for name, layer in self.layers.items()})

    def structure(self) -> tuple[Any, ...]:
        """A hashable key of the network's structure, the same for equal structures; storage bits do not count."""
        shapes = (
            (name, layer.inputs, layer.outputs, layer.groups, layer.norm_groups) for name, layer in self.layers.items()
        )
        return (self.network, *shapes)

    def to_json(self) -> str:
        """One line of JSON; ``from_json`` reads it."""
        return json.dumps(
            {
                "network": NETWORKS.written(self.network),
                "layers": {name: _changed(layer) for name, layer in self.layers.items()},
                "attentions": [asdict(attention) for attention in self.attentions],
                "diffusion": asdict(self.diffusion),
                "sampling_steps": self.sampling_steps,
            },
            separators=(",", ":"),
        )

    @classmethod
    def from_json(cls, text: str) -> ArchSpec:
        """The spec that ``to_json`` wrote; everything is checked, nothing is executed.

        Raises:
            ValueError: when it is not such a text.
        """
        from pydantic import TypeAdapter

        written = json.loads(text)
        if not isinstance(written, dict):
            raise ValueError("an architecture must be a JSON object")
        return cls(
            network=NETWORKS.parse(written.get("network")),
            layers=TypeAdapter(dict[str, Layer]).validate_python(written.get("layers")),
            attentions=TypeAdapter(tuple[Attention, ...]).validate_python(written.get("attentions")),
            diffusion=TypeAdapter(Diffusion).validate_python(written.get("diffusion")),
            sampling_steps=TypeAdapter(int).validate_python(written.get("sampling_steps")),
        )


def _changed(layer: Layer) -> dict[str, Any]:
    standard = Layer(kind=layer.kind, inputs=0, outputs=0)
    return {"kind": layer.kind} | {
        name: value for name, value in asdict(layer).items() if value != getattr(standard, name)
    }
