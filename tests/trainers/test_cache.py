"""The cache: computed once, never trusted when damaged, clear when it cannot be written."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from trainers.cache import Cache
from trainers.errors import UserError


def test_a_thing_is_made_once_and_other_keys_apart(tmp_path: Path) -> None:
    calls: list[int] = []

    def make() -> dict[str, torch.Tensor]:
        calls.append(1)
        return {"value": torch.tensor([len(calls)])}

    cache = Cache(tmp_path)
    assert [int(cache.tensors("kind", {"a": 1}, make)["value"]) for _ in range(3)] == [1, 1, 1]
    assert int(cache.tensors("kind", {"a": 2}, make)["value"]) == 2
    assert int(cache.tensors("other", {"a": 1}, make)["value"]) == 3


@pytest.mark.parametrize("damage", [b"", b"garbage" * 10, None])
def test_a_damaged_file_is_made_again(tmp_path: Path, damage: bytes | None) -> None:
    cache = Cache(tmp_path)
    cache.tensors("kind", {}, lambda: {"value": torch.arange(1000)})
    path = cache.path("kind", {})
    path.write_bytes(path.read_bytes()[:500] if damage is None else damage)
    assert torch.equal(cache.tensors("kind", {}, lambda: {"value": torch.arange(3)})["value"], torch.arange(3))
    assert torch.equal(cache.tensors("kind", {}, lambda: {"value": torch.arange(9)})["value"], torch.arange(3))


def test_a_cache_that_cannot_be_written_says_what_to_do(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(UserError, match="SLIMFRONT_CACHE"):
        Cache(tmp_path / "file" / "cache").tensors("kind", {}, lambda: {"value": torch.zeros(1)})


def test_what_is_found_lies_in_memory_as_what_is_made(tmp_path: Path) -> None:
    for _ in range(2):
        found = Cache(tmp_path).tensors("kind", {}, lambda: {str(size): torch.ones(size) for size in (1, 3, 5, 7)})
        assert {tensor.data_ptr() % 64 for tensor in found.values()} == {0}
