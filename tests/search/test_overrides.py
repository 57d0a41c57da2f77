"""``--set path=value`` changes one value of a space, wherever it stands."""

import random
from pathlib import Path

import pytest

from search.space import Space, SpaceError, differences

TEXT = """# A question?
teacher: {network: {unet: {channels: [16, 32]}}, images: 200_000}
recipe:
  - prune:
      criterion: {choice: [{taylor: {threshold: {float: [0, 0.1]}}}, magnitude, {name: random}]}
      ratio: {mid: {float: [0.0, 0.8]}}
  - distil:
  - group
  - distil: {batch: 8}
  - choice: [null, {quantize: {bits: 8}}]
objectives: [{fid: {extractor: labels}}, size_mb]
"""


def read(folder: Path, *overrides: str) -> Space:
    path = folder / "space.yaml"
    path.write_text(TEXT)
    return Space.read(path, overrides)


def test_without_overrides_the_text_is_kept(tmp_path):
    space = read(tmp_path)
    assert space.text == space.effective_text == TEXT and space.overrides == ()


@pytest.mark.parametrize(
    ("override", "changed"),
    [
        ("teacher.images=20_000", "teacher.images: stored 200000, now 20000"),
        ("teacher.network.unet.channels.1=24", "teacher.network.unet.channels.1: stored 32, now 24"),
        ("prune.ratio.mid=0.3", "prune.ratio.mid: stored {float: [0.0, 0.8]}, now 0.3"),
        ("prune.ratio.mid = {float: [0, 0.6]}", "prune.ratio.mid: stored {float: [0.0, 0.8]}, now {float: [0.0, 0.6]}"),
        ("prune.ratio.mid.float.1=0.6", "prune.ratio.mid: stored {float: [0.0, 0.8]}, now {float: [0.0, 0.6]}"),
        ("prune.ratio.up_0=0.5", "prune.ratio.up_0: stored nothing, now 0.5"),
        ("prune.criterion.taylor.threshold=0.05",
         "prune.criterion.taylor.threshold: stored {float: [0.0, 0.1]}, now 0.05"),
        ("prune.criterion.magnitude.norm=l1", "prune.criterion.magnitude.norm: stored nothing, now l1"),
        ("distil.batch=64", "distil.batch: stored nothing, now 64"),
        ("distil_2.batch=64", "distil_2.batch: stored 8, now 64"),
        ("recipe.3.distil.batch=64", "distil_2.batch: stored 8, now 64"),
        ("group.groups=max", "group.groups: stored nothing, now max"),
        ("recipe.4.quantize.bits=4", "recipe.4.quantize.bits: stored 8, now 4"),
        ("budget.images=100", "budget.images: stored nothing, now 100"),
        ("limits.fid=3", "limits.fid: stored nothing, now 3"),
    ],
)  # fmt: skip
def test_one_value_changes_and_nothing_else(tmp_path, override, changed):
    space = read(tmp_path, override)
    assert differences(TEXT, space.effective_text) == [changed]
    assert space.text == TEXT and space.overrides == (override,)


def test_effective_text_reads_as_the_same_space(tmp_path):
    space = read(
        tmp_path, "budget.trials=4", "distil.learning_rate=1e-5", "prune.criterion={choice: [taylor, magnitude]}"
    )
    path = tmp_path / "effective.yaml"
    path.write_text(space.effective_text)
    again = Space.read(path)
    assert again.budget.trials == 4 and again.question == "A question?"
    assert again.fingerprint() == space.fingerprint() and again.knobs == space.knobs
    assert [knob.path for knob in again.knobs] == ["prune.criterion", "prune.ratio.mid", "recipe.4"]


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("budget.trials", "is not an override. Write --set path=value, such as --set budget.trials=4."),
        ("=3", "is not an override. Write --set path=value, such as --set budget.trials=4."),
        ("teachr.images=3", "teachr.images: begins with the unknown 'teachr'. Did you mean 'teacher'?"),
        ("prun.ratio=3", "prun.ratio: begins with the unknown 'prun'. Did you mean 'prune'?"),
        ("prune.ratio.mid=1.2", "prune.ratio.mid: must be less than 1, got 1.2."),
        ("prune.rato=1", "prune: unknown option 'rato'. Did you mean 'ratio'?"),
        ("prune.ratio.mid={float: [0, 1.5]}", "prune.ratio.mid: must be less than 1, got 1.5 (upper end of the knob)"),
        (
            "prune.criterion.tailor.threshold=1",
            "prune.criterion.tailor.threshold: leads through the unknown choice 'tailor'. Did you mean 'taylor'?",
        ),
        ("teacher.network.unt.layers=1", "teacher.network.unt.layers: leads through 'unt', which is not there. Did you "
         "mean 'unet'?"),
        ("teacher.images.min=1", "teacher.images.min: leads into 200000, which is a single value. Replace that value "
         "as a whole."),
        ("recipe.9.distil.batch=1", "recipe.9.distil.batch: leads through '9' of a list with 5 items. Write an index "
         "from 0."),
        ("budget.trials=[", "is not valid YAML: while parsing a flow node expected the node content"),
        ("budget.trials=", "budget.trials: must be a whole number, got null. Leave it out for 24."),
        ("teacher.images={int: [1, 2]}", "teacher.images: is a knob, but only values inside 'recipe' can be left "
         "open."),
    ],
)  # fmt: skip
def test_mistakes_name_the_override_in_place_of_a_line(tmp_path, override, message):
    with pytest.raises(SpaceError) as caught:
        read(tmp_path, override)
    _, found = str(caught.value).splitlines()
    assert found.startswith(f"  (from --set {override}) {message}")


def test_a_key_may_hold_dots_itself(tmp_path):
    path = tmp_path / "space.yaml"
    path.write_text(TEXT.replace("ratio: {mid:", "ratio: {'mid_block.*.conv1': 0.25, mid:"))
    before, after = Space.read(path), Space.read(path, ["prune.ratio.mid_block.*.conv1=0.5"])
    for space, expected in ((before, 0.25), (after, 0.5)):
        values = space.fixed_values(space.random_candidate(random.Random(0)))
        assert values["prune.ratio.mid_block.*.conv1"] == expected
    assert len(before.knobs) == len(after.knobs)
