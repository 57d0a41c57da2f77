"""``--set path=value``: the tree of a space with single values replaced."""

from __future__ import annotations

from collections.abc import Sequence

from search._knob_reading import ITEM, label_of, name_of
from search._open_recipe import stage_places
from search._yaml import Entries, Entry, Items, Leaf, Node, read_yaml
from search.space_error import Mistakes, Place
from search.storage_url import override_shown
from trainers.registry import suggestion


class _PathError(Exception):
    """A path that leads nowhere; its text is the rest of the message."""


def overridden(root: Entries, overrides: Sequence[str], *, keys: Sequence[str], mistakes: Mistakes) -> Entries:
    """``root`` with every override worked in, one after the other.

    Args:
        overrides: ``path=value``; a path begins with a top-level key, or with a stage of the recipe.
        keys: The top-level keys that a space can have.
    """
    for override in overrides:
        path, equals, text = (part.strip() for part in override.partition("="))
        shown = override_shown(override)
        place = Place(line=0, column=0, override=shown or "''")
        if not equals or not path:
            mistakes.add("is not an override. Write --set path=value, such as --set budget.trials=4.", place=place)
            continue
        before = len(mistakes)
        value = read_yaml(text, mistakes=mistakes, override=shown)
        if len(mistakes) > before:
            continue
        try:
            root = _with(root, path, value or Leaf(None, place), keys)
        except _PathError as error:
            mistakes.add(str(error), path=path, place=place)
    return root


def _with(root: Entries, path: str, value: Node, keys: Sequence[str]) -> Entries:
    first, *rest = path.split(".")
    if first not in keys:
        stages = stage_places(root.entries["recipe"].node) if "recipe" in root.entries else {}
        if first not in stages:
            raise _PathError(f"begins with the unknown {first!r}. {suggestion(first, {*keys, *stages})}")
        index, kind = stages[first]
        first, rest = "recipe", [str(index), kind, *rest]
    # A section that was left at its default begins empty.
    entry = root.entries.get(first, Entry(Entries({}, value.place), value.place))
    return Entries({**root.entries, first: Entry(_replaced(entry.node, rest, value), entry.place)}, root.place)


def _replaced(node: Node, steps: Sequence[str], value: Node) -> Node:
    """``node`` with ``value`` where ``steps`` lead; a new last step is allowed in a mapping, and checked later."""
    if not steps:
        return value
    step, rest = steps[0], steps[1:]
    if isinstance(node, Items):
        if step in (stages := stage_places(node)):
            index, kind = stages[step]
            return _replaced_item(node, index, (kind, *rest), value)
        return _replaced_item(node, _index(node, step), rest, value)
    if isinstance(node, Leaf):
        node = _unfolded(node, step)
    # A key can hold dots itself, as the name of a layer does.
    longest = next((count for count in range(len(steps), 1, -1) if ".".join(steps[:count]) in node.entries), 1)
    step, rest = ".".join(steps[:longest]), steps[longest:]
    if step in node.entries:
        entry = node.entries[step]
        return Entries({**node.entries, step: Entry(_replaced(entry.node, rest, value), entry.place)}, node.place)
    choice = node.entries.get("choice")
    if choice and isinstance(choice.node, Items):
        items = _replaced_choice(choice.node, steps, value)
        return Entries({**node.entries, "choice": Entry(items, choice.place)}, node.place)
    if "name" in node.entries and name_of(node) == step:
        return _replaced(node, rest, value)
    if rest:
        hint = f" {suggestion(step, node.entries)}" if node.entries else ""
        raise _PathError(f"leads through {step!r}, which is not there.{hint}")
    return Entries({**node.entries, step: Entry(value, value.place)}, node.place)


def _replaced_choice(items: Items, steps: Sequence[str], value: Node) -> Items:
    """A step into a choice is the label of an item, as in the paths of the knobs inside it, or ``item_0``."""
    for index, item in enumerate(items.items):
        if str(label_of(item)) == steps[0]:
            return _replaced_item(items, index, steps, value)
        if steps[0] == f"{ITEM}{index}":
            return _replaced_item(items, index, steps[1:], value)
    labels = [str(label_of(item)) for item in items.items]
    raise _PathError(f"leads through the unknown choice {steps[0]!r}. {suggestion(steps[0], labels)}")


def _replaced_item(node: Items, index: int, steps: Sequence[str], value: Node) -> Items:
    changed = _replaced(node.items[index], steps, value)
    return Items((*node.items[:index], changed, *node.items[index + 1 :]), node.place)


def _index(node: Items, step: str) -> int:
    if step.isdecimal() and int(step) < len(node.items):
        return int(step)
    raise _PathError(f"leads through {step!r} of a list with {len(node.items)} items. Write an index from 0.")


def _unfolded(node: Leaf, step: str) -> Entries:
    """A name without options as a mapping that can take some; so can nothing, as in ``- distil:``."""
    if node.value is None:
        return Entries({}, node.place)
    if node.value == step:
        return Entries({step: Entry(Entries({}, node.place), node.place)}, node.place)
    raise _PathError(f"leads into {node.value!r}, which is a single value. Replace that value as a whole.")
