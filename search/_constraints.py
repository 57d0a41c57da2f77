"""The constraints of a space: read, and checked against the names that it has."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from objectives.objective import OBJECTIVES
from search._open_recipe import OpenRecipe
from search._open_value import Fixed, leaves_of
from search._yaml import Items, Leaf, Node, flow_text, plain
from search.expression import Constraint
from search.knob import Value
from search.space_error import Mistakes
from trainers.errors import UserError
from trainers.registry import suggestion

Names = dict[str, set[Value]]

# Stands for all numbers that a knob can take: they need not be told apart here.
_ANY_NUMBER = 1.0


def read_constraints(
    node: Node, recipe: OpenRecipe, objectives: Sequence[str], mistakes: Mistakes
) -> tuple[Constraint, ...]:
    """The constraints in order; every name in them must stand for something that is known before training."""
    if not isinstance(node, Items):
        text = f'must be a list such as ["prune.ratio.mid >= prune.ratio.down_0"], got {flow_text(plain(node))}.'
        mistakes.add(text, path="constraints", place=node.place)
        return ()
    names: Names = {name: {_ANY_NUMBER} for name in objectives if not OBJECTIVES.get(name).is_learned}
    names.update(_names(recipe))
    return tuple(
        constraint
        for index, item in enumerate(node.items)
        if (constraint := _read(item, f"constraints.{index}", names, mistakes)) is not None
    )


def _read(node: Node, path: str, names: Names, mistakes: Mistakes) -> Constraint | None:
    if not isinstance(node, Leaf) or not isinstance(node.value, str):
        text = f'must be a text such as "size_mb <= 2", got {flow_text(plain(node))}. Put it in quotes.'
        mistakes.add(text, path=path, place=node.place)
        return None
    try:
        constraint = Constraint.parse(node.value)
    except UserError as error:
        mistakes.add(str(error), path=path, place=node.place)
        return None
    for text in _complaints(constraint, names):
        mistakes.add(text, path=path, place=node.place)
    return constraint


def _complaints(constraint: Constraint, names: Names) -> Iterable[str]:
    for name in constraint.names:
        if name not in names:
            yield _unknown(name, names)
    for name in constraint.number_names:
        texts = sorted(value for value in names.get(name, ()) if isinstance(value, str))
        if texts:
            yield f"{name!r} can be {texts[0]!r}, which is not a number. Compare it with == or !=."
    for name, text in constraint.text_comparisons:
        labels = [str(value) for value in names.get(name, ()) if isinstance(value, str)]
        if name in names and text not in labels:
            hint = suggestion(text, labels) if labels else "It is a number; leave the quotes out."
            yield f"{name!r} is never {text!r}. {hint}"


def _unknown(name: str, names: Names) -> str:
    if name in OBJECTIVES.names():
        if OBJECTIVES.get(name).is_learned:
            return f"{name!r} is known only after training. Put it under 'limits' instead."
        # Only the costs of the space's objectives are computed; without a value the constraint would always hold.
        return f"{name!r} is not an objective of this space. Add it to 'objectives'."
    return f"unknown name {name!r}. {suggestion(name, names)}"


def _names(recipe: OpenRecipe) -> Names:
    """Every knob and written value of the recipe by path, with the texts and numbers that it can be."""
    names: Names = {}
    for entry in recipe.entries:
        for leaf in leaves_of(entry):
            values = (leaf.value,) if isinstance(leaf, Fixed) else leaf.knob.choices or (_ANY_NUMBER,)
            names.setdefault(leaf.origin.path, set()).update(values)
    return names
