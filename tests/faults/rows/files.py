"""Files of a study that are damaged or gone while nobody looks."""

from __future__ import annotations

import shutil
from pathlib import Path

from tests.faults.driver import Driver, database, finish
from tests.faults.home import study_of
from tests.faults.ledger import acknowledged
from tests.faults.result import Result, continued, has_begun, has_traceback, judged
from tests.faults.templates import finished, stopped


def corrupt_checkpoint(place: Path, reduced: bool) -> Result:
    """Every training state is cut in half before the command is given again."""
    home = stopped(place)
    states = list(study_of(home).rglob("training.safetensors"))
    assert states
    for state in states:
        _halve(state)
    return _continued(home, in_flight=len(states) + 1, outcome="trains that trial from its beginning")


def trial_folders_deleted(place: Path, reduced: bool) -> Result:
    """The folders of all trials are deleted before the command is given again."""
    home = stopped(place)
    waiting = len(list(study_of(home).rglob("training.safetensors")))
    shutil.rmtree(study_of(home) / "trials")
    return _continued(home, in_flight=waiting + 1, outcome="trains that trial from its beginning")


def model_truncated(place: Path, reduced: bool) -> Result:
    """The model of a complete trial is cut in half; then it is exported."""
    home = finished(place)
    before = acknowledged(database(home))
    (model,) = study_of(home).glob("trials/*/model.safetensors")
    whole = model.read_bytes()
    _halve(model)
    number = str(int(model.parent.name))
    wanted = (str(study_of(home)), "--trial", number, "--out", "student")
    exported = Driver.start(home, module="search.export", arguments=wanted)
    assert exported.wait() == 2 and not has_traceback(exported), exported.said
    assert "model.safetensors" in exported.said, exported.said
    assert not (home / "student").exists()
    assert finish(home).process.exitcode == 0
    model.write_bytes(whole)
    return judged(home, before, in_flight=0, outcome="export: exit 2, which file; the study goes on")


def views_half_written(place: Path, reduced: bool) -> Result:
    """Both views are cut in half: what reads them says what to do, and doing it mends them."""
    home = finished(place)
    study = study_of(home).relative_to(home)
    before = acknowledged(database(home))
    wholes = {name: (home / study / name).read_bytes() for name in ("front.json", "trials.jsonl")}
    for name, whole in wholes.items():
        (home / study / name).write_bytes(whole[: len(whole) // 2])
        for module in ("search.explore", "search.best"):
            asked = Driver.start(home, module=module, arguments=(str(study),))
            assert asked.wait() == 2 and not has_traceback(asked), asked.said
            (advice,) = (part for part in asked.said.split("`") if part.startswith("python -m search.run "))
    mended = Driver.start(home, arguments=(*advice.split()[3:], "--workers", "0"))
    assert mended.wait() == 0, mended.said
    assert (home / study / "trials.jsonl").read_bytes() == wholes["trials.jsonl"], "not as it was"
    return judged(home, before, in_flight=0, outcome="exit 2 with the command that writes them again")


def _continued(home: Path, *, in_flight: int, outcome: str) -> Result:
    before = acknowledged(database(home))
    again, seconds = continued(home)
    assert again.process.exitcode == 0 and not has_traceback(again), again.said
    assert has_begun(again)
    return judged(home, before, in_flight=in_flight, outcome=outcome, seconds=[seconds])


def _halve(path: Path) -> None:
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
