"""Saved models come back bit for bit, also in a fresh process, and nothing else is accepted."""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from safetensors.torch import save as to_bytes

from objectives import costs
from trainers.errors import UserError
from trainers.models import files
from trainers.models.arch_spec import ArchSpec
from trainers.models.diffusion_model import DiffusionModel
from trainers.models.file_size import file_bytes
from trainers.models.networks.unet import Unet
from trainers.models.stored_bits import stored_tensors
from trainers.models.tracing import spec_of
from trainers.recipe import Recipe
from trainers.run import Run, TrainingState
from trainers.stage import STAGES
from trainers.states import load_state, save_state

COMPRESSED = [
    {"prune": {"ratio": 0.4, "rule": "flexible", "criterion": "magnitude"}},
    {"group": {"groups": 2}},
    {"distil": {"sampling_steps": 3}},
    {"quantize": {"bits": 4}},
]
STORED = {
    "half": [{"bits": 16}],
    "int8": [{"bits": 8}],
    "int8, the rest half": [{"bits": 8, "rest": 16, "dequantise_once": True}],
    "int8 activations": [{"bits": 8, "layers": "linear", "rest": 16, "activations": 8}],
    "nf4": [{"bits": 4, "dequantise_once": True}],
    "fp4": [{"bits": 4, "format": "fp4", "layers": "linear"}],
    "mixed": [{"bits": 4, "where": "mid*"}, {"bits": 8, "activations": 8, "skip": "down_0"}, {"bits": 16}],
}
FRESH = """
import sys, torch
torch.set_num_threads(1)  # as the tests: sums are split by thread
from trainers.models import files
image, timestep = torch.load(sys.argv[1], weights_only=True)
for folder in sys.argv[2:]:
    model = files.load(folder)
    with torch.no_grad():
        torch.save(model.predict(image, timestep), folder + "/output")
"""


def stored(run: Run, storage: str) -> DiffusionModel:
    return Recipe.parse([{"quantize": options} for options in STORED[storage]]).run(run)


def test_models_load_in_a_fresh_process_bit_for_bit(run: Run, tmp_path: Path) -> None:
    models = {"compressed": Recipe.parse(COMPRESSED).run(run)} | {name: stored(run, name) for name in STORED}
    inputs = (torch.randn(2, 1, 8, 8), torch.tensor([3, 700]))
    torch.save(inputs, tmp_path / "inputs")
    for name, model in models.items():
        files.save(model, tmp_path / name)
    folders = [tmp_path / name for name in models]
    subprocess.run([sys.executable, "-c", FRESH, tmp_path / "inputs", *folders], check=True)
    for name, model in models.items():
        with torch.no_grad():
            expected = model.predict(*inputs)
        assert torch.equal(torch.load(tmp_path / name / "output", weights_only=True), expected), name
        loaded = files.load(tmp_path / name)
        assert loaded.spec == model.spec and loaded.fingerprint() == model.fingerprint()
        assert loaded.log == model.log and loaded.notes == model.notes


def test_what_is_loaded_lies_in_memory_as_what_is_made(run: Run, tmp_path: Path) -> None:
    """Kernels of a CPU round otherwise where it does not, and a single image is answered otherwise."""
    model = Recipe.parse(COMPRESSED).run(run)
    files.save(model, tmp_path)
    save_state(TrainingState(model=model, stage=0, images=1, tensors={"moment": torch.ones(3)}), tmp_path)
    state = load_state(tmp_path)
    assert state is not None
    for loaded in (files.load(tmp_path), state.model):
        assert {tensor.data_ptr() % 64 for tensor in loaded.net.state_dict().values()} == {0}


@pytest.mark.parametrize("storage", STORED)
def test_sizes_on_disk_are_known_from_the_architecture(run: Run, tmp_path: Path, storage: str) -> None:
    model = stored(run, storage)
    tensors, metadata = files.packed(model)
    assert sum(tensor.nbytes for tensor in tensors.values()) == costs.stored_bytes(model.spec)
    types = {"F32": torch.float32, "F16": torch.float16, "I8": torch.int8, "U8": torch.uint8}
    named = {tensor.name: (types[tensor.type], tensor.shape) for tensor in stored_tensors(model.spec)}
    assert named == {name: (tensor.dtype, tuple(tensor.shape)) for name, tensor in tensors.items()}
    assert len(to_bytes(tensors)) == file_bytes(model.spec)
    files.save(model, tmp_path)
    on_disk = (tmp_path / files.FILE).stat().st_size
    assert 0 < on_disk - file_bytes(model.spec) < 1.2 * sum(map(len, metadata.values()))


@pytest.mark.parametrize(("bits", "share"), [(16, 0.5), (8, 0.27), (4, 0.15)])
def test_files_shrink_as_their_bits(bits: int, share: float) -> None:
    """On a network whose header is small beside its weights."""
    spec = spec_of(Unet(image_size=32, image_channels=3, channels=(64, 128), attention=(False, True)), sampling_steps=1)
    stage = STAGES.parse({"quantize": {"bits": bits, "rest": 16}})
    assert file_bytes(stage.plan(spec)) < (share + 0.01) * file_bytes(spec)


def test_values_that_16_bits_cannot_hold_are_never_written(run: Run) -> None:
    """A stage that changes weights after they were rounded must round them again."""
    half = run.teacher.spec.map_layers(lambda name, layer: replace(layer, bits=16, format="fp16"))
    with pytest.raises(AssertionError, match="has values that float16 cannot hold"):
        files.packed(replace(run.teacher, spec=half))


def test_surviving_channels_are_kept_with_the_model(run: Run, tmp_path: Path) -> None:
    survivors = {"down_0.conv1": (0, 2, 5), "mid": (1,)}
    files.save(replace(run.teacher, survivors=survivors), tmp_path)
    assert files.load(tmp_path).survivors == survivors
    assert "survivors" not in files.packed(replace(run.teacher, survivors={}))[1]


@pytest.mark.parametrize(
    "written", ['["mid"]', '{"mid": 3}', '{"mid": [2, 1]}', '{"mid": [1, 1]}', '{"mid": [-1]}', '{"mid": ["1"]}', "{"]
)
def test_survivors_that_are_none_are_refused(run: Run, written: str) -> None:
    state, metadata = files.packed(run.teacher)
    with pytest.raises(ValueError, match=r"survivors|Expecting property name"):
        files.unpacked(state, {**metadata, "survivors": written})


def test_a_float32_tensor_in_place_of_a_float16_one_is_refused(run: Run) -> None:
    state, metadata = files.packed(stored(run, "half"))
    with pytest.raises(ValueError, match=r"conv_in\.weight is torch\.float32, expected float16"):
        files.unpacked({**state, "conv_in.weight": state["conv_in.weight"].float()}, metadata)


def test_a_spec_survives_its_json(run: Run) -> None:
    spec = Recipe.parse(COMPRESSED).run(run).spec
    assert ArchSpec.from_json(spec.to_json()) == spec


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"inputs": 2**32, "outputs": 2**32, "norm_groups": 2**32}, "has 4294967296 outputs, and the file holds"),
        ({"norm_groups": 2**32}, "4294967296 groups do not fit 8 channels"),
        ({"norm_groups": 2**32, "norm_over": [9]}, "4294967296 groups do not fit 8 channels"),
        ({"norm_groups": 0}, "zero"),
    ],
)
def test_norm_of_more_channels_than_memory_is_refused(
    run: Run, tmp_path: Path, change: dict[str, object], words: str
) -> None:
    state, metadata = files.packed(run.teacher)
    spec = json.loads(metadata["spec"])
    spec["layers"]["down_blocks.0.resnets.0.norm1"] |= change
    (tmp_path / files.FILE).write_bytes(to_bytes(state, metadata={**metadata, "spec": json.dumps(spec)}))
    with pytest.raises(UserError, match=words):
        files.load(tmp_path)


def test_option_that_no_network_can_have_is_told_in_one_line(run: Run, tmp_path: Path) -> None:
    state, metadata = files.packed(run.teacher)
    spec = json.loads(metadata["spec"])
    spec["network"]["unet"]["layers"] = 3_000
    (tmp_path / files.FILE).write_bytes(to_bytes(state, metadata={**metadata, "spec": json.dumps(spec)}))
    with pytest.raises(UserError, match=r"is not a Slimfront model: .*layers: Input should be less than") as error:
        files.load(tmp_path)
    assert "pydantic" not in str(error.value) and "\n" not in str(error.value)


def test_layer_that_the_description_leaves_out_is_missed(run: Run, tmp_path: Path) -> None:
    state, metadata = files.packed(run.teacher)
    spec = json.loads(metadata["spec"])
    del spec["layers"]["time_embedding.linear_1"]
    (tmp_path / files.FILE).write_bytes(to_bytes(state, metadata={**metadata, "spec": json.dumps(spec)}))
    with pytest.raises(UserError, match=r"its architecture has no layer for time_embedding\.linear_1\.\w+\."):
        files.load(tmp_path)


def test_memory_that_is_not_there_is_one_clear_error(run: Run, tmp_path: Path, monkeypatch) -> None:
    def full(*_: object) -> None:
        raise MemoryError

    files.save(run.teacher, tmp_path)
    monkeypatch.setattr(files, "assembled", full)
    with pytest.raises(UserError, match="is not a Slimfront model: MemoryError"):
        files.load(tmp_path)


@pytest.mark.parametrize("damage", ["truncated", "not safetensors", "other metadata", "absent"])
def test_anything_else_is_one_clear_error(run: Run, tmp_path: Path, damage: str) -> None:
    path = tmp_path / files.FILE
    files.save(run.teacher, path)
    if damage == "truncated":
        path.write_bytes(path.read_bytes()[:1000])
    elif damage == "not safetensors":
        path.write_bytes(b"PK\x03\x04 a pickle, say")
    elif damage == "other metadata":
        from safetensors.torch import save_file

        save_file({"weight": torch.zeros(3)}, path)
    else:
        path.unlink()
    with pytest.raises(UserError, match=r"model\.safetensors"):
        files.load(tmp_path)


@pytest.mark.parametrize(
    "note",
    [
        ["what", "asked", "achieved"],
        {"what": "prune", "asked": 0.5},
        {"what": ["prune"], "asked": 0.5, "achieved": 0.5},
        {"what": "prune", "asked": [0.5], "achieved": 0.5},
        {"what": "prune", "asked": 0.5, "achieved": 10**400},
    ],
)
def test_notes_that_say_nothing_are_refused(run: Run, note: object) -> None:
    tensors, metadata = files.packed(run.teacher)
    with pytest.raises(ValueError, match="its notes do not say"):
        files.unpacked(tensors, {**metadata, "notes": json.dumps([note])})
