"""What a user can get wrong: one message, exit code 2, no traceback, and nothing computed or left behind."""

import json
import os
import shlex
import signal
import socket
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from search._database import engine_of
from search.lease import held
from search.rehearsal import Rehearsal
from tests.called import called
from tests.search.study_folder import study_folder

ROOT = Path(__file__).parents[2]
SPACE = "tiny.yaml"
TINY: dict[str, Any] = {
    "name": "tiny",
    "data": "digits",
    "teacher": {"network": {"unet": {"channels": [8, 16], "norm_groups": 4}}, "images": 2_000},
    "recipe": [{"prune": {"ratio": {"float": [0.0, 0.5]}}}, {"distil": {"sampling_steps": 4}}],
    "objectives": [{"fid": {"extractor": "labels", "samples": 64}}, "size_mb"],
    "limits": {"fid": 100_000},
    "budget": {"trials": 6, "images": 512},
    "sampler": "random",
}


Refused = Callable[..., str]


def written(**changes: Any) -> str:
    """The tiny space as YAML with sections replaced. JSON is YAML."""
    return "# Does a tiny search work?\n" + json.dumps({**TINY, **changes}, indent=1)


def unet(**options: Any) -> dict[str, Any]:
    return {"unet": {"channels": [8, 16], "norm_groups": 4, **options}}


@pytest.fixture
def place(tmp_path, monkeypatch, cache):
    """An empty folder to work in; nothing may be trained, and no trial or Ray be started."""

    def never(*arguments: object, **options: object) -> None:
        raise AssertionError("bad input was computed with")

    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("SLIMFRONT_CACHE", str(cache.folder))
    monkeypatch.setattr("trainers.teacher.Teacher.obtain", never)
    monkeypatch.setattr("search.searching.Searching.run", never)
    monkeypatch.setattr("search.rehearsal.rehearse", lambda *arguments, **options: Rehearsal())
    return tmp_path


@pytest.fixture
def refused(place) -> Refused:
    """Runs a command that has to be refused, and gives its message."""

    def run(module: str, *arguments: object, code: int = 2) -> str:
        before = sorted(place.rglob("*"))
        outcome = called(module, arguments)
        assert outcome.code == code, outcome
        assert sorted(place.rglob("*")) == before, "something was left behind"
        unindented = [line for line in outcome.err.splitlines() if not line.startswith("  ")]
        assert "Traceback" not in outcome.err and 1 <= len(unindented) <= 2, outcome.err
        return outcome.err.strip()

    return run


@pytest.fixture
def refused_space(place, refused) -> Refused:
    """The message about the tiny space with sections replaced; the dry run has to say the same as the run."""

    def run(**changes: Any) -> str:
        (place / SPACE).write_text(written(**changes))
        message = refused("search.run", SPACE, "--workers", 0)
        assert refused("search.run", SPACE, "--dry-run") == message
        return message

    return run


def test_files_that_are_no_space(place, refused):
    (place / "folder").mkdir()
    (place / "folder" / "a.yaml").write_text("")
    (place / "bad.yaml").write_text("a: b: c\n")
    (place / "twice.yaml").write_text("name: a\nname: b\n" + "teacher: {from: x}\nrecipe: []\n")
    for path, expected in {
        "missing.yaml": "missing.yaml has 1 mistake:\n  does not exist. Name a YAML file such as spaces/",
        "folder": "folder has 1 mistake:\n  is a folder. Name a YAML file, such as folder/a.yaml.",
        "bad.yaml": "bad.yaml has 1 mistake:\n  line 1, column 5: is not valid YAML: ",
        "folder/a.yaml": "folder/a.yaml has 1 mistake:\n  is empty. Copy a file of spaces/ to begin with.",
        "twice.yaml": "twice.yaml has 1 mistake:\n  line 2, column 1: the key 'name' is written twice, first at line 1",
    }.items():
        assert refused("search.run", path).startswith(expected)
    assert refused("search.run").startswith("which space? Give a YAML file")


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"dat": "digits"}, "unknown key 'dat'. Did you mean 'data'?"),
        ({"recipe": [{"prune": {"ratio": {"float": [0.5, 0.1]}}}]}, "prune.ratio: must go from low to high, got [0.5"),
        (
            {"recipe": [{"prune": {"ratio": {"float": [0.0, 0.1], "log": True}}}]},
            "prune.ratio: must begin above 0 with log, got 0.0.",
        ),
        ({"recipe": [{"prune": {"ratio": {"choice": []}}}]}, "must be a list of at least one choice, got []."),
        ({"recipe": [{"quantize": {"bits": 3}}]}, "quantize.bits: must be 4, 8, 16 or 32, got 3."),
        ({"recipe": [{"prune": {"ratio": {"float": [0.5, 1.0]}}}]}, "prune.ratio: must be less than 1, got 1.0"),
        ({"objectives": ["fd", "size_mb"]}, "objectives.0: unknown objective 'fd'. Did you mean 'fid'?"),
        ({"sampler": "tpee"}, "sampler: unknown sampler 'tpee'. Did you mean 'tpe'?"),
        ({"objectives": ["fid"]}, "objectives: has no objective to trade off against 'fid'. Add "),
        ({"limits": {"fid": 0}}, "limits.fid: must be a number above 0, got 0."),
        ({"recipe": [{"distil": {"batch": 10**12}}]}, "distil.batch: must be at most 65,536, got 1000000000000."),
        ({"teacher": {"network": unet(), "seed": 10**36}}, "teacher.seed: must be less than 2,147,483,648, got 1000"),
        ({"sampler": {"tpe": {"seed": -5}}}, "sampler.tpe.seed: must be at least 0, got -5. Leave it out for 0."),
        ({"sampler": {"tpe": {"seed": 2**32}}}, "sampler.tpe.seed: must be less than 2,147,483,648, got 4294967296."),
        ({"confirm": 10**12}, "confirm: must be at most 1,000, got 1000000000000."),
        ({"budget": {"trials": 10**30}}, "budget.trials: must be at most 1,000,000,000,000, got 1000"),
        ({"name": "../x"}, "name: '../x' cannot be a study's name. Use 1 to 100 letters"),
        (
            {"teacher": {"network": unet(norm_groups=3)}},
            "norm_groups: 3 does not divide the width 8 of channels [8, 16]",
        ),
        (
            {"teacher": {"network": unet(attention=[True])}},
            "attention has 1 entries, channels has 2. Give one per reso",
        ),
        ({"teacher": {"network": unet(head_dim=3)}}, "head_dim: 3 does not divide all of channels [8, 16]."),
    ],
)
def test_mistakes_that_the_file_shows_name_their_line(refused_space, changes, expected):
    head, mistake = refused_space(**changes).splitlines()
    assert head == "tiny.yaml has 1 mistake:"
    assert mistake.startswith("  line ") and expected in mistake


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        (
            {"recipe": [{"group": {"groups": 3}}]},
            "group.groups: 3 divides both channel counts of no convolution. Use 1, 2, 4, 8 or 16, or 'max'.",
        ),
        (
            {"recipe": [{"group": {"groups": {"choice": [1, 3]}}}]},
            "group.groups: 3 divides both channel counts of no convolution. Use 1, 2, 4, 8 or 16, or 'max'.",
        ),
        (
            {"recipe": [{"prune": {"ratio": {"down_2": {"float": [0.0, 0.5]}}}}]},
            "prune.ratio: this network has no block 'down_2'. Did you mean 'down_1'?",
        ),
        (
            {"recipe": [{"group": {"groups": 2}}, {"prune": {"ratio": {"float": [0.1, 0.5]}}}]},
            "prune: down_blocks.0.resnets.0.conv1 is grouped or quantised already. "
            "Put prune before group and quantize.",
        ),
        (
            {"recipe": [{"student": {"network": unet(channels=[8, 12], norm_groups=8)}}, "distil"]},
            "student.network: norm_groups: 8 does not divide the width 12 of channels [8, 12]. "
            "Choose a number that divides all widths.",
        ),
        (
            {"recipe": [{"student": {"network": unet(channels=[4, {"int": [4, 6]}])}}, "distil"]},
            "student.network: norm_groups: 4 does not divide the width 6 of channels [4, 6]. "
            "Choose a number that divides all widths.",
        ),
        (
            {"recipe": [{"student": {"network": unet(channels=[8] * 5)}}, "distil"]},
            "student.network: channels has 5 resolutions, but 8 pixels cannot be halved 4 times. "
            "Use fewer resolutions or another image_size.",
        ),
        (
            {"recipe": [{"quantize": {"bits": 8}}, {"mask": {"ratio": {"float": [0.1, 0.5]}}}]},
            "mask: conv_in is quantised already. Put mask before quantize.",
        ),
        (
            {"recipe": [{"quantize": {"bits": {"choice": [4, 8]}, "where": "middle"}}]},
            "quantize.where: 'middle' names no layer. Did you mean 'mid'? "
            "Blocks: time, down_0, down_1, mid, up_0, up_1; a layer is named like 'time_embedding.linear_1'.",
        ),
        (
            {"recipe": [{"prune": {"ratio": {"D0": 0.5, "down_0": {"float": [0.1, 0.2]}}}}]},
            "prune.ratio: 'D0' and 'down_0' both name down_blocks.0.resnets.0.conv1, with different ratios. "
            "Keep one of them.",
        ),
        (
            {"recipe": [{"prune": {"ratio": 0.5, "greedy": True}}]},
            "prune.greedy: scoring anew after each group would need new gradients each time. "
            "Use magnitude or random, or leave greedy out.",
        ),
        (
            {"recipe": [{"quantize": {"bits": 4, "activations": 8}}]},
            "quantize.activations: 8-bit activations go with 8-bit weights, found bits: 4. "
            "Set bits: 8, or leave 'activations' out.",
        ),
    ],
)
def test_stages_that_do_not_fit_the_network_name_their_option(refused_space, changes, expected):
    head, mistake, *more = refused_space(**changes).splitlines()
    assert head.startswith("tiny.yaml has ") and expected in [line.strip() for line in (mistake, *more)]


def test_teacher_that_does_not_fit_its_data(refused_space):
    message = refused_space(teacher={"network": unet(classes=3)})
    assert message == (
        "teacher.network: classes is 3, but digits has labels up to 9. "
        "Set classes: 10, or 0 for a network that knows no labels."
    )
    message = refused_space(teacher={"network": unet(channels=[8] * 5)})
    assert message.startswith("teacher.network: channels has 5 resolutions, but 8 pixels cannot be halved 4 times.")


def test_all_mistakes_are_listed_at_once(refused_space):
    shown = refused_space(
        recipe=[{"prune": {"ratio": {"float": [0.5, 0.1]}}}, {"quantize": {"bits": 3}}],
        teacher={"network": unet(norm_groups=3, attention=[True])},
        sampler="tpee",
    ).splitlines()
    assert shown[0] == "tiny.yaml has 5 mistakes:" and len(shown) == 6
    planned = refused_space(recipe=[{"prune": {"ratio": {"up_7": 0.1, "low": 0.1}}}, {"group": {"groups": 3}}])
    assert [line.strip().split(" ")[0] for line in planned.splitlines()[1:]] == [
        "prune.ratio:",
        "prune.ratio:",
        "group.groups:",
    ]


def test_limits_that_nothing_meets_are_named_with_what_would_do(refused_space):
    message = refused_space(limits={"size_mb": 0.0001}, constraints=["prune.ratio >= 0.3"])
    lines = message.splitlines()
    assert lines[0] == "no candidate of this space meets its limits and constraints:"
    assert lines[1].startswith("  the limit on size_mb excludes all of 302: it is 0.0001, the least 0.04")
    assert lines[2].startswith("  the constraint 'prune.ratio >= 0.3' excludes ") and " all of" not in lines[2]
    assert "Loosen" in lines[3]


def test_constraints_that_nothing_meets_are_named(refused_space):
    lines = refused_space(constraints=["prune.ratio > 0.6"]).splitlines()
    assert "  the constraint 'prune.ratio > 0.6' excludes all of 302" in lines


def test_more_cores_than_the_machine_has(refused_space):
    cores = os.cpu_count() or 1
    message = refused_space(resources={"cpu": cores + 1})
    assert f"asks for {cores + 1} cores, this machine has {cores}. Ask for fewer." in message


def test_more_gpus_than_the_machine_has(place, refused, monkeypatch):
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 0)
    (place / SPACE).write_text(written(resources={"gpu": 1}))
    message = refused("search.run", SPACE)
    assert "asks for 1 GPU, this machine has 0" in message and "`resources: {gpu: 0}`" in message
    # What the space costs can still be asked.
    asked = called("search.run", [SPACE, "--dry-run"])
    assert asked.code == 0 and f"it could not be searched here. {message}" in asked.out


def test_data_and_teachers_that_are_not_there(refused_space):
    for data in ({"folder": {"path": "nowhere"}}, {"folder": {"path": "nowhere", "image_size": 8, "channels": 1}}):
        assert "nowhere does not exist (looked for /" in refused_space(data=data)
    message = refused_space(teacher={"from": "./nowhere"})
    assert (
        message.startswith("teacher.from: ./nowhere does not exist (looked for /") and "Give a model folder" in message
    )


@pytest.mark.parametrize("path", ["x" * 300, "~nosuchuser/x", f"{'x' * 300}/x"])
def test_paths_that_no_file_can_have(refused_space, path):
    network = unet(image_size=8, image_channels=1)
    for changes in (
        {"data": {"folder": {"path": path}}},
        {"data": {"cifar10": {"path": path, "image_size": 8}}, "teacher": {"network": unet()}},
        {"data": {"hub": {"id": "a/b", "path": path}}, "teacher": {"network": network}},
        {"data": {"latent": {"of": "digits", "autoencoder": path}}},
        {"teacher": {"from": path}},
        {"teacher": {"from": f"{path}.safetensors"}},
        {"from_study": path, "sampler": "budget_ei"},
    ):
        message = refused_space(**changes)
        assert message.startswith(path[:100]) and " cannot be looked for: " in message and len(message) < 250


@pytest.mark.parametrize(
    "arguments",
    [
        *(["search.run", "LONG"], ["search.run", SPACE, "--try", "LONG"]),
        *(["search.best", "LONG"], ["search.explore", "LONG"], ["search.compare", "LONG"]),
        *(["search.compare", "LONG", "LONG"], ["search.simulate", "LONG"], ["search.validate", "LONG"]),
        *(["search.analyse", "LONG", "--what", "sensitivity"], ["search.analyse", "LONG.yaml", "--what", "timesteps"]),
        *(["search.export", "LONG", "--knee", "--out", "out"], ["search.export", "study", "--knee", "--out", "LONG"]),
        ["trainers.full", "LONG"],
    ],
)
def test_arguments_that_no_file_can_be_called(place, refused, arguments):
    (place / SPACE).write_text(written())
    study_folder(place / "study")
    message = refused(*(argument.replace("LONG", "x" * 300) for argument in arguments))
    assert "File name too long" in message or "has no recipe.yaml" in message


def test_data_that_only_the_run_needs_is_found_before_anything_is_trained(place, refused):
    network = unet(image_size=8, image_channels=1)
    (place / SPACE).write_text(written(teacher={"network": network}, data={"folder": {"path": "nowhere"}}))
    assert "nowhere does not exist" in refused("search.run", SPACE)


def test_cache_below_a_file(refused_space, place, monkeypatch):
    (place / "file").write_text("")
    monkeypatch.setenv("SLIMFRONT_CACHE", str(place / "file" / "cache"))
    message = refused_space()
    assert message.startswith(f"cannot write to the cache {place}/file/cache (Not a directory).")
    assert "SLIMFRONT_CACHE" in message


@pytest.mark.parametrize("blocked", ["studies", "studies/runs", "studies/runs/tiny"])
def test_results_that_cannot_be_written(place, refused, blocked):
    (place / SPACE).write_text(written())
    (place / blocked).parent.mkdir(parents=True, exist_ok=True)
    (place / blocked).write_text("")
    assert refused("search.run", SPACE).startswith("cannot write into studies/runs/tiny (")


@pytest.mark.parametrize("name", ["a/b", "..", "a..b", ".hidden", "x" * 300, "", "a b", "\u00e9"])
def test_names_that_are_no_folder(place, refused, name):
    (place / SPACE).write_text(written())
    message = refused("search.run", SPACE, "--name", name)
    assert "cannot be a study's name. Use 1 to 100 letters" in message and len(message) < 250


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (["--trials", "0"], "--trials must be at least 1, got 0."),
        (["--workers", "-1"], "--workers must be at least 0, got -1."),
        (["--trials", "abc"], 'Invalid value for --trials: unable to convert "abc" into int.'),
        (["--trails", "3"], "Unknown option: --trails. Did you mean --trials?"),
        (["more.yaml"], "Unused Tokens: ['more.yaml']"),
        (["--set", "budget.trals=3"], "budget: unknown option 'trals'. Did you mean 'trials'?"),
        (["--set", "prun.ratio=0.3"], "prun.ratio: begins with the unknown 'prun'. Did you mean 'prune'?"),
        (["--set", "prune.ratio=1.5"], "prune.ratio: must be less than 1, got 1.5."),
        (["--set", "budget.trials=many"], "budget.trials: must be a whole number, got 'many'."),
        (["--set", "trials"], "(from --set trials) is not an override. Write --set path=value"),
        (["--set", ""], "(from --set '') is not an override."),
        (["--resume"], "--resume: there is no study studies/runs/tiny. Leave --resume out to start it."),
        (["--json"], "--json belongs to --dry-run."),
    ],
)
def test_options_that_are_wrong(place, refused, arguments, expected):
    (place / SPACE).write_text(written())
    assert expected in refused("search.run", SPACE, *arguments)


def test_other_space_under_an_old_name_shows_the_difference_and_three_ways_out(place, refused):
    folder = place / "studies" / "runs" / "tiny"
    folder.mkdir(parents=True)
    (folder / "space.yaml").write_text(written(recipe=[{"prune": {"ratio": {"float": [0.0, 0.4]}}}, "distil"]))
    (place / SPACE).write_text(written())
    head, *differences, ways = refused("search.run", SPACE).splitlines()
    assert head == "studies/runs/tiny holds a study of another space:"
    assert "  prune.ratio: stored {float: [0.0, 0.4]}, now {float: [0.0, 0.5]}" in differences
    assert all(way in ways for way in ("--name", "put the space back", "move studies/runs/tiny away"))


def test_held_study_exits_3_and_says_who_holds_it(place, refused):
    (place / SPACE).write_text(written())
    folder = Path("studies/runs/tiny")
    with held(folder, engine_of(folder)):
        message = refused("search.run", SPACE, code=3)
    holder = f"process {os.getpid()} on {socket.gethostname()} since "
    assert message.startswith(f"studies/runs/tiny is held by another driver ({holder}")
    assert "--name" in message and "--take-over" in message


@pytest.mark.parametrize("command", ["search.best", "search.explore", "search.export"])
def test_folders_that_are_no_study(place, refused, command):
    (place / "runs" / "empty").mkdir(parents=True)
    (place / "file").write_text("")
    more = ["--knee", "--out", "out"] if command == "search.export" else []
    assert "nowhere does not exist. A study is a folder with front.json" in refused(command, "nowhere", *more)
    assert "file is a file, not a folder." in refused(command, "file", *more)
    assert "runs/empty has no front.json and no trials.jsonl." in refused(command, "runs/empty", *more)
    study_folder(place / "runs" / "kept")
    for path in ("runs", "runs/empty"):
        assert refused(command, path, *more).endswith("runs/kept.")


@pytest.mark.parametrize(
    ("bound", "expected"),
    [
        ("size=1", "--max: unknown objective 'size'; this study has fid, size_mb, macs_g, latency_ms."),
        ("size_m=1", "Did you mean 'size_mb'?"),
        ("size_mb", "--max 'size_mb' is not OBJECTIVE=NUMBER. Write, for example, --max size_mb=1.5"),
        ("size_mb=small", "--max 'size_mb=small' is not OBJECTIVE=NUMBER."),
        ("size_mb=nan", "--max 'size_mb=nan' is not OBJECTIVE=NUMBER."),
    ],
)
def test_bounds_that_are_wrong(place, refused, bound, expected):
    study_folder(place / "study")
    assert expected in refused("search.best", "study", "--max", bound)
    assert expected in refused("search.export", "study", "--max", bound, "--out", "out")


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        ([], "which trial? Give one of --trial NUMBER, --knee and a budget, --max OBJECTIVE=NUMBER."),
        (["--knee", "--trial", "1"], "which trial? Give one of --trial NUMBER, --knee and a budget"),
        (["--knee", "--max", "size_mb=1"], "which trial? Give one of --trial NUMBER, --knee and a budget"),
        (["--min", "size_mb=1"], "of size_mb smaller is better, so only --max bounds it."),
        (["--trial", "99"], "trial 99 is not a completed trial of study. Completed: 0, 1, 2, "),
        (["--trial", "-1"], "trial -1 is not a completed trial of study."),
        (["--max", "size_mb=0.000001"], "no trial of study fits size_mb=0.000001."),
        (["--knee", "--images", "0"], "--images must be at least 1, got 0."),
    ],
)
def test_exports_that_name_no_trial(place, refused, arguments, expected):
    study_folder(place / "study")
    assert expected in refused("search.export", "study", "--out", "out", *arguments)


def test_exports_that_cannot_be_written(place, refused):
    study = study_folder(place / "study")
    (place / "taken").mkdir()
    assert "taken exists already. Give another --out" in refused("search.export", "study", "--knee", "--out", "taken")
    for record in (json.loads(line) for line in (study / "trials.jsonl").read_text().splitlines()):
        (study / record["path"]).mkdir(parents=True, exist_ok=True)
        (study / record["path"] / "model.safetensors").write_text("")
        (study / record["path"] / "measurements.json").write_text("{}" if record["number"] else "{")
    (study / "teacher" / "model.safetensors").write_text("")
    (study / "space.yaml").write_text(written())
    foreign = refused("search.export", "study", "--knee", "--out", "out")
    assert foreign.startswith("the candidate has 10 mistakes:\n  prune.ratio: is missing.")
    space = (ROOT / "spaces" / "pruning_ratios.yaml").read_text()
    (study / "space.yaml").write_text(space.replace("output: {float: [0.0, 2.0]}", "output: 1.0"))
    message = refused("search.export", "study", "--trial", "0", "--out", "out")
    assert message == "study/trials/0000/measurements.json is damaged. Choose another trial."
    (place / "file").write_text("")
    message = refused("search.export", "study", "--knee", "--out", "file/out")
    assert message == "cannot make the folder file/out (Not a directory). Give another --out."


RECIPE = {**TINY, "recipe": [{"prune": {"ratio": 0.3}}, "distil"], "budget": {"trials": 1, "images": 256}}


@pytest.mark.parametrize(
    ("recipe", "expected"),
    [
        ({**RECIPE, "recipe": TINY["recipe"]}, "recipe.0.prune.ratio"),
        ({**RECIPE, "recipe": ["distil"] * 101}, "recipe: List should have at most 100 items"),
        ({**RECIPE, "recipe": [{"prune": {"ratio": {"low": 0.1}}}]}, "prune.ratio: this network has no block 'low'."),
        ({**RECIPE, "objectives": ["fd"]}, "objectives: unknown objective 'fd'. Did you mean 'fid'?"),
        ({**RECIPE, "data": "digit"}, "data: unknown data set 'digit'. Did you mean 'digits'?"),
        ({**RECIPE, "data": {"folder": {"path": "nowhere"}}}, "nowhere does not exist"),
        ({**RECIPE, "data": {"folder": {"path": "x" * 300}}}, "x... cannot be looked for: File name too long."),
        ({**RECIPE, "data": {"folder": {"path": "~nosuchuser"}}}, "~nosuchuser cannot be looked for: "),
        ({**RECIPE, "teacher": {"from": "./nowhere"}}, "teacher.from: ./nowhere does not exist"),
        ({**RECIPE, "teacher": {"from": "x" * 300}}, "x... cannot be looked for: File name too long."),
        ({**RECIPE, "teacher": {"images": 3}}, "teacher: must have one of 'network' and 'from'"),
        ({"teacher": {"from": "x"}}, "recipe: is missing"),
        ([], "must be a mapping with 'teacher' and 'recipe'"),
    ],
)
def test_recipes_that_cannot_be_trained(place, refused, recipe, expected):
    (place / "exported").mkdir()
    (place / "exported" / "recipe.yaml").write_text(json.dumps(recipe))
    # The model's folder is there already, so that nothing else is made.
    (place / "out").mkdir()
    assert expected in refused("trainers.full", "exported", "--out", "out")


def test_folders_that_are_no_export(place, refused):
    (place / "file").write_text("")
    for folder in ("nowhere", ".", "file"):
        message = refused("trainers.full", folder)
        assert message == f"{folder} has no recipe.yaml. Give a folder that `python -m search.export` wrote."
    assert refused("trainers.full", ".", "--images", "0") == "--images must be at least 1, got 0."
    (place / "recipe.yaml").write_text(json.dumps(RECIPE))
    assert refused("trainers.full", ".", "--out", "file") == (
        "cannot make the folder file (File exists). Give another --out."
    )


# Real processes


def environment(cache_folder: Path) -> dict[str, str]:
    return {
        **os.environ,
        "PYTHONPATH": str(ROOT),
        "SLIMFRONT_CACHE": str(cache_folder),
        "OMP_NUM_THREADS": "1",
        "COLUMNS": "200",
    }


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (
            ["search.run", SPACE],
            "tiny.yaml has 1 mistake:\n  line 1, column 35: quantize.bits: must be 4, 8, 16 or 32",
        ),
        (["search.best", "."], ". has no front.json and no trials.jsonl."),
        (["search.explore", "."], ". has no front.json and no trials.jsonl."),
        (["search.export", ".", "--knee", "--out", "out"], ". has no front.json and no trials.jsonl."),
        (["trainers.full", "."], ". has no recipe.yaml."),
    ],
)
def test_commands_refuse_in_a_process_of_their_own(tmp_path, arguments, expected):
    (tmp_path / SPACE).write_text('{"recipe": [{"quantize": {"bits": 3}}], "teacher": {"from": "x"}}')
    ended = subprocess.run(
        [sys.executable, "-m", *arguments],
        cwd=tmp_path,
        env=environment(tmp_path / "cache"),
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert (ended.returncode, ended.stdout) == (2, "") and ended.stderr.startswith(expected), ended
    assert [path.name for path in tmp_path.iterdir()] == [SPACE]


@pytest.mark.parametrize("workers", [0, pytest.param(1, marks=pytest.mark.slow)])
def test_ctrl_c_keeps_what_is_measured_and_prints_how_to_go_on(tmp_path, cache, workers):
    space = tmp_path / "a tiny space.yaml"
    space.write_text(written())
    options = ["--set", "prune.criterion={magnitude: {}}", "--name", "kept", "--workers", str(workers)]
    with (tmp_path / "errors").open("w") as errors:
        driver = subprocess.Popen(
            [sys.executable, "-m", "search.run", space.name, *options],
            cwd=tmp_path,
            env=environment(cache.folder),
            stdout=subprocess.PIPE,
            stderr=errors,
            text=True,
            start_new_session=True,
        )
    try:
        assert driver.stdout is not None
        said = ""
        while "done in" not in said:
            line = driver.stdout.readline()
            assert line, said + (tmp_path / "errors").read_text()
            said += line
        # A terminal sends it to the whole group.
        os.killpg(driver.pid, signal.SIGINT)
        said, _ = driver.communicate(timeout=120)
    finally:
        driver.kill()
    assert driver.returncode == 130
    assert (tmp_path / "errors").read_text() == ""
    assert "interrupted; what is measured is kept." in said and "Traceback" not in said
    command_line = said.strip().splitlines()[-1].strip()
    assert shlex.split(command_line) == ["python", "-m", "search.run", space.name, *options]

    kept = completed(tmp_path / "studies/runs/kept")
    assert 1 <= len(kept) < 6
    again = subprocess.run(
        [sys.executable, *shlex.split(command_line)[1:]],
        cwd=tmp_path,
        env=environment(cache.folder),
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert (again.returncode, again.stderr) == (0, ""), again
    ended = completed(tmp_path / "studies/runs/kept")
    assert len(ended) == 6 and {number: ended[number] for number in kept} == kept
    assert "trial 0 starts" not in again.stdout and "teacher: from the cache" in again.stdout


def completed(study: Path) -> dict[int, dict[str, Any]]:
    """The complete trials by number, apart from what was measured again when the search had ended."""
    lines = [json.loads(line) for line in (study / "trials.jsonl").read_text().splitlines()]
    records = [{**line, "confirmed": None} for line in lines]
    return {record["number"]: record for record in records if record["state"] == "complete"}
