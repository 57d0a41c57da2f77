"""A space that is right: what is read, which candidates it has, what they become, and when two spaces are one."""

import json
import random
import re
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from search.budget import Budget, HalvingOptions
from search.knob import Knob
from search.reference import Reference
from search.space import Space, SpaceError, check_name, differences
from trainers.errors import UserError
from trainers.recipe import Recipe
from trainers.resources import Resources

SPACES = Path(__file__).parents[2] / "spaces"
SMALL = """
teacher: {network: {unet: {channels: [8]}}}
recipe:
  - prune: {ratio: {float: [0.1, 0.5]}}
objectives: [fid, size_mb]
"""
RICH = """# Does every kind of knob work?
#
# In every place?

name: rich
teacher: {from: google/ddpm-cifar10-32, images: 400_000, learning_rate: 1e-4}
recipe:
  - student:
      network:
        unet:
          channels: [{int: [8, 24], step: 8}, {choice: [16, 32]}]
          layers: {int: [1, 3]}
          attention: {choice: [null, [false, true], [true, true]]}
  - prune:
      rule: {choice: [paper, flexible]}
      criterion:
        choice:
          - diff_pruning: {threshold: {float: [0.0, 0.1]}}
          - magnitude
          - {name: taylor, threshold: {float: [0.2, 0.3], step: 0.05}}
      ratio:
        choice:
          - {float: [0.1, 0.2]}
          - {down_0: {float: [0.0, 0.6]}, mid: 0.25}
  - distil: {learning_rate: {float: [1e-5, 1e-1], log: true}, batch: {int: [8, 64], log: true}}
  - choice:
      - null
      - quantize: {bits: {choice: [8, 4]}}
      - group
  - distil: {sampling_steps: {choice: [null, 8]}, weights: {output: {float: [0.5, 0.5]}}}
objectives: [{fid: {extractor: labels}}, size_mb]
constraints: ["distil.batch >= 9", "prune.rule == 'paper' or size_mb < 2", "prune.ratio.item_1.mid < 0.5"]
"""


def read(folder: Path, text: str, *overrides: str) -> Space:
    path = folder / "space.yaml"
    path.write_text(text)
    return Space.read(path, overrides)


@pytest.fixture(scope="module")
def rich(tmp_path_factory: pytest.TempPathFactory) -> Space:
    return read(tmp_path_factory.mktemp("rich"), RICH)


def knob(space: Space, path: str) -> Knob:
    return next(knob for knob in space.knobs if knob.path == path)


def test_defaults(tmp_path):
    space = read(tmp_path, "teacher: {from: somewhere}\nrecipe: []\n")
    assert (space.name, space.question, dict(space.limits), space.constraints) == ("space", "", {}, ())
    assert space.budget == Budget(trials=24, images=72_000, rungs=(72_000,))
    assert space.resources == Resources(cpu=1, gpu=0)
    assert space.objective_names == ("fid", "size_mb", "macs_g", "latency_ms")
    assert type(space.data).__name__ == "Digits" and type(space.sampler).__name__ == "BudgetEi"
    assert space.knobs == () and space.fill({}) == Recipe(())


def test_what_is_written_is_read(rich):
    assert rich.name == "rich"
    assert rich.question == "Does every kind of knob work?\n\nIn every place?"
    assert (rich.teacher.source, rich.teacher.images) == ("google/ddpm-cifar10-32", 400_000)
    assert rich.teacher.learning_rate == 1e-4
    assert rich.objectives[0].extractor == "labels"
    assert rich.text == rich.effective_text == RICH


@pytest.mark.parametrize(
    ("images", "rungs"),
    [
        ("{min: 8_000, max: 72_000, factor: 3}", (8_000, 24_000, 72_000)),
        ("{min: 4_000, max: 24_000}", (4_000, 12_000, 24_000)),
        ("{min: 100, max: 1_000, factor: 2}", (100, 200, 400, 800, 1_000)),
        ("{min: 500, max: 500, factor: 2}", (500,)),
        ("500", (500,)),
    ],
)
def test_rungs_rise_by_the_factor_and_end_at_the_budget(tmp_path, images, rungs):
    budget = read(tmp_path, SMALL + f"budget: {{trials: 3, images: {images}}}").budget
    assert budget == Budget(trials=3, images=rungs[-1], rungs=rungs)


@pytest.mark.parametrize(
    ("written", "options"),
    [
        ("", HalvingOptions()),
        ("halving: true", HalvingOptions()),
        ("halving: false", None),
        ("halving: {least_kept: 0.3, rule: sort}", HalvingOptions(least_kept=0.3, rule="sort")),
        ("halving: {keep: null}", HalvingOptions()),
    ],
)
def test_weak_trials_stop_early_where_there_are_rungs(tmp_path, written, options):
    rungs = "budget: {images: {min: 10, max: 90}}\n"
    assert read(tmp_path, f"{SMALL}{rungs}{written}\n").halving == options
    assert read(tmp_path, f"{SMALL}budget: {{images: 90}}\n{written}\n").halving is None


@pytest.mark.parametrize(("written", "draws"), [("", 3), ("confirm: 5", 5), ("confirm: 0", 0), ("confirm: false", 0)])
def test_the_front_is_measured_again_unless_it_is_said(tmp_path, written, draws):
    assert read(tmp_path, f"{SMALL}{written}\n").confirm == draws


def test_knobs_are_listed_in_the_order_of_the_file_with_their_conditions(rich):
    assert [knob.path for knob in rich.knobs] == [
        "student.network.unet.channels.0",
        "student.network.unet.channels.1",
        "student.network.unet.layers",
        "student.network.unet.attention",
        "prune.rule",
        "prune.criterion",
        "prune.criterion.diff_pruning.threshold",
        "prune.criterion.taylor.threshold",
        "prune.ratio",
        "prune.ratio.item_0",
        "prune.ratio.item_1.down_0",
        "distil.learning_rate",
        "distil.batch",
        "recipe.3",
        "recipe.3.quantize.bits",
        "distil_2.sampling_steps",
        "distil_2.weights.output",
    ]
    assert knob(rich, "student.network.unet.channels.0") == Knob(
        path="student.network.unet.channels.0", kind="int", low=8, high=24, step=8
    )
    assert knob(rich, "student.network.unet.attention").choices == (None, "[false,true]", "[true,true]")
    assert knob(rich, "prune.criterion").choices == ("diff_pruning", "magnitude", "taylor")
    assert knob(rich, "prune.criterion.taylor.threshold").condition == (("prune.criterion", "taylor"),)
    assert knob(rich, "prune.ratio").choices == ('{"float":[0.1,0.2]}', '{"down_0":{"float":[0.0,0.6]},"mid":0.25}')
    assert knob(rich, "recipe.3.quantize.bits").condition == (("recipe.3", "quantize"),)
    assert knob(rich, "distil.batch").log and knob(rich, "distil_2.weights.output").low == 0.5


def test_only_active_knobs_are_asked_each_after_its_choice(rich):
    asked = []

    def last(knob: Knob):
        asked.append(knob.path)
        return knob.extremes()[-1]

    candidate = rich.candidate(last)
    assert asked == list(candidate)
    assert [path for path in asked if path.startswith(("prune", "recipe"))] == [
        "prune.rule",
        "prune.criterion",
        "prune.criterion.taylor.threshold",
        "prune.ratio",
        "prune.ratio.item_1.down_0",
        "recipe.3",
    ]
    assert rich.filled(candidate) == [
        {"student": {"network": {"unet": {"channels": [24, 32], "layers": 3, "attention": [True, True]}}}},
        {
            "prune": {
                "rule": "flexible",
                "criterion": {"name": "taylor", "threshold": pytest.approx(0.3)},
                "ratio": {"down_0": 0.6, "mid": 0.25},
            }
        },
        {"distil": {"learning_rate": 0.1, "batch": 64}},
        {"group": {}},
        {"distil": {"sampling_steps": 8, "weights": {"output": 0.5}}},
    ]
    assert rich.fill(candidate).names() == ["student", "prune", "distil", "group", "distil_2"]


def test_null_in_a_choice_of_stages_leaves_the_stage_out(rich):
    candidate = rich.candidate(lambda knob: knob.extremes()[0])
    assert candidate["recipe.3"] is None
    assert rich.fill(candidate).names() == ["student", "prune", "distil", "distil_2"]


def test_corners_reach_every_extreme_and_every_choice(rich):
    corners = list(rich.corners())
    assert corners[0] == rich.candidate(lambda knob: knob.extremes()[0])
    assert corners[1] == rich.candidate(lambda knob: knob.extremes()[-1])
    for knob in rich.knobs:
        for value in knob.extremes():
            assert any(knob.path in corner and corner[knob.path] == value for corner in corners), (knob.path, value)
    for corner in corners:
        rich.fill(corner)


@settings(max_examples=60, deadline=None)
@given(seed=st.integers(0, 2**32))
def test_random_candidates_fill_and_survive_json(rich, seed):
    candidate = rich.random_candidate(random.Random(seed))
    active = [knob.path for knob in rich.knobs if knob.is_active(candidate)]
    assert sorted(active) == sorted(candidate)
    recipe = rich.fill(candidate)
    restored = json.loads(json.dumps(candidate))
    assert rich.fill(restored) == recipe == Recipe.parse(rich.filled(candidate)) == Recipe.parse(recipe.written())
    replayed = rich.candidate(lambda knob: candidate[knob.path])
    assert replayed == candidate


def test_same_generator_gives_the_same_candidates(rich):
    first = [rich.random_candidate(random.Random(5)) for _ in range(2)]
    assert first[0] == first[1] != rich.random_candidate(random.Random(6))


def test_candidate_with_mistakes_is_refused_with_all_of_them(rich):
    candidate = rich.candidate(lambda knob: knob.extremes()[0])
    del candidate["prune.rule"]
    candidate |= {
        "distil.batch": 65,
        "prune.criterion.taylor.threshold": 0.2,
        "distil.btch": 8,
        "student.network.unet.channels.1": "16",
    }
    with pytest.raises(SpaceError) as caught:
        rich.fill(candidate)
    assert str(caught.value).splitlines() == [
        "the candidate has 5 mistakes:",
        "  student.network.unet.channels.1: must be one of 16, 32, got '16'.",
        "  prune.rule: is missing. It must be in {choice: [paper, flexible]}.",
        "  distil.batch: must be in {int: [8, 64], log: true}, got 65.",
        "  prune.criterion.taylor.threshold: exists only where prune.criterion is 'taylor'. Leave it out.",
        "  distil.btch: is not a knob. Did you mean 'distil.batch'?",
    ]


def test_constraints_see_answers_written_values_and_costs(rich):
    candidate = rich.candidate(lambda knob: knob.extremes()[-1])
    assert rich.fixed_values(candidate)["prune.ratio.item_1.mid"] == 0.25
    assert rich.violations({**candidate, "distil.batch": 8}, {"size_mb": 2.5}) == (1.0, 0.5, 0.0)
    first = rich.candidate(lambda knob: knob.extremes()[0])
    assert "prune.ratio.item_1.mid" not in rich.fixed_values(first)
    assert rich.violations(first, {"size_mb": 2.5}) == (1.0, 0.0, 0.0)


def test_space_is_read_without_any_large_library():
    code = (
        "import sys; from search.space import Space; Space.read('spaces/pruning_ratios.yaml');"
        "print(sorted({'torch', 'optuna', 'ray', 'diffusers', 'sklearn', 'pandas'} & set(sys.modules)))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=SPACES.parent, capture_output=True, text=True, timeout=300, check=False
    )
    assert (done.stdout.strip(), done.stderr) == ("[]", "")


def test_every_space_that_is_delivered_is_right():
    paths = sorted(SPACES.glob("*.yaml"))
    assert paths
    for path in paths:
        space = Space.read(path)
        assert space.question and space.name == path.stem, path
        for corner in space.corners():
            space.fill(corner)


def test_fingerprint_ignores_how_much_is_run_and_how_it_is_written(tmp_path):
    space = read(tmp_path, SMALL)
    same = [
        SMALL + "name: other\n",
        SMALL + "budget: {trials: 99}\nresources: {cpu: 2}\n",
        SMALL + "sampler: budget_ei\ndata: digits\nhalving: true\nconfirm: 5\n",
        SMALL.replace("[0.1, 0.5]", "[1e-1, 5e-1]") + "# a comment\n",
    ]
    for text in same:
        assert read(tmp_path, text).fingerprint() == space.fingerprint()
        assert differences(SMALL, text) == []
    others = ("budget: {images: 100}", "limits: {fid: 3}", "halving: false", "sampler: tpe")
    for text in (SMALL.replace("0.5", "0.6"), *[f"{SMALL}{other}\n" for other in others]):
        assert read(tmp_path, text).fingerprint() != space.fingerprint()
        assert len(differences(SMALL, text)) == 1


def test_references_are_read_and_ask_nothing_else(tmp_path):
    text = (
        SMALL
        + """references:
  - {name: "theirs, 44 %", values: {fid: 5.29, size_mb: 79}, source: Table 1, note: other images}
  - {name: another, values: {size_mb: 1e2}}
"""
    )
    space = read(tmp_path, text)
    assert space.references == (
        Reference(name="theirs, 44 %", values={"fid": 5.29, "size_mb": 79.0}, source="Table 1", note="other images"),
        Reference(name="another", values={"size_mb": 100.0}),
    )
    # A finished study may be marked later, or otherwise.
    assert differences(SMALL, text) == [] == differences(text, SMALL)
    assert space.fingerprint() == read(tmp_path, SMALL).fingerprint()


def test_differences_name_the_knob_and_both_values():
    new = RICH.replace("float: [0.0, 0.6]", "float: [0.0, 0.7]").replace("threshold: {float: [0.0, 0.1]}", "")
    new = new.replace("[paper, flexible]", "[flexible]").replace("images: 400_000", "images: 1")
    new = new.replace("      - group\n", "") + "limits: {fid: 3}\n"
    assert differences(RICH, new) == [
        "teacher.images: stored 400000, now 1",
        "prune.rule: stored {choice: [paper, flexible]}, now {choice: [flexible]}",
        'prune.ratio: stored {choice: [\'{"float":[0.1,0.2]}\', \'{"down_0":{"float":[0.0,0.6]},"mid":0.25}\']}, '
        'now {choice: [\'{"float":[0.1,0.2]}\', \'{"down_0":{"float":[0.0,0.7]},"mid":0.25}\']}',
        "recipe.3: stored {choice: [null, quantize, group]}, now {choice: [null, quantize]}",
        "limits.fid: stored nothing, now 3",
        "prune.criterion.diff_pruning.threshold: stored {float: [0.0, 0.1]}, now nothing",
    ]
    stages = SMALL.replace("objectives", "  - quantize: {bits: 8}\nobjectives")
    assert differences(SMALL, stages) == [
        "recipe: stored [prune], now [prune, quantize]",
        "quantize.bits: stored nothing, now 8",
    ]


@pytest.mark.parametrize(
    "name", ["a", "pruning_ratios", "run-2.b", "7", "_x", "-", "a" * 100, "console", "com10", "nul_1"]
)
def test_names_that_are_allowed(name):
    assert check_name(name) == name


@pytest.mark.parametrize(
    "name",
    [
        *("", ".", "..", ".hidden", "a..b", "a/b", "a\\b", "a b", "ä", "a\n", "a" * 101, "a:b", "a.", "a ", " a"),
        *("a\t", "a\x00", "a\x7f", "a\u202e", "CON", "nul", "Aux.txt", "com1", "LPT9.tar.gz", "prn."),
    ],
)
def test_names_that_could_lead_elsewhere_are_refused(name):
    with pytest.raises(UserError, match=re.escape("cannot be a study's name. Use 1 to 100 letters")):
        check_name(name)
