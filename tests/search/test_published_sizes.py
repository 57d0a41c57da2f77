"""The sizes of the published works, from recipes in YAML, are what the kept table says."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from ruamel.yaml import YAML

from objectives import costs
from search.run import main
from trainers.models.file_size import file_bytes
from trainers.models.network import NETWORKS
from trainers.models.tracing import spec_of
from trainers.recipe import Recipe

FOLDER = Path(__file__).parents[2] / "studies" / "published_sizes"
TABLE: dict[str, Any] = YAML(typ="safe").load((FOLDER / "sizes.yaml").read_text())


def named(rows: list[dict[str, Any]]) -> Any:
    return pytest.mark.parametrize("row", rows, ids=[row["what"] for row in rows])


@named(TABLE["rows"])
def test_costs_are_those_of_the_table(row: dict[str, Any]) -> None:
    spec = Recipe.parse(row["recipe"]).plan(
        spec_of(NETWORKS.parse(TABLE["networks"][row["network"]]), sampling_steps=1)
    )
    found = {
        "parameters": costs.parameters(spec),
        "macs_g": costs.macs(spec) / 1e9,
        "bytes": costs.stored_bytes(spec),
        "bytes_without_state": costs.stored_bytes_without_state(spec),
        "file_bytes": file_bytes(spec),
    }
    assert {name: round(found[name], 9) for name in row["here"]} == {
        name: pytest.approx(value, abs=5e-7 if name == "macs_g" else 0) for name, value in row["here"].items()
    }


@named(TABLE["rows"])
def test_a_dry_run_prints_them(
    row: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, cache: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("SLIMFRONT_CACHE", str(cache.folder))
    space = {
        "data": {"name": "mnist" if row["work"] == "mnist" else "cifar10"},
        "teacher": {"network": TABLE["networks"][row["network"]], "sampling_steps": 4},
        "recipe": row["recipe"],
        # A quantised layer with float16 beside it may be slower than the teacher, which is no reason to refuse it here.
        "limits": {"latency_ms": 1e9},
    }
    yaml = YAML()
    # The table says a pruning once for several iterations; a space writes each out.
    yaml.representer.ignore_aliases = lambda data: True
    with Path("space.yaml").open("w") as file:
        yaml.dump(space, file)
    assert main(Path("space.yaml"), dry_run=True, json=True) == 0
    printed = json.loads(capsys.readouterr().out)["largest"]
    for name, value in row["here"].items():
        assert printed[name] == pytest.approx(value, abs=5e-7 if name == "macs_g" else 0)


def test_the_published_figures_that_can_be_met_are_met() -> None:
    here = {row["what"]: row["here"] for row in TABLE["rows"]}
    mebibyte = 2**20
    assert here["CIFAR-10 teacher"]["parameters"] == 35_746_307
    assert here["CIFAR-10, 44 %"]["parameters"] == 19_868_058
    assert round(here["CIFAR-10, 16 % of the MACs"]["parameters"] / 1e6, 1) == 27.5
    assert round(here["CIFAR-10, 16 %, rounded as in its code"]["parameters"] / 1e6, 2) == 27.50
    assert round(here["Mini Model"]["bytes"] / mebibyte, 2) == 60.77
    assert round(here["Mini Model, 8 bit"]["bytes_without_state"] / mebibyte, 2) == 27.39
    assert round(here["Mini Model, 8 bit"]["file_bytes"] / mebibyte, 2) == 27.45
    assert round(here["Mini Model, 4 bit"]["bytes_without_state"] / mebibyte, 2) == 25.89
    assert round(here["Mini Model, 4 bit"]["file_bytes"] / mebibyte, 2) == 26.11
    assert here["NCSN"]["parameters"] == 1_115_297 and here["NCSN, 2 groups"]["parameters"] == 682_145
    assert here["guided DDPM"]["parameters"] == 23_335_299
    assert round(here["LSUN, pruned"]["parameters"] / 1e6, 1) == 63.2
    assert round(here["latent diffusion"]["parameters"] / 1e6, 2) == 400.92


def test_shares_of_the_first_teachers_widths_come_near_the_published_counts() -> None:
    """Within a tenth, where shares of what each iteration begins with leave 27.9 of the published 20 million."""
    rows = [row for row in TABLE["rows"] if row["what"].startswith("pruned to")]
    assert len(rows) == 6
    for row in rows:
        assert row["here"]["parameters"] / 1e6 == pytest.approx(float(row["published"].removesuffix(" M")), rel=0.1)


def test_the_readme_shows_every_row() -> None:
    text = (FOLDER / "README.md").read_text()
    lines = [line for line in text.splitlines() if line.startswith("| ")]
    for row in TABLE["rows"]:
        (line,) = [line for line in lines if line.startswith(f"| {row['what']} |")]
        assert row["published"] in line
        if "parameters" in row["here"]:
            assert f"{row['here']['parameters']:,}" in line
        assert row.get("remark", "") in line


@pytest.mark.parametrize(
    ("ratio", "parameters", "linear", "as_convolutions"),
    [
        (0.3, 19_868_058, 3.3936, 3.3945),
        # Rounded as the published code rounds, which counts the attention's layers as convolutions.
        ({"*": 0.204, "time_embedding.*": 0.202}, 27_496_590, 5.1143, 5.1154),
        (0.302, 19_851_157, 3.3919, 3.3928),
    ],
)
def test_torch_pruning_counts_what_the_published_macs_hold(
    ratio: Any, parameters: int, linear: float, as_convolutions: float
) -> None:
    """torch_pruning's count of the pruned CIFAR-10 network, built and run: with norms, and biases.

    A convolution's biases count at each pixel, a linear layer's once.
    """
    import torch
    from torch_pruning.utils import count_ops_and_params

    from trainers.models.building import empty

    network = NETWORKS.parse(TABLE["networks"]["cifar10"])
    spec = Recipe.parse([{"prune": {"ratio": ratio}}]).plan(spec_of(network, sampling_steps=1))
    net = empty(spec).to_empty(device="cpu")
    inputs = {"sample": torch.zeros(1, 3, 32, 32), "timestep": torch.ones(1).long()}
    operations, counted = count_ops_and_params(net, inputs)
    assert (round(operations / 1e9, 4), counted) == (linear, parameters)
    attention = [layer for name, layer in spec.layers.items() if ".attentions." in name and layer.kind == "linear"]
    operations += sum(layer.outputs * (layer.positions - 1) for layer in attention)
    assert round(operations / 1e9, 4) == as_convolutions
