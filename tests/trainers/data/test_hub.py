"""Data sets of the hub: known shapes without a download, local folders in its place, and a quick clear refusal."""

import io
from pathlib import Path

import huggingface_hub
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from PIL import Image

from trainers.data.dataset import DATA
from trainers.data.hub import Hub
from trainers.errors import UserError

MNIST = Path("../shared/data/mnist-test")


@pytest.fixture(autouse=True)
def offline(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The hub is out of reach; its cache is the folder that is given back."""
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", True)
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_CACHE", str(tmp_path / "hub"))
    return tmp_path / "hub"


def write_squares(file: Path, *, size: int, channels: int, count: int = 10) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    contents = []
    for index in range(count):
        png = io.BytesIO()
        Image.fromarray(np.full((size, size, channels), index, dtype=np.uint8).squeeze()).save(png, format="PNG")
        contents.append({"bytes": png.getvalue(), "path": None})
    pq.write_table(pa.table({"image": contents, "label": list(range(count))}), file)


def in_cache(cache: Path, id: str, *, revision: str = "main") -> Path:
    """Folder of a finished download, as huggingface_hub keeps it."""
    repository = cache / f"datasets--{id.replace('/', '--')}"
    commit = f"{len(revision):040x}"
    reference = repository / "refs" / revision
    reference.parent.mkdir(parents=True, exist_ok=True)
    reference.write_text(commit)
    snapshot = repository / "snapshots" / commit
    snapshot.mkdir(parents=True)
    return snapshot


def test_shapes_of_the_short_names_are_known_without_a_download() -> None:
    assert DATA.parse("mnist").shape() == (28, 1)
    assert DATA.parse("cifar10").shape() == (32, 3)
    assert DATA.parse("celeba").shape() == (64, 3)
    assert DATA.parse("lsun_church").shape() == DATA.parse("lsun_bedroom").shape() == (256, 3)
    assert DATA.parse({"mnist": {"crop": 20}}).shape() == (20, 1)
    assert DATA.parse({"cifar10": {"crop": 24, "image_size": 16}}).shape() == (16, 3)


@pytest.mark.parametrize(
    ("written", "id"),
    [
        ("mnist", "ylecun/mnist"),
        ("cifar10", "uoft-cs/cifar10"),
        ("celeba", "flwrlabs/celeba"),
        ("lsun_church", "tglcourse/lsun_church_train"),
        ("lsun_bedroom", "pcuenq/lsun-bedrooms"),
        ({"hub": {"id": "some/body"}}, "some/body"),
    ],
)
def test_missing_download_says_what_to_fetch_and_where_to_put_it(written: object, id: str) -> None:
    with pytest.raises(UserError) as raised:
        DATA.parse(written).load()
    message = str(raised.value)
    assert f"hf download {id} --repo-type dataset" in message
    assert "HF_HUB_OFFLINE is set" in message
    assert "`path: FOLDER`" in message and "digits" in message


def test_folder_takes_the_place_of_the_download_and_gives_its_name(tmp_path: Path) -> None:
    write_squares(tmp_path / "my-cifar" / "train.parquet", size=32, channels=3)
    images = DATA.parse({"cifar10": {"path": str(tmp_path / "my-cifar"), "limit": 5}}).load()
    assert images.name == "my-cifar"
    assert (len(images.train_NCHW), len(images.test_NCHW)) == (5, 2)


def test_folder_with_other_images_than_the_name_promises_is_refused(tmp_path: Path) -> None:
    write_squares(tmp_path / "train.parquet", size=32, channels=3)
    with pytest.raises(UserError, match=r"32x32x3, but those of mnist are 28x28x1"):
        DATA.parse({"mnist": {"path": str(tmp_path)}}).load()


def test_celeba_is_cut_around_the_face_as_for_ddim(tmp_path: Path) -> None:
    # Rows 57 to 184 and columns 25 to 152; a pixel beside them would be white.
    photograph = np.full((218, 178, 3), 255, dtype=np.uint8)
    photograph[57:185, 25:153] = (10, 20, 30)
    (tmp_path / "faces").mkdir()
    for index in range(2):
        Image.fromarray(photograph).save(tmp_path / "faces" / f"{index}.png")
    images = DATA.parse({"celeba": {"path": str(tmp_path / "faces"), "image_size": 32}}).load()
    assert images.train_NCHW.shape == (1, 3, 32, 32)
    assert images.train_NCHW.amax(dim=(0, 2, 3)).tolist() == [10, 20, 30]
    write_squares(tmp_path / "cut" / "train.parquet", size=64, channels=3)
    with pytest.raises(UserError, match=r"64x64x3, but those of celeba are 178x218x3"):
        DATA.parse({"celeba": {"path": str(tmp_path / "cut")}}).load()


@pytest.mark.parametrize("name", ["lsun_church", "lsun_bedroom"])
def test_lsun_of_any_size_becomes_the_asked_one(tmp_path: Path, name: str) -> None:
    write_squares(tmp_path / "train.parquet", size=48, channels=3)
    images = DATA.parse({name: {"path": str(tmp_path), "image_size": 16, "limit": 4}}).load()
    assert (images.train_NCHW.shape, len(images.test_NCHW)) == ((4, 3, 16, 16), 2)
    assert images.train_NCHW.float().std(dim=(1, 2, 3)).max() == 0


def test_earlier_download_is_used_without_network(offline: Path) -> None:
    write_squares(in_cache(offline, "ylecun/mnist") / "mnist" / "train-0.parquet", size=28, channels=1)
    assert DATA.parse("mnist").load().name == "mnist"
    data = Hub(id="ylecun/mnist", image_size=8)
    assert data.shape() == (8, 1)
    assert (data.load().name, data.load().image_size) == ("ylecun/mnist", 8)


def test_conversion_by_the_hub_is_used_where_there_are_no_parquet_files(offline: Path) -> None:
    (in_cache(offline, "some/body") / "README.md").write_text("a zip file")
    write_squares(
        in_cache(offline, "some/body", revision="refs/convert/parquet") / "default" / "train" / "0000.parquet",
        size=4,
        channels=3,
    )
    assert Hub(id="some/body").shape() == (4, 3)


def test_one_of_several_subsets_is_chosen(offline: Path) -> None:
    snapshot = in_cache(offline, "some/body")
    write_squares(snapshot / "small" / "train-0.parquet", size=4, channels=3)
    write_squares(snapshot / "large" / "train-0.parquet", size=8, channels=3)
    assert Hub(id="some/body", subset="large").shape() == (8, 3)
    with pytest.raises(UserError, match="several data sets: large, small"):
        Hub(id="some/body").shape()


@pytest.mark.skipif(not MNIST.is_dir(), reason=f"{MNIST} is not on this machine")
def test_mnist_test_set_is_split_8000_to_2000() -> None:
    images = DATA.parse({"name": "mnist", "path": str(MNIST)}).load()
    assert (len(images.train_NCHW), len(images.test_NCHW)) == (8_000, 2_000)
    assert images.name == "mnist-test"


@pytest.mark.skipif(not MNIST.is_dir(), reason=f"{MNIST} is not on this machine")
def test_crops_of_mnist_keep_nearly_all_ink() -> None:
    # The digits were fitted into the middle 20x20 pixels.
    images = DATA.parse({"name": "mnist", "path": str(MNIST), "crop": 22, "image_size": 11, "limit": 500}).load()
    whole = DATA.parse({"name": "mnist", "path": str(MNIST), "limit": 500}).load()
    assert images.train_NCHW.shape == (500, 1, 11, 11)
    assert torch.equal(images.train_label_N, whole.train_label_N)
    assert 0.95 < images.train_NCHW.sum() * 4 / whole.train_NCHW.sum() < 1
