"""A password of a database or a token in a URL comes into nothing that is kept, shown or passed on."""

from __future__ import annotations

import json
import logging
import shlex
from pathlib import Path

import pytest
from sqlalchemy.exc import OperationalError

from search import drive
from search._database import check_storage
from search._database_file import reason_of
from search.drive import carried_out
from search.evaluate import TrialPlan
from search.exported import export
from search.session import Session
from search.space import Space, SpaceError
from search.storage_url import keep
from search.views import StudyViews
from tests.fuzz.watch import at_most
from tests.search.study_folder import study_folder
from trainers.errors import UserError
from trainers.job import Job
from trainers.model_folder import ModelFolder
from trainers.models import files
from trainers.redaction import without_passwords

SECRET = "s3cr:t%40x"
URL = f"postgresql://ann:{SECRET}@db.example:5433/studies?sslmode=require"
PARTS = ("s3cr", "t%40x")


def written(repository: Path, *, head: str = "", tail: str = "") -> str:
    text = (repository / "spaces" / "pruning_ratios.yaml").read_text()
    return f"{head}{text}\n{tail}"


def without(text: str) -> bool:
    return not any(part in text for part in PARTS)


@pytest.mark.parametrize("where", ["storage", "set", "comment", "question"])
def test_space_keeps_none(tmp_path: Path, repository: Path, where: str) -> None:
    tail = {"storage": f"storage: {URL}\n", "comment": f"# once at {URL}\n"}.get(where, "")
    head = f"# What did {URL} hold?\n" if where == "question" else ""
    path = tmp_path / "told.yaml"
    path.write_text(written(repository, head=head, tail=tail))
    space = Space.read(path, [f"storage={URL}"] if where == "set" else [])
    assert space.storage == (URL if where in ("storage", "set") else None)
    for text in (space.text, space.effective_text, space.question, repr(space), *space.overrides):
        assert without(text), text
    # What is kept is the same space.
    path.write_text(space.effective_text)
    again = Space.read(path)
    assert (again.knobs, again.budget, again.fingerprint()) == (space.knobs, space.budget, space.fingerprint())
    assert again.storage == (
        None if space.storage is None else "postgresql://ann@db.example:5433/studies?sslmode=require"
    )


@pytest.mark.parametrize(
    ("tail", "path"),
    [
        ("tracker: {mlflow: {uri: 'https://ann:s3cr/t@mlflow.example'}}\n", "tracker.mlflow.uri"),
        ("checkpoints: 's3://KEY:s3cr/t@bucket/studies'\n", "checkpoints"),
        ("from_study: ['https://ann:s3cr@example.org/x']\n", "from_study.0"),
    ],
)
def test_space_refuses_one_where_it_would_be_kept(tmp_path: Path, repository: Path, tail: str, path: str) -> None:
    (tmp_path / "told.yaml").write_text(written(repository, tail=tail))
    with pytest.raises(SpaceError) as error:
        Space.read(tmp_path / "told.yaml")
    said = str(error.value)
    assert f"{path}: holds a password" in said and "environment" in said and "s3cr" not in said
    key, _, value = tail.strip().partition(": ")
    (tmp_path / "told.yaml").write_text(written(repository))
    with pytest.raises(SpaceError) as error:
        Space.read(tmp_path / "told.yaml", [f"{key}={value}"])
    assert "holds a password" in str(error.value) and "s3cr" not in str(error.value)


def test_mistakes_show_none(tmp_path: Path, repository: Path) -> None:
    for tail in (f"storages: {URL}\n", f"name: {URL}\n", f"limits: {{fid: '{URL}'}}\n", f"storage: x{URL}\n"):
        (tmp_path / "told.yaml").write_text(written(repository).replace("name: pruning_ratios\n", "") + tail)
        with pytest.raises(SpaceError) as error:
            Space.read(tmp_path / "told.yaml")
        assert without(str(error.value)), tail


@pytest.mark.parametrize("password", ["pa'ssW0RD", 'pa"ssW0RD', "pa<ssW0RD", "pa ssW0RD", "x" * 2_000 + "ssW0RD"])
@pytest.mark.parametrize("start", ["storage=mysql", "name=postgresql", "x.y=postgresql", "storage.x=postgresql"])
def test_options_that_are_mistakes_show_none(tmp_path: Path, repository: Path, start: str, password: str) -> None:
    (tmp_path / "told.yaml").write_text(written(repository))
    with pytest.raises(SpaceError) as error:
        Space.read(tmp_path / "told.yaml", [f"{start}://o'brien:{password}@h/db"])
    assert "ssW0RD" not in str(error.value)


def test_nothing_tries_to_reach_half_a_password(tmp_path: Path, repository: Path) -> None:
    (tmp_path / "told.yaml").write_text(written(repository))
    with pytest.raises(SpaceError, match="Write %40 for one in the user or the password") as error:
        Space.read(tmp_path / "told.yaml", ["storage=postgresql://me:first@SECONDHALF@127.0.0.1:9/db"])
    assert "SECONDHALF" not in str(error.value)


def test_command_to_go_on_shows_none_and_connects(tmp_path: Path, repository: Path) -> None:
    path = tmp_path / "told.yaml"
    path.write_text(written(repository))
    session = Session(path, overrides=(f"storage={URL}", "budget.trials=3"), name="one")
    command = session._resume_command()
    quoted = Session(path, overrides=(f"storage='{URL}'", "budget.trials=3"), name="one")._resume_command()
    assert without(command) and quoted == command
    overrides = [each for each in shlex.split(command) if "=" in each]
    again = Space.read(path, overrides)
    assert again.storage == "postgresql://ann@db.example:5433/studies?sslmode=require" and again.budget.trials == 3


def test_export_and_what_is_shipped_hold_none(tmp_path: Path, repository: Path, tiny) -> None:
    folder = study_folder(tmp_path / "study", trials=16)
    text = written(repository, head=f"# {URL}?\n", tail=f"storage: {URL}\n")
    (tmp_path / "told.yaml").write_text(text.replace("output: {float: [0.0, 2.0]}", "output: 1.0"))
    (folder / "space.yaml").write_text(Space.read(tmp_path / "told.yaml").effective_text)
    keep(folder, URL)
    views = StudyViews.open(folder)
    trial = views.complete[0]
    for place in (folder / "teacher", folder / trial.path):
        files.save(tiny, place)
    (folder / trial.path / "measurements.json").write_text(json.dumps({"measurements": {}, "seed": 3, "data": "0123"}))
    export(views, trial, tmp_path / "out")
    kept = [path for place in (folder, tmp_path / "out") for path in place.rglob("*") if path.is_file()]
    assert {"storage.json", "space.yaml", "recipe.yaml", "lineage.json"} <= {path.name for path in kept}
    for path in kept:
        assert without(path.read_bytes().decode("latin-1")), path
    job = Job.read(tmp_path / "out")
    assert without(repr(job)) and without(repr(ModelFolder(tmp_path / "model", tmp_path / "out", job).trial()))


def test_reasons_and_logs_of_trials_hold_none(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def unreachable(plan: TrialPlan) -> None:
        raise RuntimeError(f"cannot reach {URL}")

    monkeypatch.setattr(drive, "check_shared", unreachable)
    plan = TrialPlan(number=0, recipe=[], candidate={}, seed=0, rungs=(128,), folder=str(tmp_path))
    (result,) = carried_out(plan, None)
    assert without(result["failed"]) and "cannot reach postgresql://ann:***@" in result["failed"]
    assert without(result["log"]) and "Traceback" in result["log"]


def test_errors_show_none_to_python_either(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    assert without(str(UserError(f"cannot reach {URL}"))) and without(f"{UserError(URL)}")
    assert without(reason_of(OperationalError(f"SELECT '{URL}'", {}, Exception(f"connection to {URL} failed"))))
    # Nobody listens there: what psycopg, SQLAlchemy and Optuna say comes into the message.
    url = "postgresql://ann:s3cret@127.0.0.1:9/studies?password=s3cret&connect_timeout=2"
    with caplog.at_level(logging.DEBUG), at_most(60), pytest.raises(UserError) as error:
        check_storage(tmp_path / "one", url)
    assert "cannot be used" in str(error.value)
    assert "s3cret" not in str(error.value) and "s3cret" not in caplog.text
    assert not list(tmp_path.rglob("*"))


@pytest.mark.parametrize("piece", ["a.", "a://:", "a://b:", "pwd='", "password ", "x:/", '"pwd" = "'])
def test_text_made_to_be_slow_is_not(piece: str) -> None:
    with at_most(10):
        assert len(without_passwords(piece * (100_000 // len(piece)))) > 1_000
