"""Files of strangers: those that lead elsewhere, wait for ever, are far too large or hide characters are not taken."""

import os
import socket
import subprocess

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image

from search import preflight
from search.space import Space, SpaceError
from search.views import StudyViews
from tests.fuzz.watch import at_most
from tests.search.study_folder import study_folder
from trainers.data.folder import Folder
from trainers.errors import UserError
from trainers.foreign import bytes_inside, file_inside, is_number, json_inside, refuse_links_out
from trainers.job import Job
from trainers.model_folder import ModelFolder
from trainers.models import files
from trainers.plain_yaml import plain_yaml

RECIPE = "data: digits\nteacher: {from: teacher}\nrecipe: []\nbudget: {images: 9}\n"


@pytest.fixture
def secret(tmp_path):
    path = tmp_path / "outside" / "secret"
    path.parent.mkdir()
    path.write_text('{"password": "hunter2"}')
    return path


@pytest.fixture
def folder(tmp_path):
    path = tmp_path / "folder"
    path.mkdir()
    return path


def test_links_out_of_a_folder_are_refused_and_those_within_are_followed(folder, secret):
    (folder / "kept.json").write_text('{"a": 1}')
    (folder / "within.json").symlink_to("kept.json")
    (folder / "out.json").symlink_to(secret)
    (folder / "up").symlink_to(secret.parent)
    (folder / "circle").symlink_to("circle")
    assert json_inside(folder, "within.json") == {"a": 1}
    assert file_inside(folder, "circle") is None and file_inside(folder, "none") is None
    for name in ("out.json", "up/secret", "../outside/secret", str(secret)):
        with pytest.raises(UserError, match="leads out of"):
            bytes_inside(folder, name)


def test_pipes_devices_and_odd_names_are_not_waited_for(folder):
    os.mkfifo(folder / "pipe")
    (folder / "inner").mkdir()
    with at_most(5):
        for name in ("pipe", "inner", "nul\0", "x" * 5_000):
            assert bytes_inside(folder, name) is None, name
        with pytest.raises(SpaceError, match="is no regular file"):
            Space.read(folder / "pipe")
        with pytest.raises(SpaceError, match="is no regular file"):
            Space.read("/dev/zero")


def image(path):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("L", (8, 8), len(str(path)) % 255).save(path, "PNG")
    return path


def test_images_are_regular_files_of_their_folder(folder, secret):
    image(folder / "0.png")
    image(secret.parent / "private.png")
    os.mkfifo(folder / "pipe.png")
    with at_most(5), pytest.raises(UserError, match=r"pipe\.png is no regular file"):
        Folder(path=str(folder)).load()
    (folder / "pipe.png").unlink()
    with socket.socket(socket.AF_UNIX) as waiting:
        waiting.bind(str(folder / "socket.png"))
        with at_most(5), pytest.raises(UserError, match=r"socket\.png is no regular file"):
            Folder(path=str(folder)).load()
    (folder / "socket.png").unlink()
    for target, expected in (
        (secret.parent / "private.png", "leads out of"),
        ("/dev/zero", "leads out of"),
        ("link.png", "is no regular file"),
        ("gone.png", "is no regular file"),
    ):
        (folder / "link.png").symlink_to(target)
        with at_most(5), pytest.raises(UserError, match=expected):
            Folder(path=str(folder)).load()
        (folder / "link.png").unlink()
    # A link within is followed, and a folder that is called like an image is a folder.
    (folder / "link.png").symlink_to("0.png")
    image(folder / "more.png" / "1.png")
    image(folder / "more.png" / "2.png")
    with pytest.raises(UserError, match="lies beside the class folders"):
        Folder(path=str(folder)).load()


@pytest.mark.parametrize("inner", ["", "subset"])
def test_snapshot_of_the_hub_s_cache_links_to_its_blobs_and_nowhere_else(tmp_path, secret, inner):
    repository = tmp_path / "hub" / "datasets--some--body"
    snapshot = repository / "snapshots" / ("7" * 40) / inner
    snapshot.mkdir(parents=True)
    for name in "abc":
        image(repository / "blobs" / name)
        (snapshot / f"{name}.png").symlink_to(os.path.relpath(repository / "blobs" / name, snapshot))
    assert len(Folder(path=str(snapshot)).load().train_NCHW) == 2
    (snapshot / "d.png").symlink_to(image(tmp_path / "hub" / "models--other" / "blobs" / "d"))
    with pytest.raises(UserError, match=r"d\.png leads out of"):
        Folder(path=str(snapshot)).load()


def test_folder_that_is_only_called_like_a_snapshot_has_no_blobs(tmp_path):
    folder = tmp_path / "snapshots" / "mine"
    image(tmp_path / "blobs" / "private.png")
    image(folder / "0.png")
    (folder / "1.png").symlink_to(tmp_path / "blobs" / "private.png")
    with pytest.raises(UserError, match=r"1\.png leads out of"):
        Folder(path=str(folder)).load()


def test_table_names_images_beside_it_only(folder, secret):
    image(folder / "inner" / "0.png")
    image(secret.parent / "private.png")
    os.mkfifo(folder / "pipe")

    def table(*names):
        kind = pa.struct({"bytes": pa.binary(), "path": pa.string()})
        images = pa.array([{"bytes": None, "path": name} for name in names], kind)
        pq.write_table(pa.table({"image": images}), folder / "train.parquet")

    table("inner/0.png", "inner/0.png")
    assert len(Folder(path=str(folder)).load().train_NCHW) == 1
    for name, expected in (
        ("../outside/private.png", "leads out of"),
        (str(secret.parent / "private.png"), "leads out of"),
        ("pipe", "names the image 'pipe', which is no file beside it"),
        ("gone.png", "names the image 'gone.png', which is no file beside it"),
    ):
        table("inner/0.png", name)
        with at_most(5), pytest.raises(UserError, match=expected):
            Folder(path=str(folder)).load()


def test_image_of_a_format_that_starts_a_program_is_not_opened(folder, monkeypatch):
    """Pillow tells formats by their first bytes, and has Ghostscript draw PostScript."""

    def never(*arguments, **options):
        raise AssertionError("a program was started")

    monkeypatch.setattr(subprocess, "check_call", never)
    monkeypatch.setattr(subprocess, "Popen", never)
    Image.new("RGB", (8, 8)).save(folder / "0.png", "EPS")
    image(folder / "1.png")
    with pytest.raises(UserError, match=r"0\.png is not a readable image"):
        Folder(path=str(folder)).load()


def test_files_that_are_far_too_large_are_not_read(folder):
    with (folder / "front.json").open("wb") as out:
        out.truncate(2**33)
    (folder / "trials.jsonl").write_text("")
    with at_most(5), pytest.raises(UserError, match=r"is larger than 67,108,864 bytes"):
        StudyViews.open(folder)


def test_damaged_json_is_none_and_hidden_characters_are_written_out(folder):
    for text in ("", "[]", "{", "[" * 100_000, '{"a": ' + "9" * 10_000 + "}", "\xff"):
        (folder / "a.json").write_text(text, encoding="latin-1")
        assert json_inside(folder, "a.json") is None, text[:20]
    (folder / "a.json").write_text(r'{"\u001b[2J": ["\u202egnp.exe", "a\nb"]}')
    assert json_inside(folder, "a.json") == {r"\x1b[2J": [r"\u202egnp.exe", "a\nb"]}


def test_study_that_links_out_is_not_written_into(tmp_path, secret, monkeypatch):
    study = study_folder(tmp_path / "study", trials=4)
    space = Space.read("spaces/pruning_ratios.yaml")
    preflight.check_same_space(study, space)
    (study / "trials" / "0001" / "log.txt").symlink_to(secret)
    with pytest.raises(UserError, match=r"log\.txt is a link that leads out"):
        preflight.check_same_space(study, space)
    with pytest.raises(UserError, match="leads out of"):
        StudyViews.open(study).bytes_of("trials/0001", "log.txt")


@pytest.mark.parametrize("place", [".writable", "trials/0001/log.txt"])
def test_study_with_a_pipe_is_not_written_into(tmp_path, place):
    """Whoever opens one to write into it waits for a reader."""
    study = study_folder(tmp_path / "study", trials=4)
    (study / place).unlink(missing_ok=True)
    os.mkfifo(study / place)
    with at_most(5), pytest.raises(UserError, match=r"is no file or folder but a pipe or a device\. Take it away"):
        preflight.check_same_space(study, Space.read("spaces/pruning_ratios.yaml"))


def test_private_file_is_not_shipped_through_a_link(folder, secret, tiny):
    (folder / "recipe.yaml").write_text(RECIPE)
    files.save(tiny, folder / "teacher")
    job = Job.read(folder)
    (folder / "lineage.json").symlink_to(secret)
    with pytest.raises(UserError, match="leads out"):
        Job.read(folder)
    (folder / "lineage.json").unlink()
    (folder / "measurements.json").symlink_to(secret)
    with pytest.raises(UserError, match="leads out of"):
        ModelFolder(folder / "model", folder, job).trial()
    (folder / "teacher" / files.FILE).unlink()
    (folder / "teacher" / files.FILE).symlink_to(secret)
    with pytest.raises(UserError, match="leads out of"):
        files.load(folder / "teacher")
    refuse_links_out(secret.parent)


@pytest.mark.parametrize(
    "text",
    [
        "a: &a [x]\nb: *a\n",
        "a: &a {x: 1}\nb: {<<: *a}\n",
        "a: !!python/object/apply:os.system [ls]\n",
        "a: " + "[" * 1_000,
        "a: [" + "1," * 20_000 + "]",
        "a: " + "9" * 5_000,
        'a: "\\e[2J"',
        "a: 1\n---\nb: 2\n",
        "a: 1\na: 2\n",
        "a: \0",
        "x" * 300_000,
    ],
)
def test_recipe_with_bombs_tags_or_hidden_characters_is_refused(text):
    with at_most(5), pytest.raises(ValueError, match=r"^\S"):
        plain_yaml(text.encode())


def test_plain_recipe_is_read():
    assert plain_yaml(RECIPE.encode())["teacher"] == {"from": "teacher"}  # type: ignore[index]
    with pytest.raises(ValueError, match="utf-8"):
        plain_yaml(b"\xff\xfe")


def test_numbers_are_those_that_a_float_holds() -> None:
    """JSON has integers beyond any float, and Python's reader lets infinity and NaN through."""
    assert all(map(is_number, (0, -1, 2.5, 10**300, -1e308)))
    assert not any(map(is_number, (10**400, -(10**400), float("inf"), float("nan"), True, None, "1", [1], {})))
