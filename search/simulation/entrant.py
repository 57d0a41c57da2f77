"""Who takes part in a comparison: a sampler, with or without stopping weak trials early."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from search.budget import HalvingOptions
from search.samplers.sampler import SAMPLERS, SamplerOptions
from trainers.errors import UserError
from trainers.registry import suggestion

if TYPE_CHECKING:
    from optuna.samplers import BaseSampler

    from search.halving import Halving
    from search.simulation.stand_in import StandIn
    from search.space import Space
    from search.views import StudyViews

HALVING = "+halving"
STARTS_WITH = ("budget_ei", "tpe", "nsga2", "random")
"""Compared unless others are asked for; ``gp`` takes seconds for each suggestion."""


@dataclass(frozen=True, kw_only=True)
class Entrant:
    """A sampler as the study's space has it, or with the options that it has by itself.

    Args:
        halving: None trains every trial in full.
    """

    name: str
    options: SamplerOptions
    halving: HalvingOptions | None

    @property
    def fits_a_process(self) -> bool:
        """Whether a suggestion takes a tenth of a second rather than a hundredth."""
        return _tells_gains(self.name.removesuffix(HALVING))

    def sampler(self, stand_in: StandIn, *, seed: int) -> BaseSampler:
        """A new sampler, which foresees costs fast where it looks at many."""
        from search.samplers._budget_ei import BudgetEI

        sampler = self.options.build(seed=seed)
        if isinstance(sampler, BudgetEI):
            sampler.costs = stand_in.guessed
        return sampler

    def rule(self, shares: Sequence[float]) -> Halving | None:
        """A new rule of who goes on at which of the ``shares``."""
        return None if self.halving is None else self.halving.build(shares)


def names_in(written: str | None) -> list[str]:
    """The names in ``written``, divided by commas; each may end in ``+halving``.

    Raises:
        UserError: for a name that is not registered.
    """
    names = [name.strip() for name in (written or ",".join(STARTS_WITH)).split(",") if name.strip()]
    for name in names or [""]:
        plain = name.removesuffix(HALVING)
        if plain not in SAMPLERS.names():
            raise UserError(f"--samplers: unknown sampler {plain!r}. {suggestion(plain, SAMPLERS.names())}")
    return names


def entrants(names: Sequence[str], space: Space, shares: Sequence[float]) -> list[Entrant]:
    """The named samplers; one that tells what going on with a trial promises takes part with halving and without.

    Raises:
        UserError: for halving where the study has measured no small share.
    """
    can_halve = len(shares) > 1
    found: dict[str, Entrant] = {}
    for name in names:
        plain = name.removesuffix(HALVING)
        if name != plain and not can_halve:
            raise UserError(
                f"--samplers: {name} needs trials that were measured on the way, and this study has too few. Write "
                f"{plain!r}, or give a new study's images as {{min: ..., max: ...}}."
            )
        if can_halve and (name != plain or _tells_gains(plain)):
            found[plain + HALVING] = _entrant(plain, space, is_halving=True)
        if name == plain:
            found[plain] = _entrant(plain, space, is_halving=False)
    return list(found.values())


def own_entrant(views: StudyViews, space: Space, shares: Sequence[float]) -> Entrant:
    """The study as it was run: whether it stopped weak trials is told by whether there are any."""
    return _entrant(SAMPLERS.name_of(space.sampler), space, is_halving=bool(views.stopped) and len(shares) > 1)


def _entrant(name: str, space: Space, *, is_halving: bool) -> Entrant:
    options = space.sampler if SAMPLERS.name_of(space.sampler) == name else SAMPLERS.get(name)()
    halving = space.halving or HalvingOptions()
    if not _tells_gains(name):
        halving = replace(halving, rule="sort")
    return Entrant(
        name=name + HALVING if is_halving else name, options=options, halving=halving if is_halving else None
    )


def _tells_gains(name: str) -> bool:
    from search.samplers._budget_ei import BudgetEI

    return isinstance(SAMPLERS.get(name)().build(seed=0), BudgetEI)
