"""What the time of a layer depends on: a few numbers per kind of layer, in which the device model is linear.

A model's time is then one weighted sum over its layers, so the numbers are summed first and weighted once.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from trainers.models.stored_bits import BLOCK

if TYPE_CHECKING:
    from trainers.models.arch_spec import ArchSpec, Attention, Layer

Terms = dict[str, list[float]]

#: Below so many input values and in one group, torch convolves a single image by unfolding it (one matrix product);
#: above, and with groups, through oneDNN, whose calls cost more and whose arithmetic costs less.
_UNFOLDED_LIMIT = 20_480


def terms_of(spec: ArchSpec, *, batch: int = 1) -> Terms:
    """The terms of one forward pass, summed by kind; to a layer, more images are more positions."""
    total: Terms = {}
    for layer in spec.layers.values():
        for kind, values in layer_terms(layer, batch=batch):
            _add(total, kind, values)
    for attention in spec.attentions:
        _add(total, *attention_terms(attention, width=spec.layers[attention.query].outputs, batch=batch))
    _add(total, "glue", glue_terms(spec, batch=batch))
    return total


def layer_terms(layer: Layer, *, batch: int = 1) -> list[tuple[str, list[float]]]:
    """Kinds and terms of one layer; a quantised one is restored first and then computed as any other."""
    if layer.kind == "constant":
        return []
    found = [_computing(layer, batch)]
    if layer.bits in (8, 4) and layer.format != "llm_int8" and not layer.is_cached:
        # A last block that is not full costs one operation more.
        found.append((f"restore_{layer.bits}", [1.0, layer.weights, float(layer.weights % BLOCK[layer.bits] > 0)]))
    return found


def attention_terms(attention: Attention, *, width: int, batch: int = 1) -> tuple[str, list[float]]:
    """Calls, scores and multiply-accumulates of the two products."""
    scores = attention.scores * batch
    return "attention", [1.0, scores * attention.heads, scores * width]


def glue_terms(spec: ArchSpec, *, batch: int = 1) -> list[float]:
    """What happens between the layers: the scheduler's step, and the Python, activations and sums around each norm.

    Every residual block has two norms and every attention one, so norms count the blocks.
    """
    norms = [layer for layer in spec.layers.values() if layer.is_norm]
    elements = sum(layer.outputs * layer.positions for layer in norms)
    return [1.0, len(norms), batch * elements, len(spec.attentions)]


def _computing(layer: Layer, batch: int) -> tuple[str, list[float]]:
    positions, macs = batch * layer.positions, batch * layer.macs
    read, written = layer.inputs * positions, layer.outputs * positions
    match layer.kind:
        case "linear":
            kind = "linear_int8" if layer.format == "llm_int8" else "linear"
            return kind, [1.0, macs, layer.weights, read + written]
        case "norm" if isinstance(layer.norm_groups, tuple):
            return "norm_flexible", [1.0, written, layer.outputs * len(layer.norm_groups)]
        case "norm" | "layer_norm":
            return layer.kind, [1.0, written]
        case "embedding":
            return "linear", [1.0, 0.0, 0.0, batch * layer.outputs]
        case "conv_transpose":
            kind = "conv_transposed_grouped" if layer.groups > 1 else "conv_transposed"
            return kind, [1.0, macs, layer.weights, read]
    kind = "conv_unfolded" if batch == 1 and read <= _UNFOLDED_LIMIT else "conv"
    if layer.groups > 1:
        kind = "conv_grouped" if layer.kernel > 1 else "conv_grouped_1x1"
    return kind, [1.0, macs, layer.weights, read * layer.kernel, written]


def _add(total: Terms, kind: str, values: list[float]) -> None:
    held = total.setdefault(kind, [0.0] * len(values))
    for index, value in enumerate(values):
        held[index] += value
