"""What an architecture costs, known before anything is trained: sums over the layers of its ArchSpec.

They are equal to what the built model has, to the last parameter and byte. Together they take well under a millisecond
for the 164 layers of the CIFAR-10 teacher, so that a search can ask for them at every candidate it thinks of.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from trainers.models.arch_spec import ArchSpec

_FLOAT_BYTES = 4


def parameters(spec: ArchSpec) -> int:
    """Weights and biases, whatever they are stored in; the scales of quantised weights are no parameters."""
    return sum(layer.parameters for layer in spec.layers.values())


def stored_bytes(spec: ArchSpec) -> int:
    """Bytes of the stored tensors: weights at their bits with their scales, biases and norms at 4 bytes a value.

    The few kilobytes of metadata that a model file has besides are not counted.
    """
    # Inside the function, because the module of the quantised layers imports torch.
    from trainers.models.quantized import stored_bytes as bytes_of_weights

    weights = sum(bytes_of_weights(layer.weights, layer.bits) for layer in spec.layers.values())
    biases = sum(layer.outputs for layer in spec.layers.values() if layer.bias)
    return weights + _FLOAT_BYTES * biases


def macs(spec: ArchSpec) -> int:
    """Multiply-accumulates of convolutions and linear layers in one forward pass of one image."""
    return sum(layer.macs for layer in spec.layers.values())


def attention_macs(spec: ArchSpec) -> int:
    """Multiply-accumulates of the two matrix products of every attention, in one forward pass of one image."""
    return sum(2 * attention.tokens**2 * spec.layers[attention.query].outputs for attention in spec.attentions)
