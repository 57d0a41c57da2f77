"""What a space asks, apart from how much of it is run: whether two spaces are one, and where they differ."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping

from search._knob_reading import ITEM
from search._open_recipe import read_recipe
from search._open_value import Fixed, OpenValue, Range, leaves_of, opened
from search._yaml import Entries, Node, flow_text, read_yaml
from search.space_error import Mistakes

# What stands for a section that is left out. The rest is required.
DEFAULTS = """
data: digits
objectives: [fid, size_mb, macs_g, latency_ms]
limits: {}
references: []
constraints: []
budget: {}
halving: true
confirm: 3
resources: {}
limits_per_trial: {}
sampler: budget_ei
from_study: []
tracker: null
storage: null
checkpoints: null
"""
# Raising the number of trials, renaming, other resources, measuring the front again, what the report marks beside it,
# who looks on and where results and checkpoints are kept continue a study.
_IGNORED = (
    *("name", "references", "resources", "limits_per_trial", "budget.trials", "confirm"),
    *("tracker", "storage", "checkpoints"),
)
_IGNORED_PARTS = ("references.", "resources.", "limits_per_trial.", "tracker.")


def with_defaults(root: Entries) -> Entries:
    """``root`` with the sections that it leaves out."""
    defaults = read_yaml(DEFAULTS, mistakes=Mistakes())
    assert isinstance(defaults, Entries)
    missing = {key: entry for key, entry in defaults.entries.items() if key not in root.entries}
    return Entries({**root.entries, **missing}, root.place)


def content(root: Entries) -> dict[str, str]:
    """Every value and knob of a space by path, as one-line YAML, without what may change while a study goes on."""
    found: dict[str, str] = {}
    for key, entry in with_defaults(root).entries.items():
        if key == "recipe":
            recipe = read_recipe(entry.node, Mistakes())
            found["recipe"] = flow_text([stage.origin.path for stage in recipe.entries])
            for listed in recipe.lists:
                found[listed.origin.path] = flow_text([stage.origin.path for _, stage in listed.children])
            values: list[OpenValue] = list(recipe.entries)
        else:
            values = [opened(entry.node, key, mistakes=Mistakes())]
        for value in values:
            found.update(_lines(value))
    return {path: text for path, text in found.items() if path not in _IGNORED and not path.startswith(_IGNORED_PARTS)}


def fingerprint(root: Entries) -> str:
    """A hash of ``content``: equal for two spaces exactly when ``differences`` is empty."""
    return hashlib.sha256(json.dumps(content(root), sort_keys=True).encode()).hexdigest()


def differences(stored_text: str, new_text: str) -> list[str]:
    """One line for every value in which two spaces ask something else; empty when one continues the other."""
    stored, new = _content_of(stored_text), _content_of(new_text)
    return [
        f"{path}: stored {stored.get(path, 'nothing')}, now {new.get(path, 'nothing')}"
        for path in dict.fromkeys([*new, *stored])
        if stored.get(path) != new.get(path)
    ]


def _content_of(text: str) -> Mapping[str, str]:
    root: Node | None = read_yaml(text, mistakes=Mistakes())
    return content(root) if isinstance(root, Entries) else {}


def _lines(value: OpenValue) -> Iterator[tuple[str, str]]:
    for leaf in leaves_of(value):
        path = leaf.origin.path
        # Items without a name are part of the label of their choice already.
        if f".{ITEM}" in path:
            continue
        if isinstance(leaf, Fixed):
            yield path, flow_text(_alike(leaf.value))
        else:
            yield path, str(leaf.knob) if isinstance(leaf, Range) else flow_text(leaf.knob.written())


def _alike(value: object) -> object:
    """2 and 2.0 ask the same."""
    return int(value) if isinstance(value, float) and value.is_integer() else value
