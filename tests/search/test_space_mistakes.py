"""What is wrong with a space is said in full, once, in order, and at its place."""

from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from search.space import Space, SpaceError
from tests.fuzz.watch import at_most
from trainers.errors import UserError

TEACHER = "teacher: {from: somewhere}\n"
GOOD = TEACHER + "recipe: [{prune: {ratio: {float: [0.1, 0.5]}}}]\nobjectives: [fid, size_mb]\n"


def mistakes(folder: Path, text: str | bytes, *overrides: str) -> list[str]:
    path = folder / "space.yaml"
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    with pytest.raises(SpaceError) as caught:
        Space.read(path, overrides)
    assert isinstance(caught.value, UserError)
    head, *lines = str(caught.value).splitlines()
    count = len(caught.value.mistakes)
    assert head == f"{path} has {count} mistake{'s' * (count != 1)}:" and len(lines) == count
    return [line.removeprefix("  ") for line in lines]


def in_recipe(folder: Path, recipe: str, *overrides: str) -> list[str]:
    return mistakes(folder, TEACHER + f"objectives: [fid, size_mb]\nrecipe:\n  - {recipe}\n", *overrides)


def test_all_mistakes_are_listed_in_the_order_of_the_file(tmp_path):
    text = """# A space with many mistakes.
name: ../x
dat: digits
teacher: {network: {unet: {channels: [16, 32], norm_group: 4}}, images: {int: [1, 5]}}
recipe:
  - prune:
      rule: {choice: [paper, flexibel]}
      criterion:
        choice:
          - diff_prunin: {threshold: {float: [0.0, 0.1]}}
          - tailor
          - taylor: {threshold: {float: [0.5, 1.2]}}
      ratio: {down_0: {float: [0.5, 0.1]}, mid: {float: [0.0, 0.8], stp: 3}, up_0: {flaot: [0.0, 0.6]}}
      rato: 3
  - quantize: {bits: 3, format: nf5}
  - quantize
  - prun: {}
objectives: [fid, size_mb, macsg, fid]
budget: {trials: 0, images: {min: 4_000, max: 2_000, factor: 1}}
resources: {cpu: 0, gpu: -1}
sampler: {tpe: {startup: 3}}
"""
    assert mistakes(tmp_path, text, "prune.ratio.up_1=1.5") == [
        "line 2, column 7: name: '../x' cannot be a study's name. Use 1 to 100 letters, digits, '_', '-' and '.', "
        "not beginning or ending with '.' and without '..', and no device of Windows, such as CON, NUL or COM1.",
        "line 3, column 1: unknown key 'dat'. Did you mean 'data'?",
        "line 4, column 48: teacher.network.unet: unknown option 'norm_group'. Did you mean 'norm_groups'?",
        "line 4, column 73: teacher.images: is a knob, but only values inside 'recipe' can be left open. "
        "Write one value.",
        "line 7, column 30: prune.rule: must be 'paper' or 'flexible', got 'flexibel'. Leave it out for 'paper'.",
        "line 10, column 13: prune.criterion: unknown pruning criterion 'diff_prunin'. Did you mean 'diff_pruning'?",
        "line 11, column 13: prune.criterion: unknown pruning criterion 'tailor'. Did you mean 'taylor'?",
        "line 12, column 47: prune.criterion.taylor.threshold: must be less than 1, got 1.2 (upper end of the knob)",
        "line 13, column 31: prune.ratio.down_0: must go from low to high, got [0.5, 0.1]. Write [0.1, 0.5].",
        "line 13, column 69: prune.ratio.mid: unknown key 'stp' beside 'float' of a knob. Did you mean 'step'?",
        "line 13, column 84: prune.ratio.up_0: must be a number, got {flaot: [0.0, 0.6]}. "
        "Did you mean the knob 'float' in place of 'flaot'?",
        "line 14, column 7: prune: unknown option 'rato'. Did you mean 'ratio'?",
        "line 15, column 22: quantize.bits: must be 4, 8, 16 or 32, got 3.",
        "line 15, column 33: quantize.format: must be 'nf4' or 'fp4', got 'nf5'. Leave it out for 'nf4'.",
        "line 16, column 5: quantize_2.bits: is missing.",
        "line 17, column 5: prun: unknown stage 'prun'. Did you mean 'prune'?",
        "line 18, column 28: objectives.2: unknown objective 'macsg'. Did you mean 'macs_g'?",
        "line 18, column 35: objectives.3: 'fid' is listed twice. Keep one.",
        "line 19, column 18: budget.trials: must be greater than 0, got 0. Leave it out for 24.",
        "line 19, column 62: budget.images.factor: must be at least 2, got 1. Leave it out for 3.",
        "line 20, column 18: resources.cpu: must be greater than 0, got 0. Leave it out for 1.",
        "line 20, column 26: resources.gpu: must be at least 0, got -1. Leave it out for 0.0.",
        "line 21, column 17: sampler.tpe: unknown option 'startup'. Did you mean 'startup_trials'?",
        "(from --set prune.ratio.up_1=1.5) prune.ratio.up_1: must be less than 1, got 1.5.",
    ]


@pytest.mark.parametrize(
    ("knob", "expected"),
    [
        ("{float: ^[0.5, 0.1]}", "prune.ratio: must go from low to high, got [0.5, 0.1]. Write [0.1, 0.5]."),
        ("{float: ^[0, 0.1], log: true}", "prune.ratio: must begin above 0 with log, got 0.0."),
        (
            "{float: [0.1, 0.2], log: true, ^step: 0.1}",
            "prune.ratio: has both log and step; a knob takes one of them. Leave one out.",
        ),
        ("{float: [0.1, 0.2], log: ^3}", "prune.ratio: log must be true or false, got 3."),
        ("{float: [0.1, 0.2], step: ^0}", "prune.ratio: step must be a number above 0, got 0."),
        ("{float: ^[0.1]}", "prune.ratio: must be two numbers as in `float: [0.1, 0.5]`, got [0.1]."),
        ("{float: ^0.1}", "prune.ratio: must be two numbers as in `float: [0.1, 0.5]`, got 0.1."),
        ("{float: ^[a, true]}", "prune.ratio: must be two numbers as in `float: [0.1, 0.5]`, got [a, true]."),
        ("{int: ^[0, 0.5]}", "prune.ratio: must be two whole numbers as in `int: [1, 8]`, got [0, 0.5]."),
        ("{int: [0, 1], step: ^0.5}", "prune.ratio: step must be a whole number above 0, got 0.5."),
        ("{choice: ^[]}", "prune.ratio: must be a list of at least one choice, got []."),
        ("{choice: ^0.5}", "prune.ratio: must be a list of at least one choice, got 0.5."),
        ("{choice: [0.1, 0.2, ^0.1]}", "prune.ratio: has two choices called 0.1. Keep one."),
        (
            "{choice: [0.1], ^log: true}",
            "prune.ratio: unknown key 'log' beside 'choice' of a knob. It takes no other key; leave it out.",
        ),
        (
            "^{float: [0, 1], int: [0, 1]}",
            "prune.ratio: has 'float' and 'int'. A knob has one of float, int and choice; keep one.",
        ),
        ("{float: [0.1, ^1.5]}", "prune.ratio: must be less than 1, got 1.5 (upper end of the knob)"),
        ("{mid: {float: [^-1, 0.5]}}", "prune.ratio.mid: must be at least 0, got -1.0 (lower end of the knob)"),
    ],
)
def test_knobs_that_are_wrong(tmp_path, knob, expected):
    """The sign ^ marks the place that the message has to name."""
    written = f"prune: {{ratio: {knob}}}"
    column = len("  - ") + written.index("^") + 1
    assert in_recipe(tmp_path, written.replace("^", "")) == [f"line 4, column {column}: {expected}"]


@pytest.mark.parametrize("number", [".inf", ".nan"])
@pytest.mark.parametrize("knob", ["float: [0.1, %s]", "choice: [%s, 0.1]"])
def test_knob_on_infinity_is_one_mistake_at_the_number(tmp_path, knob, number):
    (found,) = in_recipe(tmp_path, f"prune: {{ratio: {{{knob % number}}}}}")
    assert found.endswith(f"must be a finite number, got {number}.")


def test_limit_on_infinity_is_a_mistake(tmp_path):
    assert mistakes(tmp_path, GOOD + "limits: {fid: .nan}")[0].endswith(
        "limits.fid: must be a finite number, got .nan."
    )


def test_choices_with_one_name_need_a_knob_inside(tmp_path):
    found = in_recipe(tmp_path, "prune: {criterion: {choice: [taylor, {taylor: {threshold: 0.1}}]}}")
    assert found == [
        "line 4, column 42: prune.criterion: has two choices called 'taylor'. "
        "Open an option inside one of them as a knob instead."
    ]


def test_an_unknown_option_that_is_a_choice_is_one_mistake_at_its_key(tmp_path):
    assert in_recipe(tmp_path, "prune: {ratio: 0.3, criterio: {choice: [{taylor: {}}, magnitude]}}") == [
        "line 4, column 25: prune: unknown option 'criterio'. Did you mean 'criterion'?"
    ]


def test_values_between_the_ends_of_a_knob_are_tried_too(tmp_path):
    assert in_recipe(tmp_path, "quantize: {bits: {int: [4, 8]}}") == [
        "line 4, column 22: quantize.bits: must be 4, 8, 16 or 32, got 5 (inside the knob)"
    ]
    assert in_recipe(tmp_path, "distil: {batch: {float: [8, 16]}}") == [
        "line 4, column 21: distil.batch: must be a whole number, got 12.9443 (inside the knob)"
    ]


def test_both_ends_and_all_choices_are_reported(tmp_path):
    found = in_recipe(tmp_path, "quantize: {bits: {choice: [3, 8, 5]}, format: {choice: [nf5, nf4]}}")
    assert [line.partition("quantize")[2] for line in found] == [
        ".bits: must be 4, 8, 16 or 32, got 3.",
        ".bits: must be 4, 8, 16 or 32, got 5.",
        ".format: must be 'nf4' or 'fp4', got 'nf5'. Leave it out for 'nf4'.",
    ]


@pytest.mark.parametrize(
    ("stages", "choices", "expected"),
    [
        (31, 2, "recipe: has 31 stages, at most 30 are applied. Take some out."),
        (30, 30, "recipe: has knobs with 900 ends and choices in all, at most 800 are tried. Take some out."),
    ],
)
def test_a_recipe_that_would_take_minutes_to_check_is_refused(tmp_path, stages, choices, expected):
    steps = f"{{steps: {{choice: [{', '.join(map(str, range(1, choices + 1)))}]}}}}"
    (only,) = in_recipe(tmp_path, "\n  - ".join([f"sample: {steps}"] * stages))
    assert only.endswith(expected)


@pytest.mark.parametrize(
    ("entry", "expected"),
    [
        ("3", "recipe.0: must be a stage as in `- prune: {ratio: 0.3}`, got 3."),
        ("{}", "recipe.0: must be a stage as in `- prune: {ratio: 0.3}`, got {}."),
        (
            "{prune: {}, quantize: {bits: 8}}",
            "recipe.0: holds the keys 'prune', 'quantize'; an entry is one stage. "
            "Begin each stage with '- ' and indent its options more.",
        ),
        ("prune: 3", "prune: must be a mapping of options, got 3."),
        ("group: {groups: x}", "group.groups: must be a whole number or 'max', got 'x'. Leave it out for 1."),
        ("group: {groups: 0}", "group.groups: must be greater than 0 or 'max', got 0. Leave it out for 1."),
        ("prune: {ratio: x}", "prune.ratio: must be a number or a mapping, got 'x'. Leave it out for 0.0."),
        ("prune: {ratio: 1.2}", "prune.ratio: must be less than 1, got 1.2. Leave it out for 0.0."),
        ("prune: {ratio: {mid: 1.2}}", "prune.ratio.mid: must be less than 1, got 1.2."),
        ("{name: prune, rato: 3}", "prune: unknown option 'rato'. Did you mean 'ratio'?"),
        ("distil: {weights: {nois: 1}}", "distil.weights: unknown option 'nois'. Did you mean 'noise'?"),
        (
            "prune: {criterion: {name: taylor, treshold: 1}}",
            "prune.criterion: unknown option 'treshold'. Did you mean 'threshold'?",
        ),
        ("student: {network: unet}", "student.network.channels: is missing."),
        (
            "student: {network: {unet: {channels: []}}}",
            "student.network.unet.channels: must be at least 1 long, got [].",
        ),
        ("int: [1, 2]", "recipe.0: must be a stage or a choice of stages, got {int: [1, 2]}."),
        ("choice: [{quantize: {bits: 3}}, null]", "recipe.0.quantize.bits: must be 4, 8, 16 or 32, got 3."),
    ],
)
def test_recipes_that_are_wrong(tmp_path, entry, expected):
    (found,) = in_recipe(tmp_path, entry)
    assert found.partition(": ")[2] == expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("recipe: []", ["teacher: is missing. Write a network to train, as in `teacher: {network:"]),
        (TEACHER, ["recipe: is missing. Write a list of stages, `recipe: []` for none."]),
        (TEACHER + "recipe: {prune: {}}", ["line 2, column 9: recipe: must be a list of stages, each as `- prune"]),
        (
            "teacher: {images: 3}\nrecipe: []",
            ["line 1, column 10: teacher: must have one of 'network' and 'from', got nei"],
        ),
        (
            "teacher: {from: x, network: {unet: {channels: [8]}}}\nrecipe: []",
            ["line 1, column 10: teacher: must have one of 'network' and 'from', got both."],
        ),
        (
            GOOD.replace(", size_mb", ""),
            ["line 3, column 13: objectives: has no objective to trade off against 'fid'. Add "],
        ),
        (
            GOOD.replace("fid", "macs_g"),
            ["line 3, column 13: objectives: has only costs, so training would not matter. Add one of denoising_loss,"],
        ),
        (
            GOOD.replace("[fid, size_mb]", "[]"),
            ["line 3, column 13: objectives: must be a list such as [fid, size_mb], got"],
        ),
        (
            GOOD + "limits: {fd: 3}",
            ["line 4, column 10: limits: unknown objective 'fd'. Did you mean 'fid'? Only objec"],
        ),
        (GOOD + "limits: {fid: 0}", ["line 4, column 15: limits.fid: must be a number above 0, got 0."]),
        (GOOD + "limits: {fid: true}", ["line 4, column 15: limits.fid: must be a number above 0, got true."]),
        (GOOD + "limits: 3", ["line 4, column 9: limits: must be a mapping such as {fid: 60}, got 3."]),
        (
            GOOD + "budget: {images: {min: 5, max: 3}}",
            ["line 4, column 18: budget.images: min must not be above max, got min 5 and max 3. Exchange them."],
        ),
        (GOOD + "budget: {images: {min: 5}}", ["line 4, column 18: budget.images.max: is missing."]),
        (GOOD + "budget: 3", ["line 4, column 9: budget: must be a mapping of options, got 3."]),
        (GOOD + "halving: {kep: 0.5}", ["line 4, column 11: halving: unknown option 'kep'. Did you mean 'keep'?"]),
        (
            GOOD + "halving: {shares: [1]}",
            ["line 4, column 11: halving: unknown option 'shares'. Allowed: keep, least"],
        ),
        (GOOD + "halving: {keep: 2}", ["line 4, column 17: halving.keep: must be at most 1, got 2."]),
        (
            GOOD + "halving: {rule: sorted}",
            ["line 4, column 17: halving.rule: must be 'gain' or 'sort', got 'sorted'."],
        ),
        (GOOD + "halving: 3", ["line 4, column 10: halving: must be true or false or a mapping of options, got 3."]),
        (GOOD + "confirm: -1", ["line 4, column 10: confirm: must be at least 0, got -1."]),
        (GOOD + "confirm: true", ["line 4, column 10: confirm: must be a whole number, got true."]),
        (GOOD + "data: digit", ["line 4, column 7: data: unknown data set 'digit'. Did you mean 'digits'?"]),
        (GOOD + "data: {choice: [digits]}", ["line 4, column 7: data: is a knob, but only values inside 'recipe' can"]),
        (GOOD + "constraints: 3", ['line 4, column 14: constraints: must be a list such as ["prune.ratio.mid >=']),
        (
            GOOD + "constraints: [3]",
            ['line 4, column 15: constraints.0: must be a text such as "size_mb <= 2", got 3.'],
        ),
    ],
)
def test_sections_that_are_wrong(tmp_path, text, expected):
    found = mistakes(tmp_path, text)
    assert [line[: len(start)] for line, start in zip(found, expected, strict=True)] == expected


def test_references_that_are_wrong(tmp_path):
    """All mistakes of all references at once."""
    text = """references:
  - {name: a, values: {fid: 3, size_m: 3, kid: 1}, nte: x}
  - {name: a, values: {fid: "3"}}
  - {name: d, values: {fid: true, size_mb: .inf}}
  - {name: b, values: {}}
  - {name: c, values: {fid: {float: [1, 2]}}}
  - {values: {fid: 3}}
  - theirs
"""
    unknown = "Leave it out where it is not known."
    assert mistakes(tmp_path, GOOD + text) == [
        "line 5, column 32: references.0.values: unknown objective 'size_m'. Did you mean 'size_mb'?",
        "line 5, column 52: references.0: unknown option 'nte'. Did you mean 'note'?",
        f"line 6, column 29: references.1.values.fid: must be a number, got '3'. {unknown}",
        f"line 7, column 29: references.2.values.fid: must be a number, got true. {unknown}",
        "line 7, column 44: references.2.values.size_mb: must be a finite number, got .inf.",
        "line 8, column 23: references.3.values: must be a mapping such as {fid: 5.29, macs_g: 3.4}, got {}.",
        "line 9, column 29: references.4.values.fid: is a knob, but only values inside 'recipe' can be left open. "
        "Write one value.",
        "line 10, column 5: references.5.name: is missing.",
        "line 11, column 5: references.6: must be a mapping of options, got 'theirs'.",
    ]
    twice = "references: [{name: a, values: {fid: 3}}, {name: a, values: {fid: 4}}, {name: '', values: {fid: 4}}]"
    assert mistakes(tmp_path, GOOD + twice) == [
        "line 4, column 43: references.1.name: 'a' is listed twice. Give each reference a name of its own.",
        "line 4, column 72: references.2.name: '' is empty. Give each reference a name of its own.",
    ]
    assert mistakes(tmp_path, GOOD + "references: 3")[0].startswith(
        "line 4, column 13: references: must be a list such as [{name: theirs, values: {fid: 5.29}}], got 3."
    )


@pytest.mark.parametrize(
    ("constraint", "expected"),
    [
        (
            "prune.ratio >",
            "'prune.ratio >', column 14: expected a number, a name, a quoted text or '(', found the end.",
        ),
        ("prune.rato > 1", "unknown name 'prune.rato'. Did you mean 'prune.ratio'?"),
        ("fid < 3", "'fid' is known only after training. Put it under 'limits' instead."),
        ("parameters < 3", "'parameters' is not an objective of this space. Add it to 'objectives'."),
        ("group.groups > 1", "'group.groups' can be 'max', which is not a number. Compare it with == or !=."),
        ("group.groups == 'mx'", "'group.groups' is never 'mx'. Did you mean 'max'?"),
        ("prune.ratio == 'x'", "'prune.ratio' is never 'x'. It is a number; leave the quotes out."),
    ],
)
def test_constraints_that_are_wrong(tmp_path, constraint, expected):
    recipe = "recipe: [{prune: {ratio: {float: [0, 0.5]}}}, {group: {groups: {choice: [1, max]}}}]\n"
    text = TEACHER + recipe + "objectives: [fid, size_mb]\nconstraints:\n"
    assert mistakes(tmp_path, text + f'  - "{constraint}"') == [f"line 5, column 5: constraints.0: {expected}"]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", "is empty. Copy a file of spaces/ to begin with."),
        ("# only a question\n", "is empty. Copy a file of spaces/ to begin with."),
        (
            "- a\n",
            "line 1, column 1: must be a mapping at the top, of keys such as 'teacher' and 'recipe'. Copy a file of",
        ),
        ("a: b: c\n", "line 1, column 5: is not valid YAML: mapping values are not allowed here. Check indentation,"),
        (
            "a: [1,\n",
            "line 2, column 1: is not valid YAML: while parsing a flow node expected the node content, but found",
        ),
        ("a: \x01\n", "is not valid YAML: unacceptable character #x0001: special characters are not allowed"),
        (b"\xff\xfe\xfd", "is not UTF-8 text: byte 0 cannot be read. Save it as UTF-8."),
        ("a: " + "[" * 90_000, "line 1, column 35: is nested more than 32 deep. Write it flatter."),
        ("a: [" + "1," * 40_000, "line 1, column 9999: is value number 5,001; at most 5,000 are read."),
        ("a" * 100_001, "is larger than 100,000 bytes. A space is a short text; is this the right file?"),
        ("[a]: 3\n", "line 1, column 1: a key must be text, not a list or mapping."),
        ("a: {[b]: 3}\n", "line 1, column 5: a key must be text, not a list or mapping."),
        ("a: 1\n---\nb: 1\n", "line 2, column 1: begins a second document. Write one space per file."),
    ],
)
def test_files_that_are_no_space_at_all(tmp_path, text, expected):
    (found,) = mistakes(tmp_path, text)
    assert found[: len(expected)] == expected


def test_keys_written_twice_aliases_and_tags_are_mistakes(tmp_path):
    text = GOOD + "budget: &b {trials: 3, trials: 4}\nresources: *b\nname: !!python/name:os.system x\n"
    assert mistakes(tmp_path, text) == [
        "line 4, column 24: the key 'trials' is written twice, first at line 4, column 13. Keep one.",
        "line 5, column 12: the alias '*b' is not used in a space. Write the value out.",
        "line 6, column 7: the tag 'tag:yaml.org,2002:python/name:os.system' is not used in a space. Leave it out.",
    ]


def test_a_long_list_of_mistakes_is_soon_told(tmp_path):
    text = f"{TEACHER}recipe: [{{gradual: {{via: [{', '.join(['1'] * 4_000)}]}}}}]\n"
    with at_most(10):
        assert len(mistakes(tmp_path, text)) == 100


def test_more_cores_than_any_machine_has_are_a_mistake(tmp_path):
    """So many threads are begun wherever a stranger's study or recipe is only asked."""
    (found,) = mistakes(tmp_path, GOOD + "resources: {cpu: 1_000_000_000}\n")
    assert found.startswith("line 4, column 18: resources.cpu: must be at most 1,024, got 1000000000.")


def test_paths_that_are_no_file(tmp_path):
    for path, expected in ((tmp_path, "is a folder."), (tmp_path / "no.yaml", "does not exist. Name a YAML file")):
        with pytest.raises(SpaceError) as caught:
            Space.read(path)
        assert str(caught.value).startswith(f"{path} has 1 mistake:\n  {expected}")


@settings(max_examples=80, deadline=None)
@given(
    st.lists(st.sampled_from([*"[]{}:,-#&*!|>'\"% \n\n", "a", "1", "recipe", "prune", "choice", "float", "  - ", ": "]))
)
def test_any_text_is_a_space_or_one_space_error(tmp_path_factory, parts):
    path = tmp_path_factory.getbasetemp() / "any.yaml"
    path.write_text(TEACHER + "recipe:" + "".join(parts))
    try:
        Space.read(path)
    except SpaceError as error:
        assert error.mistakes


@pytest.mark.parametrize("gpu", ["1.5", "0.00001"])
def test_a_trial_takes_whole_devices_or_a_share_of_one(tmp_path, gpu: str):
    (found,) = mistakes(tmp_path, GOOD, f"resources.gpu={gpu}")
    assert "resources.gpu: must be a whole number, or a share of one device of at least 0.0001, got " in found
