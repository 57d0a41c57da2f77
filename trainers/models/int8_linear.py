"""Linear layers that multiply int8 weights by int8 activations (LLM.int8(), Dettmers et al. 2022), in bitsandbytes."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from torch import Tensor, nn

from trainers.models.quantized import empty_bias

if TYPE_CHECKING:
    from trainers.models.quantized import QuantizedWeight


class Int8Linear(nn.Module):
    """What ``bitsandbytes.nn.Linear8bitLt`` computes without outliers (its threshold 0), from tensors of our own.

    Each row of activations is quantised when it comes, by its largest value. Linear8bitLt itself quantises when it is
    moved to a device, so it can be neither built on the meta device nor loaded by name. In training, bitsandbytes
    multiplies by the restored weight in float32 on a CPU, and by int8 activations on a GPU.

    Args:
        dense: The layer to take sizes from; its weight is not read.
        weight: Of the same shape, in the format ``llm_int8``.
    """

    def __init__(self, dense: nn.Linear, weight: QuantizedWeight) -> None:
        super().__init__()
        self.in_features, self.out_features = dense.in_features, dense.out_features
        self.weight = weight
        self.bias = empty_bias(dense)

    def forward(self, input: Tensor) -> Tensor:
        """The product, in the input's precision."""
        from bitsandbytes import MatmulLtState, matmul

        # At every call it says that float32 activations are rounded to float16 before they are quantised.
        logging.getLogger("bitsandbytes.autograd._functions").setLevel(logging.ERROR)
        state = MatmulLtState()
        state.CB, state.SCB = self.weight.code, self.weight.scale
        state.has_fp16_weights, state.is_training = False, self.training
        bias = None if self.bias is None else self.bias.to(input.dtype)
        # As one list of rows: the gradient of its bias is wrong for inputs of three axes.
        product = matmul(input.reshape(-1, self.in_features), self.weight.code, bias=bias, state=state)
        return product.view(*input.shape[:-1], self.out_features)
