"""Downloads: files arrive through a hub that works, and one that is silent is given up soon."""

import json
import socket
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from time import perf_counter

import huggingface_hub
import huggingface_hub.constants
import pytest

import trainers.download
from trainers.download import downloaded
from trainers.errors import UserError

COMMIT = "5" * 40
FILES = {"data/train-0.parquet": b"rows", "weights.bin": b"not asked for"}


class Hub(BaseHTTPRequestHandler):
    """As much of the hub as a download needs."""

    def do_HEAD(self) -> None:
        self.answer(with_body=False)

    def do_GET(self) -> None:
        self.answer(with_body=True)

    def answer(self, *, with_body: bool) -> None:
        path = self.path.partition("?")[0]
        _, found, file = path.partition(f"/resolve/{COMMIT}/")
        if found:
            body = FILES[file]
        elif "/tree/" in path:
            body = json.dumps(
                [{"type": "file", "path": name, "size": len(text), "oid": "1" * 40} for name, text in FILES.items()]
            ).encode()
        else:
            body = json.dumps({"id": "some/body", "sha": COMMIT, "siblings": []}).encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.send_header("ETag", '"1234"')
        self.send_header("X-Repo-Commit", COMMIT)
        self.end_headers()
        if with_body:
            self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:
        pass


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_CACHE", str(tmp_path))
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", False)


@pytest.fixture
def working_hub(monkeypatch: pytest.MonkeyPatch) -> Iterator[ThreadingHTTPServer]:
    server = ThreadingHTTPServer(("127.0.0.1", 0), Hub)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    use_endpoint(monkeypatch, server.server_port)
    yield server
    server.shutdown()
    server.server_close()


def use_endpoint(monkeypatch: pytest.MonkeyPatch, port: int) -> None:
    endpoint = f"http://127.0.0.1:{port}"
    monkeypatch.setattr(huggingface_hub.constants, "ENDPOINT", endpoint)
    template = endpoint + "/{repo_id}/resolve/{revision}/{filename}"
    monkeypatch.setattr(huggingface_hub.constants, "HUGGINGFACE_CO_URL_TEMPLATE", template)


def fetch() -> Path:
    return downloaded("some/body", kind="dataset", patterns=["*.parquet"], advice="Try digits.")


def test_wanted_files_arrive_once_and_quietly(
    working_hub: ThreadingHTTPServer, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    folder = fetch()
    assert [path.name for path in folder.rglob("*") if path.is_file()] == ["train-0.parquet"]
    assert (folder / "data" / "train-0.parquet").read_bytes() == b"rows"
    assert capfd.readouterr() == ("", "")
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", True)
    assert fetch() == folder


def test_silent_hub_is_given_up_soon(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(trainers.download, "_TIMEOUT_SECONDS", 0.3)
    with socket.create_server(("127.0.0.1", 0)) as server:
        use_endpoint(monkeypatch, server.getsockname()[1])
        begun = perf_counter()
        with pytest.raises(UserError, match=r"'some/body'.*\(timed out\).*Try digits\."):
            fetch()
        assert perf_counter() - begun < 20


def test_refused_connection_is_the_reason_in_the_message(monkeypatch: pytest.MonkeyPatch) -> None:
    use_endpoint(monkeypatch, 9)
    with pytest.raises(UserError, match="refused"):
        fetch()
