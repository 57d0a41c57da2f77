"""What an architecture costs, known before anything is trained: sums over the layers of its ArchSpec.

They are equal to what the built model has, to the last parameter and byte. Together they take well under a millisecond
for the 164 layers of the CIFAR-10 teacher, so that a search can ask for them at every candidate it thinks of.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from trainers.models.stored_bits import bias_bytes, state_bytes, weight_bytes

if TYPE_CHECKING:
    from trainers.models.arch_spec import ArchSpec


def parameters(spec: ArchSpec) -> int:
    """Weights and biases, whatever they are stored in; scales of quantised weights and constants are no parameters."""
    return sum(layer.parameters for layer in spec.layers.values())


def stored_bytes(spec: ArchSpec) -> int:
    """Bytes of the stored tensors: weights and biases at their bits, what restores quantised weights, constants.

    The few kilobytes of header and metadata that a model file has besides are not counted; see ``file_bytes`` in
    ``trainers.models.file_size``.
    """
    return stored_bytes_without_state(spec) + sum(state_bytes(layer) for layer in spec.layers.values())


def stored_bytes_without_state(spec: ArchSpec) -> int:
    """Bytes of the stored tensors without what restores quantised weights, as some published sizes count."""
    return sum(weight_bytes(layer) + bias_bytes(layer) for layer in spec.layers.values())


def macs(spec: ArchSpec) -> int:
    """Multiply-accumulates of convolutions and linear layers in one forward pass of one image."""
    return sum(layer.macs for layer in spec.layers.values())


def attention_macs(spec: ArchSpec) -> int:
    """Multiply-accumulates of the two matrix products of every attention, in one forward pass of one image."""
    return sum(2 * attention.scores * spec.layers[attention.query].outputs for attention in spec.attentions)
