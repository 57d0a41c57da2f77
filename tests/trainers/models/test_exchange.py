"""The denoiser in exchange formats: read back it answers as ours, whatever was done to the network."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from tests.conftest import build
from trainers.models import exchange
from trainers.models.exchange import Denoiser, PlainGroupNorm, save_for_exchange
from trainers.models.group_norm import FlexibleGroupNorm
from trainers.models.network import Network
from trainers.models.networks.guided_unet import GuidedUnet
from trainers.models.networks.latent_unet import LatentUnet
from trainers.models.networks.ncsn import Ncsn
from trainers.recipe import Recipe
from trainers.run import Run

UNEVEN = [{"prune": {"ratio": {"mid": 0.3}, "criterion": "magnitude", "rule": "flexible", "statistics": "zeroed"}}]
NETWORKS: dict[str, Network] = {
    "ncsn": Ncsn(image_size=8, image_channels=1, channels=(8, 8), embedding=8),
    "guided_unet": GuidedUnet(
        image_size=8, image_channels=1, classes=10, channels=(8, 8), bottleneck=8, heads=2, time_dim=8
    ),
    "latent_unet": LatentUnet(image_size=8, image_channels=1, classes=10, channels=(8, 8), heads=2, context=8),
}


@pytest.fixture
def without_onnx(monkeypatch: pytest.MonkeyPatch) -> None:
    """Only torch.export's file is written, which is the quicker one."""
    monkeypatch.setattr(exchange, "_ONNX_PACKAGES", ("no_such_package",))


def answers(file: Path, *inputs: torch.Tensor) -> torch.Tensor:
    answer: torch.Tensor = torch.export.load(file).module()(*inputs)
    return answer


@pytest.mark.usefixtures("without_onnx")
def test_what_is_read_back_answers_as_the_model(run: Run, tmp_path: Path) -> None:
    model = Recipe.parse([*UNEVEN, {"quantize": {"bits": 4}}]).run(run)
    written, _ = save_for_exchange(model, tmp_path)
    assert written.reason == "" and written.difference is not None and written.difference < 1e-4
    for batch in (1, 3):
        image_BCHW, timestep_B = torch.randn(batch, 1, 8, 8), torch.full((batch,), 700)
        with torch.no_grad():
            expected = model.predict(image_BCHW, timestep_B)
        torch.testing.assert_close(
            answers(tmp_path / written.file, image_BCHW, timestep_B), expected, atol=1e-4, rtol=0
        )


@pytest.mark.usefixtures("without_onnx")
@pytest.mark.parametrize("network", NETWORKS.values(), ids=NETWORKS)
def test_every_network_can_be_written(network: Network, tmp_path: Path) -> None:
    written, onnx = save_for_exchange(build(network), tmp_path)  # type: ignore[arg-type]
    assert "it needs no_such_package: `pip install -e '.[onnx]'` in the checkout" in str(onnx)
    assert written.reason == "" and (tmp_path / "denoiser.pt2").is_file()


@pytest.mark.usefixtures("without_onnx")
def test_eight_bit_activations_are_told(run: Run, tmp_path: Path) -> None:
    rounded = Recipe.parse([{"quantize": {"bits": 8, "layers": "linear", "activations": 8}}]).run(run)
    written, _ = save_for_exchange(rounded, tmp_path)
    assert written.difference is not None and written.difference < 1e-4 < written.rounding < 0.5
    assert "The model itself multiplies 8-bit activations, which moves its answers by 0.0" in str(written)


def test_an_uneven_norm_in_plain_operations_is_the_same(run: Run) -> None:
    model = Recipe.parse(UNEVEN).run(run)
    norms = [norm for norm in model.net.modules() if isinstance(norm, FlexibleGroupNorm)]
    assert norms and any(sum(norm.groups.over) > sum(norm.sizes) for norm in norms)
    for norm in norms:
        input_BCHW = 3 + 2 * torch.randn(2, sum(norm.sizes), 4, 4)
        with torch.no_grad():
            torch.testing.assert_close(PlainGroupNorm(norm)(input_BCHW), norm(input_BCHW), atol=1e-5, rtol=1e-5)
    assert not any(isinstance(module, FlexibleGroupNorm) for module in Denoiser(model).modules())


@pytest.mark.usefixtures("without_onnx")
def test_a_file_that_answers_otherwise_is_not_kept(run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(exchange, "TOLERANCE", -1.0)
    written, _ = save_for_exchange(run.teacher, tmp_path)
    assert written.reason.startswith("its answers differ by") and list(tmp_path.iterdir()) == []


def test_onnx_answers_as_the_model(run: Run, tmp_path: Path) -> None:
    onnxruntime = pytest.importorskip("onnxruntime")
    pytest.importorskip("onnxscript")
    model = Recipe.parse([{"group": {"groups": 2}}, {"quantize": {"bits": 8}}]).run(run)
    _, written = save_for_exchange(model, tmp_path)
    assert written.reason == "", written.reason
    session = onnxruntime.InferenceSession(tmp_path / "denoiser.onnx")
    assert [put.name for put in session.get_inputs()] == ["image", "timestep"]
    image_BCHW, timestep_B = torch.randn(3, 1, 8, 8), torch.full((3,), 500)
    found = session.run(["prediction"], {"image": image_BCHW.numpy(), "timestep": timestep_B.numpy()})[0]
    with torch.no_grad():
        torch.testing.assert_close(torch.from_numpy(found), model.predict(image_BCHW, timestep_B), atol=1e-4, rtol=0)
