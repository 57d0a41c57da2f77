"""bitsandbytes reads the 4-bit linear layers of our files, and we read what was written before it could."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from trainers.errors import UserError
from trainers.models import files
from trainers.models.diffusion_model import DiffusionModel
from trainers.models.quantized import QuantizedLinear
from trainers.models.stored_bits import description
from trainers.recipe import Recipe
from trainers.run import Run


def in_4_bits(run: Run, format: str) -> DiffusionModel:
    return Recipe.parse([{"quantize": {"bits": 4, "format": format}}]).run(run)


def linear_layers(model: DiffusionModel) -> dict[str, QuantizedLinear]:
    return {name: layer for name, layer in model.net.named_modules() if isinstance(layer, QuantizedLinear)}


@pytest.mark.parametrize("format", ["nf4", "fp4"])
def test_bitsandbytes_makes_the_same_weight_of_a_file(run: Run, tmp_path: Path, format: str) -> None:
    from bitsandbytes.functional import dequantize_4bit
    from bitsandbytes.nn import Params4bit

    model = in_4_bits(run, format)
    files.save(model, tmp_path)
    held = load_file(tmp_path / files.FILE)
    layers = linear_layers(model)
    assert layers
    for name, layer in layers.items():
        state = {key: tensor for key, tensor in held.items() if key.startswith(f"{name}.weight.")}
        weight = Params4bit.from_prequantized(held[f"{name}.weight"], state, device="cpu")
        expected = layer.weight.restore()
        assert weight.quant_state.shape == expected.shape
        # On a CPU bitsandbytes 0.50 takes wrong scales unless rows are whole blocks; one row is read right.
        weight.quant_state.shape = torch.Size([expected.numel()])
        restored = dequantize_4bit(weight.data, weight.quant_state)
        assert torch.equal(restored.flatten(), expected.flatten())


def test_the_description_is_json(run: Run) -> None:
    model = in_4_bits(run, "nf4")
    name = next(iter(linear_layers(model)))
    layer = model.spec.layers[name]
    assert json.loads(description(layer)) == {
        "quant_type": "nf4",
        "blocksize": 64,
        "dtype": "float32",
        "shape": [layer.outputs, layer.inputs],
    }


def test_files_without_descriptions_still_load(run: Run, tmp_path: Path) -> None:
    model = in_4_bits(run, "nf4")
    _, metadata = files.packed(model)
    save_file(model.net.state_dict(), tmp_path / files.FILE, metadata=metadata)
    assert files.load(tmp_path).fingerprint() == model.fingerprint()


def test_another_table_of_values_is_refused(run: Run, tmp_path: Path) -> None:
    model = in_4_bits(run, "nf4")
    state, metadata = files.packed(model)
    name = next(key for key in state if key.endswith(".quant_map"))
    save_file({**state, name: state[name] * 2}, tmp_path / files.FILE, metadata=metadata)
    with pytest.raises(UserError, match=re.escape(f"{name.removesuffix('.quant_map')} is described as something else")):
        files.load(tmp_path)
