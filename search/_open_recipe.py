"""The recipe of a space: stages with knobs in them. Candidates are drawn from it, checked against it and filled in."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

from search._knob_reading import ITEM, Condition, is_knob, label_of, name_of, read_knob
from search._open_value import Branch, Choice, Fixed, OpenValue, Origin, Pick, Trace, filled, knobs_of, opened
from search._yaml import Entries, Entry, Items, Leaf, Node, flow_text, plain
from search.knob import Knob, Value
from search.space_error import Mistakes, Place
from trainers.recipe import stage_names
from trainers.registry import suggestion

Candidate = dict[str, Value]

_MOST_STAGES = 30
_MOST_IN_LISTS = 100
_MOST_VALUES = 800
"""Ends and choices of all knobs: a recipe is read anew for each, so a longer one would take minutes to check."""


@dataclass(frozen=True)
class OpenRecipe:
    """Stages in order; of a choice, null leaves its stage out, and a list stands for all its stages in order."""

    entries: tuple[OpenValue, ...]

    @cached_property
    def lists(self) -> tuple[Branch, ...]:
        """The lists of stages inside choices."""
        return tuple(_lists_in(self.entries))

    @cached_property
    def knobs(self) -> tuple[Knob, ...]:
        """All knobs, conditional ones included, in the order written."""
        return tuple(knob for entry in self.entries for knob in knobs_of(entry))

    def candidate(self, pick: Pick) -> Candidate:
        """Answers of ``pick`` to the active knobs, asked in the order written, a nested one after its choice."""
        answers: Candidate = {}

        def ask(knob: Knob) -> Value:
            answers[knob.path] = pick(knob)
            return answers[knob.path]

        self._filled(ask)
        return answers

    def corners(self, values: Callable[[Knob], Sequence[Value]] = Knob.extremes) -> Iterator[Candidate]:
        """Candidates that together give every knob each of its ``values`` at least once.

        First all knobs at their first value, then all at their last, then one knob after the other moves through its
        values while the others stay at the first, apart from the choices that it needs to exist.
        """
        seen: list[Candidate] = []
        moves: list[dict[str, Value]] = [
            {**dict(knob.condition), knob.path: value} for knob in self.knobs for value in values(knob)
        ]
        picks: list[Pick] = [lambda knob: values(knob)[0], lambda knob: values(knob)[-1]]
        picks += [_moved(move, values) for move in moves]
        for pick in picks:
            candidate = self.candidate(pick)
            if candidate not in seen:
                seen.append(candidate)
                yield candidate

    def filled(self, candidate: Mapping[str, Value]) -> tuple[list[object], Trace]:
        """The recipe as plain data with the candidate's answers, and where each part was written.

        Raises:
            SpaceError: when the candidate does not answer exactly the active knobs, or a value is out of range.
        """
        mistakes = Mistakes()
        answers: Candidate = {}

        def look_up(knob: Knob) -> Value:
            answers[knob.path] = knob.extremes()[0]
            if knob.path not in candidate:
                mistakes.add(f"is missing. It must be in {knob}.", path=knob.path)
                return answers[knob.path]
            try:
                answers[knob.path] = knob.accepted(candidate[knob.path])
            except ValueError as error:
                mistakes.add(f"{error}.", path=knob.path)
            return answers[knob.path]

        data, trace = self._filled(look_up)
        for path in candidate:
            if path not in answers:
                mistakes.add(self._why_not(path, answers), path=path)
        mistakes.raise_for("the candidate")
        return data, trace

    def _filled(self, pick: Pick) -> tuple[list[object], Trace]:
        data: list[object] = []
        trace = Trace()
        for entry in _chosen(self.entries, pick):
            stage = filled(entry, pick, trace, at=(len(data),))
            if stage is not None:
                data.append(stage)
        return data, trace

    def _why_not(self, path: str, answers: Candidate) -> str:
        for knob in self.knobs:
            if knob.path == path:
                needs = " and ".join(f"{where} is {label!r}" for where, label in knob.condition)
                return f"exists only where {needs}. Leave it out."
        if not self.knobs:
            return "is not a knob; this space has none. Leave it out."
        return f"is not a knob. {suggestion(path, [knob.path for knob in self.knobs])}"


def read_recipe(node: Node, mistakes: Mistakes) -> OpenRecipe:
    """The recipe that ``node`` writes; what is wrong with its form and knobs is added to ``mistakes``."""
    recipe = OpenRecipe(_opened_stages(node, "recipe", "", mistakes))
    stages = len(recipe.entries) + sum(len(each.children) for each in recipe.lists)
    if stages > _MOST_IN_LISTS:
        text = f"has {stages:,} stages in its lists together, at most {_MOST_IN_LISTS} are tried. Take some out."
        mistakes.add(text, path="recipe", place=node.place)
        return OpenRecipe(())
    values = sum(len(knob.extremes()) for knob in recipe.knobs)
    if values > _MOST_VALUES:
        text = f"has knobs with {values:,} ends and choices in all, at most {_MOST_VALUES} are tried. Take some out."
        mistakes.add(text, path="recipe", place=node.place)
        return OpenRecipe(())
    _check_paths(recipe, node.place, mistakes)
    return recipe


def _opened_stages(
    node: Node, path: str, prefix: str, mistakes: Mistakes, *, condition: Condition = ()
) -> tuple[OpenValue, ...]:
    """The list of stages at ``path``; ``prefix`` is what goes before their names in the paths of their options."""
    if not isinstance(node, Items):
        found = flow_text(plain(node))
        text = f"must be a list of stages, each as `- prune: {{ratio: 0.3}}`, got {found[:60]}."
        mistakes.add(text, path=path, place=node.place)
        return ()
    if len(node.items) > _MOST_STAGES:
        text = f"has {len(node.items):,} stages, at most {_MOST_STAGES} are applied. Take some out."
        mistakes.add(text, path=path, place=node.place)
        return ()
    stages = [_as_stage(item, f"{path}.{index}", mistakes) for index, item in enumerate(node.items)]
    names = stage_names([_kind(stage, index) for index, stage in enumerate(stages)])
    return tuple(
        _opened_stage(stage, f"{path}.{index}", f"{prefix}{names[index]}", mistakes, condition=condition)
        for index, stage in enumerate(stages)
        if stage is not None
    )


def _chosen(entries: Iterable[OpenValue], pick: Pick) -> Iterator[OpenValue]:
    """The stages that are left when choices of them are answered."""
    for entry in entries:
        item = entry.answered(pick) if isinstance(entry, Choice) else entry
        if isinstance(item, Branch) and item.is_list:
            yield from _chosen((child for _, child in item.children), pick)
        else:
            yield item


def _lists_in(entries: Iterable[OpenValue]) -> Iterator[Branch]:
    for entry in entries:
        for item in entry.items if isinstance(entry, Choice) else ():
            if isinstance(item, Branch) and item.is_list:
                yield item
                yield from _lists_in(child for _, child in item.children)


def stage_places(node: Node) -> dict[str, tuple[int, str]]:
    """Index and kind of every stage by the name that its paths begin with: ``distil``, ``distil_2``."""
    if not isinstance(node, Items):
        return {}
    stages = [_as_stage(item, "", Mistakes()) for item in node.items]
    kinds = [_kind(stage, index) for index, stage in enumerate(stages)]
    names = stage_names(kinds)
    return {
        names[index]: (index, kinds[index])
        for index, stage in enumerate(stages)
        if stage is not None and not is_knob(stage)
    }


def _kind(stage: Node | None, index: int) -> str:
    return str(name_of(stage)) if stage is not None and not is_knob(stage) else f"recipe.{index}"


def _moved(move: Mapping[str, Value], values: Callable[[Knob], Sequence[Value]]) -> Pick:
    return lambda knob: move[knob.path] if knob.path in move else values(knob)[0]


def _as_stage(node: Node, path: str, mistakes: Mistakes) -> Entries | None:
    """An entry as a mapping with the stage's name as its only key, or as a knob; None when it is neither."""
    if isinstance(node, Leaf) and isinstance(node.value, str):
        return Entries({node.value: Entry(Entries({}, node.place), node.place)}, node.place)
    if is_knob(node):
        assert isinstance(node, Entries)
        return node
    if isinstance(node, Entries) and name_of(node):
        if "name" not in node.entries:
            return node
        rest = {key: entry for key, entry in node.entries.items() if key != "name"}
        key_place = node.entries["name"].node.place
        return Entries({str(name_of(node)): Entry(Entries(rest, node.place), key_place)}, node.place)
    if isinstance(node, Entries) and node.entries:
        keys = ", ".join(map(repr, node.entries))
        text = f"holds the keys {keys}; an entry is one stage. Begin each stage with '- ' and indent its options more."
    else:
        text = f"must be a stage as in `- prune: {{ratio: 0.3}}`, got {flow_text(plain(node))[:60]}."
    mistakes.add(text, path=path, place=node.place)
    return None


def _opened_stage(node: Entries, path: str, name: str, mistakes: Mistakes, *, condition: Condition = ()) -> OpenValue:
    """The entry at ``path``; the stage in it is called ``name`` in the paths of its options."""
    if is_knob(node):
        return _opened_choice(node, path, mistakes, condition)
    ((kind, entry),) = node.entries.items()
    # `- distil:` is written without options, and says the same as `- distil`.
    is_bare = isinstance(entry.node, Leaf) and entry.node.value is None
    written = Entries({}, entry.node.place) if is_bare else entry.node
    options = opened(written, name, mistakes=mistakes, condition=condition, key_place=entry.place)
    return Branch(((kind, options),), False, Origin(name, entry.place, entry.place))


def _opened_choice(node: Entries, path: str, mistakes: Mistakes, condition: Condition) -> OpenValue:
    """An entry that is a choice of stages, or of lists of them that have a name; null leaves the entry out."""
    origin = Origin(path, node.place, node.place)
    before = len(mistakes)
    knob = read_knob(
        node,
        path=path,
        condition=condition,
        report=lambda text, place: mistakes.add(text, path=path, place=place),
        if_twice="Open an option inside one of them as a knob, or name them: `- first: [sample: {steps: 8}]`.",
    )
    if knob is not None and knob.kind != "choice":
        mistakes.add(f"must be a stage or a choice of stages, got {knob}.", path=path, place=node.place)
    if knob is None or len(mistakes) > before:
        return Fixed(None, origin)
    written = node.entries["choice"].node
    assert isinstance(written, Items)
    items: list[OpenValue] = []
    for index, item in enumerate(written.items):
        is_null = isinstance(item, Leaf) and item.value is None
        stage = None if is_null else _as_stage(item, f"{path}.{ITEM}{index}", mistakes)
        if stage is None or is_knob(stage):
            if stage is not None:
                mistakes.add("must be a stage, got a knob in a choice. Write one choice.", path=path, place=item.place)
            items.append(Fixed(None, Origin(path, item.place, item.place)))
            continue
        name = f"{path}.{name_of(stage)}"
        within = (*condition, (path, label_of(item)))
        ((_, entry),) = stage.entries.items()
        if isinstance(entry.node, Items):
            stages = enumerate(_opened_stages(entry.node, name, f"{name}.", mistakes, condition=within))
            items.append(Branch(tuple(stages), True, Origin(name, entry.node.place, entry.place)))
        else:
            items.append(_opened_stage(stage, path, name, mistakes, condition=within))
    return Choice(knob, tuple(items), origin)


def _check_paths(recipe: OpenRecipe, place: Place, mistakes: Mistakes) -> None:
    paths = [knob.path for knob in recipe.knobs]
    for path in dict.fromkeys(path for path in paths if paths.count(path) > 1):
        mistakes.add("is the path of two knobs. Rename a key with a '.' in it.", path=path, place=place)
