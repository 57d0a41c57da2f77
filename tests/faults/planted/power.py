"""A study as a power cut would leave it, kept at every point between two writes of a run that goes on unharmed.

Two pictures of each point: everything that was written is there, as when the process alone is killed; and nothing is
there that was not synced: files are empty, and what was renamed or removed is as before until its folder was synced.
SQLite syncs each commit itself, so its files are as they are in both.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import sys
from pathlib import Path
from typing import Any

_VOLATILE = ("study.db-shm", ".lock")
_COPIES = 5


class _Cuts:
    def __init__(self, folder: Path, study: Path) -> None:
        self.folder, self.study = folder, study
        self.unsynced: set[Path] = set()
        self.before: dict[Path, bytes | None] = {}
        self.count = 0
        self.is_busy = False

    def point(self, what: str) -> None:
        """Before something is written: keep what is there."""
        if self.is_busy or not self.study.is_dir():
            return
        self.is_busy = True
        try:
            # In a process of its own: closing a database's file would drop the locks that SQLite holds on it.
            child = os.fork()
            if child == 0:
                try:
                    self._keep(what)
                finally:
                    os._exit(0)
            os.waitpid(child, 0)
            self.count += 1
        finally:
            self.is_busy = False

    def _keep(self, what: str) -> None:
        for kind in ("written", "synced"):
            if kind == "synced" and not (self.unsynced or self.before):
                continue
            place = self.folder / f"{self.count:04d}-{kind}"
            self._copy(place / "study")
            paid = self.study.parents[2] / "paid.jsonl"
            if paid.exists():
                shutil.copy(paid, place)
            if kind == "synced":
                self._take_back(place / "study")
            (place / "what.txt").write_text(what)

    def _copy(self, place: Path) -> None:
        """The study as it is; once more where another thread of the run removed a file under the copy."""
        for left in reversed(range(_COPIES)):
            try:
                shutil.copytree(self.study, place, ignore=shutil.ignore_patterns(*_VOLATILE))
                return
            except (FileNotFoundError, shutil.Error):
                # Half a picture is a state that never was.
                shutil.rmtree(place.parent, ignore_errors=True)
                if not left:
                    raise

    def _take_back(self, copied: Path) -> None:
        for path in self.unsynced:
            moved = copied / path.relative_to(self.study)
            if moved.exists():
                moved.write_bytes(b"")
        for path, content in self.before.items():
            moved = copied / path.relative_to(self.study)
            if content is None:
                moved.unlink(missing_ok=True)
            else:
                moved.parent.mkdir(parents=True, exist_ok=True)
                moved.write_bytes(content)

    def holds(self, path: Any) -> bool:
        """Whether it is a file of the study that SQLite does not look after."""
        if isinstance(path, int):
            return False
        return Path(os.fsdecode(path)).absolute().is_relative_to(self.study) and "study.db" not in os.fsdecode(path)


def keep_cuts(folder: Path, study: Path) -> None:
    """From now on, keep a picture of ``study`` in ``folder`` before each write, rename, removal, sync and commit."""
    cuts = _Cuts(folder, study)
    fsync, replace, unlink = os.fsync, os.replace, os.unlink

    def absolute(path: Any) -> Path:
        return Path(os.fsdecode(path)).absolute()

    def noted_fsync(descriptor: Any) -> None:
        number = descriptor if isinstance(descriptor, int) else descriptor.fileno()
        path = Path(os.readlink(f"/proc/self/fd/{number}"))  # noqa: PTH115
        if path.is_relative_to(study):
            cuts.point(f"sync {path.relative_to(study)}")
        fsync(number)
        cuts.unsynced.discard(path)
        for each in [each for each in cuts.before if each.parent == path]:
            del cuts.before[each]

    def noted_replace(source: Any, target: Any, **more: Any) -> None:
        old, new = absolute(source), absolute(target)
        if cuts.holds(new):
            cuts.point(f"rename to {new.relative_to(study)}")
            cuts.before.setdefault(new, new.read_bytes() if new.exists() else None)
            if old in cuts.unsynced:
                cuts.unsynced.add(new)
            cuts.unsynced.discard(old)
        replace(source, target, **more)

    def noted_unlink(path: Any, **more: Any) -> None:
        gone = absolute(path)
        if cuts.holds(gone) and gone.exists():
            cuts.point(f"remove {gone.relative_to(study)}")
            cuts.before.setdefault(gone, gone.read_bytes())
        unlink(path, **more)

    def opened(event: str, arguments: tuple[Any, ...]) -> None:
        if event != "open" or cuts.is_busy:
            return
        path, _, flags = arguments
        if flags & (os.O_WRONLY | os.O_RDWR) and cuts.holds(path):
            cuts.point(f"open {absolute(path).relative_to(study)}")
            cuts.unsynced.add(absolute(path))

    os.fsync, os.replace, os.unlink = noted_fsync, noted_replace, noted_unlink  # type: ignore[assignment]
    sys.addaudithook(opened)
    _before_commits(cuts)


def _before_commits(cuts: _Cuts) -> None:
    from sqlalchemy import event
    from sqlalchemy.engine import Engine

    event.listen(Engine, "commit", lambda connection: cuts.point("commit"))


def fingerprint(cut: Path) -> str:
    """Of what a picture holds; points where nothing had changed have the same."""
    found = hashlib.sha256()
    for path in sorted((cut / "study").rglob("*")):
        if path.is_file():
            found.update(f"{path.relative_to(cut)}\0".encode() + path.read_bytes() + b"\0")
    return found.hexdigest()
