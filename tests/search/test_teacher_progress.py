"""What is said while a teacher is trained."""

from __future__ import annotations

import io

import pytest
from rich.console import Console

from search.teacher_progress import TeacherProgress
from trainers.run import Progress


def test_images_of_before_an_interruption_took_no_time_here(monkeypatch: pytest.MonkeyPatch) -> None:
    said = io.StringIO()
    now = iter((100.0, 120.0))
    monkeypatch.setattr("search.teacher_progress.time.monotonic", lambda: next(now))
    with TeacherProgress(Console(file=said, width=200), 1_000) as progress:
        progress(Progress("train", 800, 1_000, 0.5))
        progress(Progress("train", 900, 1_000, 0.5))
    assert "900 of 1,000 images, loss 0.500, 20.0 s left" in said.getvalue()
