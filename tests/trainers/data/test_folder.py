"""The folder data set: files become the images that are in them, or a message says why not."""

import io
import os
import struct
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from datasets import ClassLabel, Dataset, DatasetDict, Features
from datasets import Image as DatasetsImage
from PIL import Image
from pydantic import ValidationError

from trainers.cache import Cache
from trainers.data import _tables
from trainers.data._images import check_classes, fitted
from trainers.data.dataset import DATA
from trainers.data.folder import Folder
from trainers.errors import UserError
from trainers.models.extractor import label_extractor

CIFAR10 = Path("../shared/data/cifar10-jpeg")


def pixels(count: int, *, size: int = 6, channels: int = 3, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (count, size, size, channels), dtype=np.uint8)


def png(pixels_HWC: np.ndarray) -> bytes:
    file = io.BytesIO()
    Image.fromarray(pixels_HWC.squeeze()).save(file, format="PNG")
    return file.getvalue()


def write_parquet(
    path: Path, contents: list[bytes | None], labels: list | None = None, *, column: str = "image"
) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    columns = {column: [{"bytes": content, "path": None} for content in contents]}
    if labels is not None:
        columns["label"] = labels
    pq.write_table(pa.table(columns), path)


def write_image(path: Path, pixels_HWC: np.ndarray) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(png(pixels_HWC))


def as_tensor(pixels_NHWC: np.ndarray) -> torch.Tensor:
    return torch.from_numpy(pixels_NHWC).permute(0, 3, 1, 2)


@pytest.fixture
def parquet(tmp_path: Path) -> Path:
    folder = tmp_path / "squares"
    write_parquet(folder / "train-00000-of-00002.parquet", [png(p) for p in pixels(5)], [3, 1, 4, 1, 5], column="img")
    write_parquet(folder / "train-00001-of-00002.parquet", [png(p) for p in pixels(2, seed=1)], [9, 2], column="img")
    write_parquet(folder / "test-00000-of-00001.parquet", [png(p) for p in pixels(3, seed=2)], [6, 5, 3], column="img")
    return folder


@pytest.fixture
def class_folders(tmp_path: Path) -> Path:
    folder = tmp_path / "animals"
    for index, p in enumerate(pixels(20)):
        write_image(folder / ("zebra", "ant")[index % 2] / f"{index:02}.png", p)
    return folder


def test_parquet_files_give_their_images_and_labels_in_order(parquet: Path) -> None:
    images = DATA.parse({"name": "folder", "path": str(parquet)}).load()
    assert torch.equal(images.train_NCHW, as_tensor(np.concatenate([pixels(5), pixels(2, seed=1)])))
    assert torch.equal(images.test_NCHW, as_tensor(pixels(3, seed=2)))
    assert images.train_label_N.tolist() == [3, 1, 4, 1, 5, 9, 2]
    assert images.test_label_N.tolist() == [6, 5, 3]
    assert (images.name, images.image_size, images.channels) == ("squares", 6, 3)


def test_images_larger_than_memory_are_refused_before_they_are_resized(monkeypatch: pytest.MonkeyPatch) -> None:
    digits = DATA.parse("digits").load()
    monkeypatch.setattr("os.sysconf", lambda name: 10_000)  # 100 MB
    assert fitted(digits, image_size=16, channels=1).train_NCHW.shape == (1_438, 1, 16, 16)
    with pytest.raises(UserError, match=r"digits: 1,797 images as the teacher takes them, 256x256x1, are 0\.1 GB"):
        fitted(digits, image_size=256, channels=1)


def test_table_that_unpacks_to_far_more_than_it_has_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A picture with a tail of zeros, again and again: 2 kB of file would fill all memory."""
    monkeypatch.setattr(_tables, "_ALWAYS", 2**20)
    write_parquet(tmp_path / "train-0.parquet", [png(pixels(1)[0]) + bytes(100_000)] * 80)
    with pytest.raises(UserError, match=r"train-0\.parquet is no table of images: its first 64 rows alone are 6 MB"):
        Folder(path=str(tmp_path)).load()


def test_same_content_has_the_same_hash_and_one_other_pixel_another(parquet: Path) -> None:
    before = Folder(path=str(parquet)).load().hash
    assert Folder(path=str(parquet)).load().hash == before
    changed = pixels(3, seed=2)
    changed[1, 2, 3, 0] ^= 1
    write_parquet(parquet / "test-00000-of-00001.parquet", [png(p) for p in changed], [6, 5, 3], column="img")
    assert Folder(path=str(parquet)).load().hash != before


def test_hub_snapshot_layout_is_understood(tmp_path: Path) -> None:
    write_parquet(tmp_path / "plain" / "train" / "0000.parquet", [png(p) for p in pixels(4)])
    write_parquet(tmp_path / "plain" / "test" / "0000.parquet", [png(p) for p in pixels(2, seed=1)])
    (tmp_path / "README.md").write_text("what this is")
    images = Folder(path=str(tmp_path)).load()
    assert (len(images.train_NCHW), len(images.test_NCHW)) == (4, 2)
    assert images.train_label_N.tolist() == [0, 0, 0, 0]


def test_several_data_sets_in_one_folder_are_refused(tmp_path: Path) -> None:
    for subset in ("small", "large"):
        write_parquet(tmp_path / subset / "train-0.parquet", [png(p) for p in pixels(2)])
    with pytest.raises(UserError, match="several data sets: large, small"):
        Folder(path=str(tmp_path)).load()


def test_validation_stands_in_for_a_missing_test_part_only(tmp_path: Path) -> None:
    write_parquet(tmp_path / "train-0.parquet", [png(p) for p in pixels(3)])
    write_parquet(tmp_path / "validation-0.parquet", [png(p) for p in pixels(2, seed=1)])
    assert torch.equal(Folder(path=str(tmp_path)).load().test_NCHW, as_tensor(pixels(2, seed=1)))
    write_parquet(tmp_path / "test-0.parquet", [png(p) for p in pixels(1, seed=2)])
    assert torch.equal(Folder(path=str(tmp_path)).load().test_NCHW, as_tensor(pixels(1, seed=2)))


def test_class_folders_are_numbered_alphabetically_in_both_parts(tmp_path: Path) -> None:
    for index, (part, name) in enumerate([("train", "zebra"), ("train", "ant"), ("test", "zebra"), ("test", "bee")]):
        write_image(tmp_path / part / name / "0.png", pixels(4)[index])
    images = Folder(path=str(tmp_path)).load()
    assert images.train_label_N.tolist() == [0, 2]
    assert images.test_label_N.tolist() == [1, 2]
    assert torch.equal(images.train_NCHW, as_tensor(pixels(4)[[1, 0]]))


def test_a_class_may_be_called_train(tmp_path: Path) -> None:
    for name in ("car", "train"):
        for index in range(5):
            write_image(tmp_path / name / f"{index}.png", pixels(5)[index])
    images = Folder(path=str(tmp_path)).load()
    assert sorted(torch.cat([images.train_label_N, images.test_label_N]).tolist()) == [0] * 5 + [1] * 5


def test_without_a_test_part_a_fixed_share_is_split_off(class_folders: Path) -> None:
    first = Folder(path=str(class_folders), test_share=0.25).load()
    again = Folder(path=str(class_folders), test_share=0.25).load()
    assert (len(first.train_NCHW), len(first.test_NCHW)) == (15, 5)
    assert first.hash == again.hash
    together = {p.numpy().tobytes() for p in torch.cat([first.train_NCHW, first.test_NCHW])}
    assert together == {p.numpy().tobytes() for p in as_tensor(pixels(20)).contiguous()}


def test_a_test_part_alone_is_split(tmp_path: Path) -> None:
    write_parquet(tmp_path / "test-00000-of-00001.parquet", [png(p) for p in pixels(10)])
    images = Folder(path=str(tmp_path)).load()
    assert (len(images.train_NCHW), len(images.test_NCHW)) == (8, 2)


def test_limit_takes_a_fixed_random_choice_of_each_part(class_folders: Path) -> None:
    # The first images of sorted class folders would all be of one class.
    limited = Folder(path=str(class_folders), limit=8, test_share=0.5).load()
    whole = Folder(path=str(class_folders), test_share=0.5).load()
    assert (len(limited.train_NCHW), len(limited.test_NCHW)) == (8, 8)
    for chosen_NCHW, label_N, all_NCHW in (
        (limited.train_NCHW, limited.train_label_N, whole.train_NCHW),
        (limited.test_NCHW, limited.test_label_N, whole.test_NCHW),
    ):
        assert set(label_N.tolist()) == {0, 1}
        assert {p.numpy().tobytes() for p in chosen_NCHW} < {p.numpy().tobytes() for p in all_NCHW}
    assert limited.hash == Folder(path=str(class_folders), limit=8, test_share=0.5).load().hash


def test_limited_rows_of_several_files_keep_their_labels(tmp_path: Path) -> None:
    # More rows than are read at once; the value of each image is its label.
    for index, (first, last) in enumerate([(0, 100), (100, 100), (100, 800)]):
        labels = [value % 256 for value in range(first, last)]
        contents = [png(np.full((2, 2, 1), label, dtype=np.uint8)) for label in labels]
        write_parquet(tmp_path / f"train-{index}.parquet", contents, labels)
    images = Folder(path=str(tmp_path), limit=90).load()
    assert len(images.train_NCHW) == 90
    assert torch.equal(images.train_NCHW[:, 0, 0, 0].long(), images.train_label_N)
    assert torch.equal(images.test_NCHW[:, 0, 0, 0].long(), images.test_label_N)
    assert images.train_label_N.unique().numel() > 30


def test_more_images_than_fit_in_memory_are_refused_before_they_are_decoded(
    parquet: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Each image takes 108 + 300 bytes, and 40 % of 6,300 bytes hold six of them: three to train, three to test.
    memory = {"SC_PAGE_SIZE": 10, "SC_PHYS_PAGES": 630}
    monkeypatch.setattr("os.sysconf", lambda name: memory[name])
    with pytest.raises(UserError, match=r"7 training and 3 test images of 6x6x3.*Write limit: 3 or less"):
        Folder(path=str(parquet)).load()
    assert len(Folder(path=str(parquet), limit=3).load().train_NCHW) == 3


def test_far_too_many_rows_are_refused_before_any_is_chosen(parquet: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def never(count: int) -> torch.Tensor:
        raise AssertionError(f"{count} numbers were shuffled")

    monkeypatch.setattr("trainers.data._read._shuffled", never)
    for part in ("train", "test"):
        rows = pa.table({"img": pa.nulls(20_000_000 - 3, pa.binary())})
        pq.write_table(rows, parquet / f"{part}-00009.parquet", compression="zstd")
    with pytest.raises(UserError, match="holds 40,000,004 images, and it can be chosen from 30,000,000 at most"):
        Folder(path=str(parquet), limit=3).load()
    for file in parquet.glob("t*st-*.parquet"):
        file.unlink()
    monkeypatch.setattr("os.sysconf", lambda name: 1_000)
    with pytest.raises(UserError, match=r"16,000,003 training and 4,000,001 test images .* Write limit"):
        Folder(path=str(parquet)).load()


def test_a_folder_of_everything_is_refused_after_so_many_entries(
    class_folders: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("trainers.data._walk._MOST_ENTRIES", 22)
    data = Folder(path=str(class_folders))
    size = data.bytes_here()
    assert size == sum(path.stat().st_size for path in class_folders.rglob("*.png")) and len(data.load().test_NCHW) == 4
    write_image(class_folders / "zebra" / "21.png", pixels(1)[0])
    for use in (data.bytes_here, data.shape, data.load):
        with pytest.raises(UserError, match=r"animals holds more than 22 files and folders\. Give the folder of one"):
            use()


def test_of_many_data_sets_in_one_folder_a_few_are_named(tmp_path: Path) -> None:
    for number in range(300):
        (tmp_path / f"set{number:03}").mkdir()
        (tmp_path / f"set{number:03}" / "train.parquet").write_text("")
    with pytest.raises(UserError, match=r"several data sets: set000, .*, set009 and 290 more\. Name one"):
        Folder(path=str(tmp_path)).shape()


def test_arrow_folders_of_the_datasets_library_are_read(tmp_path: Path) -> None:
    features = Features({"image": DatasetsImage(), "label": ClassLabel(names=["ant", "bee"])})
    parts = {
        part: Dataset.from_dict(
            {"image": [Image.fromarray(p) for p in pixels(count, seed=count)], "label": [i % 2 for i in range(count)]},
            features=features,
        )
        for part, count in (("train", 5), ("test", 3))
    }
    DatasetDict(parts).save_to_disk(tmp_path / "both")
    (tmp_path / "both" / "train" / "cache-0123.arrow").write_bytes(b"what map computed")
    images = Folder(path=str(tmp_path / "both")).load()
    assert torch.equal(images.train_NCHW, as_tensor(pixels(5, seed=5)))
    assert torch.equal(images.test_NCHW, as_tensor(pixels(3, seed=3)))
    assert images.train_label_N.tolist() == [0, 1, 0, 1, 0]
    parts["train"].save_to_disk(tmp_path / "alone")
    assert (len(Folder(path=str(tmp_path / "alone")).load().train_NCHW), len(images.test_NCHW)) == (4, 3)
    (tmp_path / "alone" / "data-00000-of-00001.arrow").write_bytes(b"cut off")
    with pytest.raises(UserError, match=r"data-00000-of-00001\.arrow is not a readable Arrow file"):
        Folder(path=str(tmp_path / "alone")).load()


def write_arrow(path: Path, contents: list[bytes], *, metadata: str = "", compression: str | None = None) -> None:
    kind = pa.struct([("bytes", pa.binary()), ("path", pa.string())])
    column = pa.array([{"bytes": content, "path": None} for content in contents], type=kind)
    table = pa.table({"image": column, "label": list(range(len(contents)))})
    if metadata:
        table = table.replace_schema_metadata({"huggingface": metadata})
    options = pa.ipc.IpcWriteOptions(compression=compression)
    with pa.OSFile(str(path), "wb") as file, pa.ipc.new_stream(file, table.schema, options=options) as stream:
        stream.write_table(table)


@pytest.mark.parametrize("compression", ["zstd", "lz4"])
def test_compressed_arrow_files_are_read(tmp_path: Path, compression: str) -> None:
    write_arrow(tmp_path / "train-0.arrow", [png(p) for p in pixels(5)], compression=compression)
    write_arrow(tmp_path / "test-0.arrow", [png(p) for p in pixels(2)], compression=compression)
    images = Folder(path=str(tmp_path)).load()
    assert torch.equal(images.train_NCHW, as_tensor(pixels(5))) and images.train_label_N.tolist() == [0, 1, 2, 3, 4]


@pytest.mark.parametrize("ending", ["arrow", "parquet"])
def test_part_that_is_large_only_in_memory_is_refused_before_it_is_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, ending: str
) -> None:
    monkeypatch.setattr(_tables, "_AT_ONCE", 2**20)
    contents = [png(pixels(1)[0]), bytes(2**23)]
    if ending == "arrow":
        write_arrow(tmp_path / "train-0.arrow", contents, compression="zstd")
    else:
        pq.write_table(pa.table({"image": contents}), tmp_path / "train-0.parquet", compression="zstd")
    with pytest.raises(UserError, match=rf"train-0\.{ending} is no table of images: a part of it would be 8 MB in mem"):
        Folder(path=str(tmp_path)).load()


def test_large_value_that_many_rows_share_is_not_unpacked_for_all_at_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(_tables, "_AT_ONCE", 2**20)
    monkeypatch.setattr(_tables, "_ALWAYS", 2**22)
    pq.write_table(
        pa.table({"image": [png(pixels(1)[0]) + bytes(2**19)] * 60}), tmp_path / "train-0.parquet", compression="zstd"
    )
    with pytest.raises(UserError, match=r"is no table of images: its first 8 rows alone are 4 MB"):
        Folder(path=str(tmp_path)).load()


def test_arrow_offsets_that_lead_beyond_the_file_are_refused(tmp_path: Path) -> None:
    write_arrow(tmp_path / "train-0.arrow", [png(p) for p in pixels(5)])
    content = (tmp_path / "train-0.arrow").read_bytes()
    ends = np.cumsum([0, *(len(png(p)) for p in pixels(5))]).astype("<i4")
    wrong = ends.copy()
    wrong[2] = -2_000_000_000
    assert content.count(ends.tobytes()) == 1
    (tmp_path / "train-0.arrow").write_bytes(content.replace(ends.tobytes(), wrong.tobytes()))
    with pytest.raises(UserError, match=r"train-0\.arrow is not a readable Arrow file"):
        Folder(path=str(tmp_path)).load()


@pytest.mark.parametrize(
    "features",
    [
        '{"image": {"_type": "Nothing"}}',
        '{"image": {"_type": "Image"}, "label": {"_type": "ClassLabel", "names_file": "<pipe>"}}',
        '{"image": {"_type": "Image", "decode": 5}, "label": 5}',
        "[]",
        '{"a": ' * 3_000 + "1" + "}" * 3_000,
        "no JSON",
    ],
)
def test_what_a_file_says_of_its_columns_is_only_read(tmp_path: Path, features: str) -> None:
    os.mkfifo(tmp_path / "pipe")
    metadata = f'{{"info": {{"features": {features.replace("<pipe>", str(tmp_path / "pipe"))}}}}}'
    write_arrow(tmp_path / "train-0.arrow", [png(p) for p in pixels(3)], metadata=metadata)
    write_arrow(tmp_path / "test-0.arrow", [png(p) for p in pixels(2)], metadata=metadata)
    assert Folder(path=str(tmp_path)).load().train_label_N.tolist() == [0, 1, 2]


def test_crop_takes_the_middle_before_resizing(tmp_path: Path) -> None:
    framed = np.full((8, 8, 3), 255, dtype=np.uint8)
    framed[2:6, 2:6] = pixels(1, size=4)[0]
    for index in range(2):
        write_image(tmp_path / f"{index}.png", framed)
    folder = Folder(path=str(tmp_path), crop=4)
    assert folder.shape() == (4, 3)
    assert torch.equal(folder.load().train_NCHW, as_tensor(pixels(1, size=4)))
    halved = Folder(path=str(tmp_path), crop=4, image_size=2).load().train_NCHW
    assert halved.shape == (1, 3, 2, 2) and halved.max() < 255
    with pytest.raises(UserError, match=r"\d\.png is 8x8 pixels: 9x9 cannot be cut out of it"):
        Folder(path=str(tmp_path), crop=9).load()


def test_classes_without_labels_are_refused_once_and_clearly(tmp_path: Path, cache: Cache) -> None:
    write_parquet(tmp_path / "train.parquet", [png(p) for p in pixels(6)])
    images = Folder(path=str(tmp_path)).load()
    check_classes(images, 0)
    with pytest.raises(UserError, match=r"classes is 10, but .* has no labels\. Set classes: 0"):
        check_classes(images, 10)
    with pytest.raises(UserError, match=r"has no labels to train a feature extractor on.*inception"):
        label_extractor(images, cache)


def test_limit_above_the_number_of_images_takes_all(parquet: Path) -> None:
    assert Folder(path=str(parquet), limit=1000).load().hash == Folder(path=str(parquet)).load().hash


def test_mixed_sizes_are_refused_by_name_and_fitted_on_request(class_folders: Path) -> None:
    write_image(class_folders / "zebra" / "big.png", pixels(1, size=9)[0])
    with pytest.raises(UserError, match=r"big\.png is 9x9 pixels, others are 6x6.*image_size: 6"):
        Folder(path=str(class_folders), test_share=0.01).load()
    images = Folder(path=str(class_folders), image_size=4).load()
    assert images.train_NCHW.shape[1:] == (3, 4, 4)


def test_oblong_images_are_refused_or_cropped_to_the_middle(tmp_path: Path) -> None:
    wide = np.zeros((4, 10, 3), dtype=np.uint8)
    wide[:, 3:7] = 200
    for index in range(2):
        write_image(tmp_path / f"{index}.png", wide)
    with pytest.raises(UserError, match=r"\d\.png is 10x4 pixels; images must be square.*image_size: 4"):
        Folder(path=str(tmp_path)).load()
    assert (Folder(path=str(tmp_path), image_size=4).load().train_NCHW == 200).all()


def test_colour_becomes_grey_and_grey_becomes_colour_on_request(tmp_path: Path) -> None:
    for index in range(2):
        write_image(tmp_path / f"{index}.png", pixels(2, channels=1)[index])
    assert Folder(path=str(tmp_path)).load().channels == 1
    colour = Folder(path=str(tmp_path), channels=3).load().train_NCHW
    assert torch.equal(colour[:, 0], colour[:, 2])
    write_image(tmp_path / "2.png", np.full((6, 6, 3), (255, 0, 0), dtype=np.uint8))
    with pytest.raises(UserError, match=r"2\.png has 3 channels, others have 1.*channels: 3"):
        Folder(path=str(tmp_path), test_share=0.01).load()
    assert Folder(path=str(tmp_path), channels=1).load().channels == 1


def test_a_photo_held_sideways_is_turned(tmp_path: Path) -> None:
    picture = Image.fromarray(pixels(1)[0])
    turned = Image.Exif()
    turned[0x0112] = 6
    for index in range(2):
        picture.save(tmp_path / f"{index}.png", exif=turned)
    expected = torch.rot90(as_tensor(pixels(1)), k=-1, dims=(2, 3))
    assert torch.equal(Folder(path=str(tmp_path)).load().train_NCHW, expected)


def test_images_of_16_bits_are_refused_rather_than_cut_off(tmp_path: Path) -> None:
    Image.fromarray(np.full((4, 4), 3000, dtype=np.uint16)).save(tmp_path / "deep.png")
    with pytest.raises(UserError, match=r"deep\.png has more than 8 bits"):
        Folder(path=str(tmp_path)).shape()


def test_broken_image_file_is_named(class_folders: Path) -> None:
    broken = class_folders / "ant" / "01.png"
    broken.write_bytes(broken.read_bytes()[:60])
    with pytest.raises(UserError, match=r"ant/01\.png is not a readable image"):
        Folder(path=str(class_folders)).load()


def test_an_image_whose_pixels_begin_at_a_fraction_is_named(class_folders: Path) -> None:
    file = class_folders / "ant" / "01.png"
    content = io.BytesIO()
    Image.new("L", (4, 4)).save(content, "TIFF")
    begin = struct.pack("<HHI", 273, 4, 1)
    assert begin in content.getvalue()
    file.write_bytes(content.getvalue().replace(begin, struct.pack("<HHI", 273, 5, 1)))
    with pytest.raises(UserError, match=r"ant/01\.png is not a readable image"):
        Folder(path=str(class_folders)).load()


def test_a_small_file_with_a_huge_image_is_refused_before_it_is_unpacked(tmp_path: Path) -> None:
    for name in ("0.png", "1.png"):
        Image.new("1", (9_000, 9_000)).save(tmp_path / name)
    assert (tmp_path / "0.png").stat().st_size < 20_000
    with pytest.raises(UserError, match=r"\d\.png has 9,000 x 9,000 pixels, more than the 67,108,864 that are read"):
        Folder(path=str(tmp_path)).load()


@pytest.mark.parametrize(("content", "words"), [(b"nothing", "not a readable image"), (None, "is empty")])
def test_broken_row_is_named(tmp_path: Path, content: bytes | None, words: str) -> None:
    write_parquet(tmp_path / "train.parquet", [png(pixels(1)[0]), content, png(pixels(1)[0])])
    with pytest.raises(UserError, match=rf"train\.parquet \(row 1\).*{words}"):
        Folder(path=str(tmp_path)).load()


def test_broken_parquet_file_is_named(parquet: Path) -> None:
    (parquet / "test-00000-of-00001.parquet").write_text("version https://git-lfs.github.com/spec/v1")
    with pytest.raises(UserError, match=r"test-00000-of-00001\.parquet is not a readable Parquet file"):
        Folder(path=str(parquet)).load()


def test_missing_folder_says_where_it_was_looked_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UserError, match=rf"pictures does not exist \(looked for {tmp_path}/pictures\)"):
        Folder(path="pictures").load()


def test_folder_with_nothing_readable_says_what_is_read(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("no images here")
    with pytest.raises(UserError, match=r"neither Parquet files .* nor images"):
        Folder(path=str(tmp_path)).load()


def test_image_beside_the_class_folders_is_refused(class_folders: Path) -> None:
    write_image(class_folders / "preview.png", pixels(1)[0])
    with pytest.raises(UserError, match=r"preview\.png lies beside the class folders"):
        Folder(path=str(class_folders)).load()


def test_hidden_files_are_left_alone(class_folders: Path) -> None:
    before = Folder(path=str(class_folders)).load().hash
    (class_folders / "ant" / "._01.png").write_bytes(b"attributes")
    write_image(class_folders / ".cache" / "thumbnail.png", pixels(1)[0])
    assert Folder(path=str(class_folders)).load().hash == before


def test_columns_that_cannot_be_guessed_are_asked_for_and_obeyed(tmp_path: Path) -> None:
    left, right = ([{"bytes": png(p), "path": None} for p in pixels(4, seed=seed)] for seed in (1, 2))
    table = pa.table({"left": left, "right": right, "kind": ["b", "a", "b", "c"]})
    pq.write_table(table, tmp_path / "train.parquet")
    with pytest.raises(UserError, match=r"2 image columns: left, right\. Choose one with image_column"):
        Folder(path=str(tmp_path)).load()
    with pytest.raises(UserError, match=r"no column 'middle'\. Choose image_column from left, right, kind"):
        Folder(path=str(tmp_path), image_column="middle").load()
    pq.write_table(table.slice(0, 1), tmp_path / "test.parquet")
    images = Folder(path=str(tmp_path), image_column="right", label_column="kind").load()
    assert torch.equal(images.train_NCHW, as_tensor(pixels(4, seed=2)))
    assert images.train_label_N.tolist() == [1, 0, 1, 2]


def test_label_that_is_no_class_is_refused(tmp_path: Path) -> None:
    write_parquet(tmp_path / "train.parquet", [png(p) for p in pixels(2)], [1.0, 0.5])
    with pytest.raises(UserError, match=r"row 0\): the label is 1.0"):
        Folder(path=str(tmp_path)).load()


def test_secret_labels_count_as_none(tmp_path: Path) -> None:
    write_parquet(tmp_path / "train.parquet", [png(p) for p in pixels(2)], [1, 2])
    write_parquet(tmp_path / "test.parquet", [png(p) for p in pixels(2)], [-1, -1])
    assert Folder(path=str(tmp_path)).load().test_label_N.tolist() == [0, 0]


def test_shape_reads_the_first_image_only(tmp_path: Path) -> None:
    write_parquet(tmp_path / "train.parquet", [png(pixels(1, size=5)[0]), b"nothing"])
    assert Folder(path=str(tmp_path)).shape() == (5, 3)
    assert Folder(path=str(tmp_path), image_size=8, channels=1).shape() == (8, 1)


def test_nothing_is_written_to_the_terminal(parquet: Path, capfd: pytest.CaptureFixture[str]) -> None:
    Folder(path=str(parquet)).load()
    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize(
    "options", [{"image_size": 0}, {"channels": 2}, {"limit": 0}, {"test_share": 1.0}, {"pth": "x"}]
)
def test_impossible_options_are_refused(options: dict) -> None:
    with pytest.raises(ValidationError):
        DATA.parse({"folder": {"path": "x", **options}})


@pytest.mark.skipif(not CIFAR10.is_dir(), reason=f"{CIFAR10} is not on this machine")
def test_cifar10_as_jpeg_is_read() -> None:
    folder = Folder(path=str(CIFAR10), limit=500)
    assert folder.shape() == (32, 3)
    images = folder.load()
    assert (len(images.train_NCHW), len(images.test_NCHW)) == (500, 500)
    assert images.test_label_N.bincount().min() > 30
    assert images.name == "cifar10-jpeg"
