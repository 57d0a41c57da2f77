"""Analyses on nets whose answers are known, and the ranges that they write into a space."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch.testing import assert_close

from objectives.fid import Fid
from objectives.objective import Measurement
from search.analyse import main
from search.analysis.pruned_blocks import RATIOS, Point, pruned_points, whole_point
from search.analysis.ranges import check_knobs, ranges_text, rounded_down, write_ranges
from search.analysis.sensitivity import Sensitivity
from search.analysis.subject import Subject
from search.analysis.timesteps import THRESHOLDS, Timesteps, timesteps
from search.analysis.weight_variation import weight_variation
from search.space import Space
from tests.conftest import build
from tests.objectives.conftest import in_place_of_time
from trainers.cache import Cache
from trainers.command import command
from trainers.compression.channels import CoupledGroup, coupled_groups
from trainers.compression.criteria.diff_pruning import DiffPruning
from trainers.compression.criteria.magnitude import Magnitude
from trainers.compression.prune import Prune
from trainers.compression.timesteps import TimestepImportance, timestep_importance
from trainers.errors import UserError
from trainers.models import files
from trainers.models.diffusion_model import DiffusionModel
from trainers.models.networks.unet import Unet
from trainers.run import Run

FID = Fid(extractor="labels", samples=48)
SPACE = """\
# Which blocks?
name: tiny
teacher:   # small
  network: {unet: {channels: [8, 16], norm_groups: 4}}
  images: 1_000
  sampling_steps: 4
recipe:
  - prune:
      criterion:
        choice:
          - diff_pruning: {threshold: {float: [0.0, 0.1]}}   # only here
          - taylor:
              threshold: {float: [1e-3, 0.2], log: true}
          - magnitude
      ratio:
        mid:
          float:
            - 0.1
            - 0.8   # far
        up_0: {float: [0.0, 0.6], step: 0.1}
        down_0: 0.25

  - distil: {sampling_steps: 4, learning_rate: {float: [1e-4, 1e-3]}}
objectives: [{fid: {extractor: labels, samples: 48}}, size_mb]
"""


def ignored(done: float) -> None:
    """Nobody watches."""


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, cache: Cache) -> Path:
    """An empty folder to work in, with the space in it."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("SLIMFRONT_CACHE", str(cache.folder))
    (tmp_path / "tiny.yaml").write_text(SPACE)
    return tmp_path


# Sensitivity


def without_channels(model: DiffusionModel, groups: Iterable[CoupledGroup]) -> DiffusionModel:
    """The model with every weight of these groups' channels at zero."""
    net = model.copy_of_net()
    with torch.no_grad():
        for member in (member for group in groups for member in group.members):
            layer, module = model.spec.layers[member.layer], net.get_submodule(member.layer)
            if member.side == "in":
                module.weight.movedim(1 - layer.output_axis, 0).zero_()
            else:
                module.weight.zero_()
                if layer.bias:
                    module.bias.zero_()
    return replace(model, net=net)


def test_a_block_of_dead_channels_bears_any_pruning_and_others_do_not(tiny: DiffusionModel, run: Run) -> None:
    middle = [group for group in coupled_groups(tiny.spec) if group.block == "mid"]
    assert len(middle) > 2
    run = replace(run, teacher=without_channels(tiny, middle))
    whole = whole_point(run, FID)
    told: list[float] = []
    found = list(pruned_points(run, FID, whole, by="block", criterion=Magnitude(), rule="paper", advance=told.append))
    points = {(point.block, point.ratio): point for point in found}
    assert whole.fid is not None and whole.fid.value > 1
    for ratio in RATIOS:
        point = points["mid", ratio]
        assert point.fid is not None and point.achieved == ratio and point.lighter > 0.05 * ratio
        assert abs(point.fid.value - whole.fid.value) < 1e-3 and point.strip == whole.strip
    other = points["up_1", 0.75]
    assert other.fid is not None and abs(other.fid.value - whole.fid.value) > 30 and other.strip != whole.strip
    # Two channels in each norm group: one of them is not 75 %.
    assert other.achieved == 0.5
    assert len(found) == len(RATIOS) * len({point.block for point in found})
    assert told == sorted(told) and told[-1] == 1.0


def measured(*values: float | None, ratios: Iterable[float] = RATIOS) -> tuple[Point, ...]:
    return tuple(
        Point(
            block="mid",
            ratio=ratio,
            achieved=ratio,
            lighter=0.1,
            fid=None if value is None else Measurement(value=value, stderr=1.0, samples=9, by="x"),
            strip=b"",
        )
        for ratio, value in zip(ratios, values, strict=False)
    )


def sensitivity(*values: float | None, times: float = 4.0) -> Sensitivity:
    (whole,) = measured(10.0, ratios=[0.0])
    return Sensitivity(
        name="it",
        by="block",
        unpruned=whole,
        points=measured(*values),
        blocks=("mid",),
        times=times,
        pruning="criterion magnitude",
    )


@pytest.mark.parametrize(
    ("values", "bound"),
    [
        # 40 is halfway from 20 to 80 in logarithms: 0.375.
        ((20.0, 80.0, 160.0), 0.35),
        ((11.0, 12.0, 39.0), 0.75),
        ((20.0, None, None), 0.25),
        # 40 is 2/3 of the way from 10 to 80.
        ((80.0, 20.0, 20.0), 0.15),
        ((10_000.0, 20_000.0, 20_000.0), 0.05),
        ((None, None, None), 0.05),
    ],
)
def test_the_bound_is_where_fid_passes_its_limit(values: tuple[float | None, ...], bound: float) -> None:
    found = sensitivity(*values)
    assert found.bound("mid") == bound
    assert found.ranges() == {"ratio.mid": (0.0, bound)}


def test_a_larger_limit_lets_a_block_go_further() -> None:
    assert sensitivity(20.0, 80.0, 160.0, times=8.1).bound("mid") == 0.5


def test_an_interrupted_block_has_no_range_but_its_figures() -> None:
    found = sensitivity(20.0, 80.0)
    assert not found.is_whole and found.ranges() == {}
    assert found.rows() == [["mid", "20.0 ± 1.0", "80.0 ± 1.0", "-", "-", "-"]]


# Timesteps


def test_higher_thresholds_keep_fewer_timesteps_and_other_channels(place: Path, run: Run) -> None:
    """On a teacher that has learned a little: one that knows nothing has the same loss everywhere."""
    teacher = Space.read(place / "tiny.yaml", ["teacher.images=12_000", "teacher.learning_rate=0.01"]).teacher
    model = teacher.obtain(run.images, cache=run.cache, device=run.device, on_progress=lambda progress: None)
    criterion = DiffPruning(timesteps=9, images=12)
    found = timesteps(
        replace(run, teacher=model), criterion, name="it", rule="flexible", scored="diff_pruning", advance=ignored
    )
    assert tuple(kept.threshold for kept in found.kept) == THRESHOLDS
    shares = [kept.share for kept in found.kept]
    assert shares == sorted(shares, reverse=True) and shares[0] == 1 and shares[-1] < 0.7
    assert found.kept[0].overlap == 1 and found.gone < found.kept[-1].overlap < 1
    # Of each group 30 % go, rounded down; norm groups do not count under this rule.
    assert 0.2 < found.gone <= 0.3


def test_timesteps_are_kept_from_zero_upwards() -> None:
    loss = torch.tensor([1.0, 0.5, 0.1, 0.04, 0.015, 0.005, 0.3])
    found = TimestepImportance(timestep_G=torch.arange(7), loss_G=4 * loss, importance_G=loss)
    assert [found.kept(threshold) for threshold in THRESHOLDS] == [7, 5, 4, 3, 2, 2, 1]


def test_importance_is_that_of_each_timestep_s_own_gradient(run: Run) -> None:
    criterion = DiffPruning(timesteps=3, images=5)
    done: list[float] = []
    found = timestep_importance(run.teacher, run, criterion, advance=done.append)
    generator = torch.Generator().manual_seed(0)
    picked = torch.randint(len(run.images.train_NCHW), (5,), generator=generator)
    image = run.images.train_NCHW[picked].float() / 127.5 - 1
    noise = torch.randn(image.shape, generator=generator)
    last = run.teacher.spec.diffusion.steps - 1
    for place, timestep in enumerate((0, round(last / 2), last)):
        net, when = run.teacher.copy_of_net(), torch.full((5,), timestep)
        noisy = run.teacher.spec.diffusion.noised(image, noise, when)
        loss = (run.teacher.spec.network.call(net, noisy, when, None) - noise).square().mean()
        loss.backward()
        products = [(each * each.grad).abs().flatten() for each in net.parameters() if each.grad is not None]
        assert_close(found.loss_G[place], loss.detach())
        assert_close(found.importance_G[place], torch.cat(products).mean().detach(), rtol=1e-4, atol=0)
    assert done == [1 / 3, 2 / 3, 1.0]


def test_the_range_begins_where_timesteps_go_and_ends_where_a_tenth_is_left() -> None:
    loss = (1.0, 0.61, 0.5, 0.4, 0.3, 0.2, 0.1, 0.08, 0.05, 0.0345)
    found = Timesteps(
        name="it",
        timestep=tuple(range(10)),
        loss=loss,
        importance=loss,
        kept=(),
        gone=0.3,
        steps=10,
        scored="",
    )
    assert found.ranges() == {"threshold": (0.034, 0.99)}
    thinner = replace(found, timestep=tuple(range(20)), loss=(*loss, *loss))
    assert thinner.ranges() == {"threshold": (0.034, 0.6)}
    assert replace(found, loss=(1.0,) * 10).ranges() == {}


# Weight variation


def moved(model: DiffusionModel, layer: str, distance: float) -> DiffusionModel:
    net = model.copy_of_net()
    with torch.no_grad():
        weight = net.get_submodule(layer).weight
        # Up and down: a mean of changes with their signs would be nothing.
        weight += distance * torch.where(torch.arange(weight.numel()).view_as(weight) % 2 == 0, 1.0, -1.0)
    return replace(model, net=net)


def layers_in(model: DiffusionModel, macro_block: str) -> int:
    spec = model.spec
    return sum(
        layer.is_product and spec.network.macro_block_of(name) == macro_block for name, layer in spec.layers.items()
    )


def test_distance_is_the_mean_over_the_layers_of_a_macro_block(tiny: DiffusionModel) -> None:
    second = moved(tiny, "mid_block.resnets.0.conv1", 0.5)
    third = moved(moved(second, "down_blocks.0.resnets.0.conv2", 0.25), "down_blocks.0.resnets.0.conv1", 1.0)
    found = weight_variation([("a", tiny), ("b", second), ("c", third)])
    assert "from b to c" in found.answer() and "D0" in found.answer()
    first, then = (dict(step.distance) for step in found.steps)
    middle, down = layers_in(tiny, "M1"), layers_in(tiny, "D0")
    assert middle > 2 and down > 2 and middle != down
    assert first.pop("M1") == pytest.approx(0.5 / middle, rel=1e-5) and set(first.values()) == {0.0}
    assert then.pop("D0") == pytest.approx(1.25 / down, rel=1e-5) and set(then.values()) == {0.0}


def test_a_pruned_successor_is_compared_on_the_channels_it_still_has(tiny: DiffusionModel, run: Run) -> None:
    """Attention's queries, which pruning multiplies to keep the softmax as it was, did not move either."""
    smaller = Prune(ratio=0.5, criterion=Magnitude()).apply(tiny, run)
    assert smaller.spec.layers["mid_block.attentions.0.to_q"].outputs == 8
    twice = Prune(ratio={"mid": 0.5}, criterion=Magnitude()).apply(smaller, run)
    third = moved(twice, "mid_block.resnets.0.conv1", 0.5)
    found = weight_variation([("a", tiny), ("b", smaller), ("c", third)])
    assert max(found.steps[0].distance.values()) < 1e-7
    assert found.steps[1].distance["M1"] == pytest.approx(0.5 / layers_in(tiny, "M1"), rel=1e-5)


def test_models_that_do_not_descend_from_each_other_are_refused(tiny: DiffusionModel, run: Run) -> None:
    other = build(Unet(image_size=8, image_channels=1, channels=(8, 24), norm_groups=4))
    with pytest.raises(UserError, match=r"b does not descend from a: it is another network.*the first one first"):
        weight_variation([("a", tiny), ("b", other)])
    smaller = Prune(ratio=0.5, criterion=Magnitude()).apply(tiny, run)
    with pytest.raises(UserError, match=r"b does not descend from a: it has "):
        weight_variation([("a", smaller), ("b", tiny)])


# Ranges


def test_ranges_change_the_numbers_of_a_space_and_nothing_else(place: Path) -> None:
    space = Space.read(place / "tiny.yaml")
    ranges = {"ratio.mid": (0.0, 0.55), "ratio.up_0": (0.0, 0.35), "ratio.time": (0.0, 0.5), "threshold": (0.0, 0.29)}
    changed, left = write_ranges(space, ranges, place / "new.yaml", reason="for a\nreason.")
    new = Space.read(place / "new.yaml")
    knobs = {knob.path: (knob.low, knob.high) for knob in new.knobs if knob.kind == "float"}
    assert knobs == {
        "prune.criterion.diff_pruning.threshold": (0.0, 0.29),
        # Its logarithm needs a lower end above 0, and it has one.
        "prune.criterion.taylor.threshold": (0.001, 0.29),
        "prune.ratio.mid": (0.0, 0.55),
        # In steps of 0.1.
        "prune.ratio.up_0": (0.0, pytest.approx(0.3)),
        "distil.learning_rate": (1e-4, 1e-3),
    }
    assert set(changed) == set(knobs) - {"distil.learning_rate"} and left == ["ratio.time"]
    text = (place / "new.yaml").read_text()
    *lines, last = text.splitlines()
    assert last.startswith("# Ranges of prune.ratio.mid, ") and last.endswith(": for a reason.")
    for before, after in zip(SPACE.splitlines(), lines, strict=True):
        assert "".join(c for c in before if c not in "0123456789.e-") == "".join(
            c for c in after if c not in "0123456789.e-"
        )
    assert "- 0.55   # far" in text and "[0.0, 0.29]}}   # only here" in text
    assert new.question == space.question == "Which blocks?"


def test_a_space_without_such_a_knob_is_refused(place: Path) -> None:
    space = Space.read(place / "tiny.yaml")
    with pytest.raises(UserError, match=r"has no knob for prune.ratio.M1, prune.ratio.U0; .*prune.ratio.mid"):
        check_knobs(space, ["ratio.M1", "ratio.U0"], path=Path("tiny.yaml"))
    # A value that is fixed is no knob.
    with pytest.raises(UserError, match=r"has no knob for prune\.ratio\.down_0"):
        check_knobs(space, ["ratio.down_0"], path=Path("tiny.yaml"))
    check_knobs(space, ["ratio.down_0", "threshold"], path=Path("tiny.yaml"))


def test_shown_ranges_are_a_stage_of_a_space(place: Path) -> None:
    text = ranges_text({"ratio.mid": (0.0, 0.55), "ratio.up_0": (0.0, 0.1), "threshold": (0.0, 0.2)})
    head = SPACE[: SPACE.index("recipe:")]
    (place / "shown.yaml").write_text(f"{head}recipe:\n{text}objectives: [fid, size_mb]\n")
    paths = {knob.path.rpartition(".")[2]: knob.high for knob in Space.read(place / "shown.yaml").knobs}
    assert paths == {"mid": 0.55, "up_0": 0.1, "threshold": 0.2}


@pytest.mark.parametrize(
    ("value", "rounded"), [(0.1279, 0.12), (0.29, 0.29), (0.3, 0.3), (0.00999, 0.0099), (0.0, 0.0)]
)
def test_rounding_down_never_goes_up(value: float, rounded: float) -> None:
    assert rounded_down(value) == rounded


# Where a model comes from


def test_a_model_knows_its_data_from_where_it_lies(place: Path, tiny: DiffusionModel) -> None:
    study = place / "study"
    for folder in (study / "teacher", study / "trials" / "0007", place / "bare"):
        files.save(tiny, folder)
    (study / "space.yaml").write_text(SPACE)
    for path, weights, name in (
        (study, study / "teacher", "the teacher of tiny"),
        (study / "teacher", study / "teacher", "teacher"),
        (study / "trials" / "0007", study / "trials" / "0007", "0007"),
    ):
        found = Subject.find(path)
        assert found.weights == weights and found.name == name and found.fid == FID and found.data is not None
        with pytest.raises(UserError, match="Leave --data out"):
            found.with_data("digits")
    assert Subject.find(place / "tiny.yaml").weights is None
    bare = Subject.find(place / "bare")
    assert bare.data is None and bare.with_data("{digits: {}}").data == Space.read(place / "tiny.yaml").data


def test_an_exported_folder_knows_its_data_and_how_it_was_measured(place: Path, tiny: DiffusionModel) -> None:
    exported = place / "exported"
    for folder in (exported, exported / "teacher"):
        files.save(tiny, folder)
    recipe = {"data": "digits", "teacher": {"from": "teacher"}, "recipe": [], "budget": {"images": 9}}
    objectives = ["size_mb", {"fid": {"samples": 48, "extractor": "labels"}}]
    (exported / "recipe.yaml").write_text(json.dumps({**recipe, "objectives": objectives}))
    for path in (exported, exported / "teacher"):
        found = Subject.find(path)
        assert found.data is not None and found.fid == FID and found.weights == path


# The command


def called(*arguments: object, monkeypatch: pytest.MonkeyPatch) -> int:
    monkeypatch.setattr(sys, "argv", ["search.analyse", *map(str, arguments)])
    with pytest.raises(SystemExit) as end:
        command(main, name="python -m search.analyse")
    assert isinstance(end.value.code, int)
    return end.value.code


def test_sensitivity_of_a_space_writes_a_page_and_a_space(
    place: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = ("tiny.yaml", "--what", "sensitivity", "--json", "--write", "tiny.yaml", "--out", "new.yaml")
    assert called(*arguments, monkeypatch=monkeypatch) == 0
    out, err = capsys.readouterr()
    found = json.loads(out)
    blocks = {point["block"] for point in found["points"]}
    assert blocks == {"time", "down_0", "down_1", "mid", "up_0", "up_1"} and len(found["points"]) == 3 * len(blocks)
    ends = {knob.path: [knob.low, knob.high] for knob in Space.read(place / "new.yaml").knobs if knob.kind == "float"}
    assert ends["prune.ratio.mid"] == found["ranges"]["prune.ratio.mid"]
    assert "new.yaml has the ranges of prune.ratio.mid, prune.ratio.up_0; it has no knob for ratio.time" in err
    page = (place / "tiny-sensitivity.html").read_text()
    assert page.count('alt="the whole model"') == len(blocks) and "data:image/webp;base64,UklGR" in page
    assert "Block that is pruned, from input to output" in page and "http-equiv" in page


def test_an_interrupted_analysis_shows_what_it_has_and_goes_on_from_there(
    place: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    calls = 0
    measure = Fid.measure

    def until_the_sixth(self: Fid, model: DiffusionModel, run: Run) -> Measurement:
        nonlocal calls
        calls += 1
        if calls == 6:
            raise KeyboardInterrupt
        return measure(self, model, run)

    monkeypatch.setattr(Fid, "measure", until_the_sixth)
    arguments = ["tiny.yaml", "--what", "sensitivity", "--rule", "flexible", "--samples", "40"]
    written = ["--write", "tiny.yaml", "--out", "new.yaml"]
    assert called(*arguments, *written, monkeypatch=monkeypatch) == 130
    out = capsys.readouterr().out
    # The whole model, and four points of two blocks.
    assert calls == 6 and "time" in out and "down_0" in out and "down_1" not in out
    assert "new.yaml was not written: the analysis was interrupted" in out and "Give the same command again" in out
    assert "Interrupted: only a part was measured." in (place / "tiny-sensitivity.html").read_text()
    assert not (place / "new.yaml").exists()
    assert called(*arguments, monkeypatch=monkeypatch) == 0
    # The whole model again, and the 14 points that were left.
    assert calls == 6 + 1 + 14


def test_timesteps_and_weight_variation_of_model_folders(
    place: Path, tiny: DiffusionModel, run: Run, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    files.save(tiny, place / "one")
    files.save(moved(Prune(ratio=0.5, criterion=Magnitude()).apply(tiny, run), "conv_in", 0.5), place / "<b>")
    arguments = ("--what", "timesteps", "--data", "digits", "--criterion", "{taylor: {timesteps: 6, images: 8}}")
    assert called("one", *arguments, monkeypatch=monkeypatch) == 0
    assert "criterion taylor (timesteps 6, images 8), rule paper" in " ".join(capsys.readouterr().out.split())
    assert (place / "one" / "timesteps.html").is_file()
    assert called("one", "<b>", "--what", "weight-variation", "--json", monkeypatch=monkeypatch) == 0
    found = json.loads(capsys.readouterr().out)
    inputs = layers_in(tiny, "I")
    assert found["steps"][0]["distance"]["I"] == pytest.approx(0.5 / inputs, rel=1e-5)
    page = (place / "one" / "weight-variation.html").read_text()
    body = page[page.index("<header>") : page.index('<script type="application/json"')]
    assert "one to &lt;b&gt;" in body and "<b>" not in body


def test_generation_is_timed_by_the_images_in_a_batch(
    place: Path,
    tiny: DiffusionModel,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """No data and no extractor is needed: what is drawn is not judged."""
    files.save(tiny, place / "model")
    steps = tiny.spec.sampling_steps
    # A pass takes 2 ms and 1 ms for each image.
    charged = in_place_of_time(monkeypatch).charged(files.load(place / "model"), seconds=0.002, seconds_per_image=0.001)
    monkeypatch.setattr(Subject, "model", lambda subject, console: charged)
    assert called("model", "--what", "generation", "--json", monkeypatch=monkeypatch) == 0
    found = json.loads(capsys.readouterr().out)
    assert {row["batch"]: row["value"] for row in found["batches"]} == pytest.approx(
        {batch: steps * (2 + batch) for batch in (1, 2, 4, 8, 16, 32, 64)}
    )
    assert found["batches"][-1]["ms_per_image"] == pytest.approx(steps * 66 / 64)
    assert all(row["stderr"] < 1e-9 and row["samples"] >= 5 for row in found["batches"])
    assert found["is_whole"] and found["answer"].endswith(f"at 64 at a time, {3 * steps} ms alone.")
    page = (place / "model" / "generation.html").read_text()
    assert "Time of a batch" in page and "Time of an image in it" in page


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (["nowhere", "--what", "timesteps"], "nowhere does not exist. Give a space"),
        (["nowhere.yaml", "--what", "timesteps"], "nowhere.yaml has 1 mistake:\n  does not exist"),
        (["empty", "--what", "timesteps"], "empty is no model: it has neither model.safetensors"),
        (["model", "--what", "timesteps"], "model does not say which data it belongs to"),
        (["model", "--what", "timesteps", "--data", "digit"], "--data digit: unknown data set 'digit'. Did you mean"),
        (["model", "--what", "timesteps", "--data", "a: ["], "--data has 1 mistake:"),
        (["model", "--what", "weight-variation"], "weight-variation compares models: give two or more"),
        (["model", "tiny.yaml", "--what", "generation"], "generation looks at one model, got 2"),
        (
            ["model", "--what", "generation", "--write", "tiny.yaml", "--out", "new.yaml"],
            "generation suggests no ranges, so there is nothing to write. Leave --write out.",
        ),
        (["model", "tiny.yaml", "--what", "sensitivity"], "sensitivity looks at one model, got 2"),
        (
            ["tiny.yaml", "--what", "timesteps", "--criterion", "magnitude"],
            "--criterion magnitude: looks at no timestep",
        ),
        (["tiny.yaml", "--what", "sensitivity", "--criterion", "{magnitude: {norm: l3}}"], "--criterion {magnitude"),
        (["tiny.yaml", "--what", "sensitivity", "--times", "1"], "--times must be above 1, got 1."),
        (["tiny.yaml", "--what", "sensitivity", "--samples", "1"], "--samples must be from 2 to 1,000,000, got 1."),
        (["tiny.yaml", "--what", "sensitivity", "--samples", "99999999999"], "--samples must be from 2 to 1,000,000"),
        (
            ["tiny.yaml", "--what", "sensitivity", "--write", "tiny.yaml"],
            "--write SPACE and --out NEW.yaml go together",
        ),
        (
            ["tiny.yaml", "--what", "sensitivity", "--write", "tiny.yaml", "--out", "tiny.yaml"],
            "tiny.yaml exists already. Give another --out",
        ),
        (
            ["tiny.yaml", "--what", "sensitivity", "--by", "macro-block", "--write", "tiny.yaml", "--out", "n.yaml"],
            "--write: tiny.yaml has no knob for prune.ratio.I, prune.ratio.D0",
        ),
        (["quantized", "--what", "sensitivity", "--data", "digits"], "quantized cannot lose channels: "),
        (
            ["quantized", "model", "--what", "weight-variation"],
            "quantized: time_embedding.linear_1 is grouped or quantised",
        ),
    ],
)
def test_bad_input_gives_one_message_and_computes_nothing(
    arguments: list[str],
    expected: str,
    place: Path,
    tiny: DiffusionModel,
    run: Run,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    from trainers.compression.quantize import Quantize

    def never(*arguments: Any, **options: Any) -> None:
        raise AssertionError("bad input was computed with")

    (place / "empty").mkdir()
    files.save(tiny, place / "model")
    files.save(Quantize(bits=8).apply(tiny, run), place / "quantized")
    before = sorted(place.rglob("*"))
    monkeypatch.setattr("trainers.teacher.Teacher.obtain", never)
    monkeypatch.setattr(Fid, "measure", never)
    assert called(*arguments, monkeypatch=monkeypatch) == 2
    out, err = capsys.readouterr()
    assert err.startswith(expected) and "Traceback" not in err and out == ""
    assert sorted(place.rglob("*")) == before
