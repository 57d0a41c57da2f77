"""Files that are there whole or not at all: what is synced before what, and what a full disk leaves."""

from __future__ import annotations

import errno
import os
from pathlib import Path

import pytest

from trainers.atomic import remove_abandoned, write_atomically


def test_a_rename_is_synced_with_its_folder_and_new_folders_with_theirs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A power cut forgets a rename, and a new folder, until the folder that it is in is synced."""
    events: list[str] = []
    fsync, replace = os.fsync, Path.replace

    def synced(descriptor: int) -> None:
        path = Path(f"/proc/self/fd/{descriptor}").readlink()
        events.append(f"sync {'file' if path.is_file() else path.relative_to(tmp_path.parent)}")
        fsync(descriptor)

    def replaced(self: Path, target: Path) -> Path:
        events.append("rename")
        return replace(self, target)

    monkeypatch.setattr(os, "fsync", synced)
    monkeypatch.setattr(Path, "replace", replaced)
    write_atomically(tmp_path / "a/b/file", b"content")
    root = tmp_path.name
    assert events == [f"sync {root}", f"sync {root}/a", "sync file", "rename", f"sync {root}/a/b"]
    assert (tmp_path / "a/b/file").read_bytes() == b"content"


def test_a_full_disk_leaves_the_old_content_and_no_part_of_the_new(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_atomically(tmp_path / "file", b"old")

    def full(descriptor: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="No space left"):
        write_atomically(tmp_path / "file", b"new")
    assert [path.name for path in tmp_path.iterdir()] == ["file"]
    assert (tmp_path / "file").read_bytes() == b"old"


def test_a_link_in_the_place_of_the_temporary_file_is_not_followed(tmp_path: Path) -> None:
    """A stranger's folder may hold one for each number that a process can have."""
    private, study = tmp_path / "private", tmp_path / "study"
    private.write_text("of another")
    study.mkdir()
    (study / f".report.html.{os.getpid()}.tmp").symlink_to(private)
    write_atomically(study / "report.html", b"new")
    assert private.read_text() == "of another"
    assert [path.name for path in study.iterdir()] == ["report.html"] and not (study / "report.html").is_symlink()


def test_what_a_killed_process_left_is_removed_and_nothing_else(tmp_path: Path) -> None:
    inner = tmp_path / "trials/0001"
    inner.mkdir(parents=True)
    (inner / "model.safetensors").write_bytes(b"kept")
    old = [tmp_path / ".front.json.4711.tmp", inner / ".model.safetensors.4711.tmp"]
    others = [tmp_path / ".mine.tmp", tmp_path / "front.json.4711.tmp", tmp_path / ".front.json.4712.tmp"]
    for path in (*old, *others):
        path.write_bytes(b"half")
        if path.name != ".front.json.4712.tmp":
            os.utime(path, (0, 0))
    remove_abandoned(tmp_path)
    assert not any(path.exists() for path in old)
    assert all(path.exists() for path in (*others, inner / "model.safetensors"))
