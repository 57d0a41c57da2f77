"""``--offline``: a hub id is used when its files are on this machine already, else refused; nothing is asked for."""

from __future__ import annotations

import contextlib
import io
import json
import os
import socket
import sys
from pathlib import Path
from typing import Any

import huggingface_hub.constants
import pytest

from search import run as search_run
from search.rehearsal import Rehearsal
from search.session import Session
from tests.trainers.data.test_hub import in_cache, write_squares
from trainers.command import command
from trainers.data.dataset import DATA
from trainers.download import go_offline
from trainers.errors import UserError
from trainers.models.published import load_published

TINY: dict[str, Any] = {
    "name": "tiny",
    "data": "digits",
    "teacher": {"network": {"unet": {"channels": [8, 16], "norm_groups": 4}}, "images": 2_000},
    "recipe": [{"prune": {"ratio": {"float": [0.0, 0.5]}}}],
    "objectives": [{"fid": {"extractor": "labels", "samples": 64}}, "size_mb"],
    "limits": {"fid": 100_000},
    "budget": {"trials": 2, "images": 256},
    "sampler": "random",
}
SWITCHES = ("SLIMFRONT_OFFLINE", "HF_HUB_OFFLINE", "WANDB_MODE", "RAY_USAGE_STATS_ENABLED")


@pytest.fixture(autouse=True)
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, cache) -> Path:
    """An empty folder and an empty cache of the hub; whoever asks the network fails the test."""

    def asked(*arguments: object, **options: object) -> None:
        raise AssertionError(f"the network was asked: {arguments}")

    for name in SWITCHES:
        # Set first, so that what the command sets is undone.
        monkeypatch.setenv(name, "")
        monkeypatch.delenv(name)
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", False)
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_CACHE", str(tmp_path / "hub"))
    monkeypatch.setattr(socket, "getaddrinfo", asked)
    monkeypatch.setattr(socket.socket, "connect", asked)
    monkeypatch.setenv("SLIMFRONT_CACHE", str(cache.folder))
    monkeypatch.setattr("search.rehearsal.rehearse", lambda *arguments, **options: Rehearsal())
    monkeypatch.chdir(tmp_path)
    return tmp_path


def searched(monkeypatch: pytest.MonkeyPatch, *options: str, **changes: Any) -> tuple[object, str]:
    """Exit code and complaint of a search with sections of the tiny space replaced."""
    Path("tiny.yaml").write_text(json.dumps({**TINY, **changes}))
    monkeypatch.setattr(sys, "argv", ["run", "tiny.yaml", "--offline", "--workers", "0", *options])
    err = io.StringIO()
    with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(err), pytest.raises(SystemExit) as end:
        command(search_run.main, name="run")
    return end.value.code, err.getvalue()


@pytest.mark.parametrize("options", [(), ("--dry-run",)])
@pytest.mark.parametrize(
    ("changes", "what"),
    [
        ({"teacher": {"from": "some/body"}}, "the model 'some/body'"),
        ({"data": {"hub": {"id": "some/body"}}}, "the dataset 'some/body'"),
        ({"data": {"latent": {"of": "digits", "autoencoder": "some/body"}}}, "the model 'some/body'"),
    ],
)
def test_hub_ids_that_are_not_here_are_refused(place, monkeypatch, options, changes, what) -> None:
    code, said = searched(monkeypatch, *options, **changes)
    assert code == 2 and said.startswith(f"cannot get {what} from the Hugging Face hub (no network is used: --offline")
    assert "there is no complete earlier download" in said and "hf download some/body" in said
    assert "Traceback" not in said and len(said.splitlines()) == 1
    assert not (place / "studies").exists()


def test_short_names_are_refused_where_their_files_are_needed(monkeypatch) -> None:
    go_offline()
    for load in (
        lambda: DATA.parse("mnist").load(),
        lambda: DATA.parse("cifar10").load(),
        lambda: load_published("google/ddpm-cifar10-32", sampling_steps=10),
    ):
        with pytest.raises(UserError, match=r"no network is used: --offline was given"):
            load()


def test_what_is_on_this_machine_is_allowed(place, monkeypatch) -> None:
    code, said = searched(monkeypatch, "--dry-run")
    assert (code, said) == (0, "")
    write_squares(in_cache(place / "hub", "some/body") / "train-0.parquet", size=8, channels=1)
    write_squares(place / "mine" / "train-0.parquet", size=8, channels=1)
    for data in ({"hub": {"id": "some/body"}}, {"folder": {"path": "mine"}}):
        assert DATA.parse(data).load().image_size == 8


def test_all_that_a_search_starts_is_told(monkeypatch) -> None:
    searched(monkeypatch, teacher={"from": "some/body"})
    assert {name: os.environ[name] for name in SWITCHES} == dict(zip(SWITCHES, ("1", "1", "offline", "0"), strict=True))


def test_without_it_the_hub_is_asked(monkeypatch) -> None:
    asked: list[str] = []

    def note(self: object, repository: str, **options: object) -> None:
        asked.append(repository)
        raise ConnectionError("nobody is there")

    monkeypatch.setattr(huggingface_hub.HfApi, "repo_info", note)
    with pytest.raises(UserError, match="nobody is there"):
        DATA.parse({"hub": {"id": "some/body"}}).load()
    assert asked == ["some/body"]
    go_offline()
    with pytest.raises(UserError, match="no network is used"):
        DATA.parse({"hub": {"id": "some/body"}}).load()
    assert asked == ["some/body"]


def test_the_command_that_goes_on_stays_offline(place) -> None:
    session = Session(Path("tiny.yaml"))
    assert session._resume_command() == "python -m search.run tiny.yaml"
    go_offline()
    assert session._resume_command() == "python -m search.run tiny.yaml --offline"
