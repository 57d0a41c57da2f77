"""How large a model file will be, known from its architecture alone."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from trainers.models.stored_bits import StoredTensor, stored_tensors

if TYPE_CHECKING:
    from trainers.models.arch_spec import ArchSpec

# safetensors writes the widest type first, so that every tensor starts at a multiple of its width.
_ORDER = ("F32", "F16", "I8", "U8")
_ALIGNMENT = 8


def file_bytes(spec: ArchSpec) -> int:
    """Bytes of the safetensors file with these tensors: its header, the scales and all values.

    What our files hold besides is not counted: the architecture, log and notes in the metadata, some ten kilobytes.
    """
    tensors = sorted(stored_tensors(spec), key=lambda tensor: (_ORDER.index(tensor.type), tensor.name))
    return _header_bytes(tensors) + sum(tensor.nbytes for tensor in tensors)


def _header_bytes(tensors: list[StoredTensor]) -> int:
    """The length of the header in eight bytes, and the header itself, filled up with spaces."""
    entries, begin = {}, 0
    for tensor in tensors:
        end = begin + tensor.nbytes
        entries[tensor.name] = {"dtype": tensor.type, "shape": tensor.shape, "data_offsets": (begin, end)}
        begin = end
    length = len(json.dumps(entries, separators=(",", ":")).encode())
    return 8 + -(-length // _ALIGNMENT) * _ALIGNMENT
