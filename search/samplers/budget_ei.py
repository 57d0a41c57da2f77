"""Budget expected improvement under a Gaussian process: few trials, known costs exact, limits never exceeded.

Any Optuna user may use the sampler itself::

    from search.samplers.budget_ei import BudgetEI

    optuna.create_study(directions=["minimize", "minimize"], sampler=BudgetEI(costs=costs, limits=limits, seed=0))
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any

from pydantic import Field

from search.samplers.sampler import SAMPLERS, Problem, SamplerOptions

if TYPE_CHECKING:
    import optuna

    from search.samplers._budget_ei import BudgetEI


@SAMPLERS.register("budget_ei")
@dataclass(frozen=True, kw_only=True)
class BudgetEi(SamplerOptions):
    """Models only what training must show, knows the costs, and seeks the best that fits each budget.

    Args:
        startup_trials: Trials of the start-up design (scrambled Sobol within the limits).
    """

    derives_seed = False
    uses_others = True

    startup_trials: Annotated[int, Field(ge=1, le=10**6)] = 10

    def build(self, *, seed: int) -> BudgetEI:
        from search.samplers._budget_ei import BudgetEI

        return BudgetEI(startup_trials=self.startup_trials, seed=seed)

    def inform(self, sampler: optuna.samplers.BaseSampler, problem: Problem) -> None:
        from search.samplers._budget_ei import BudgetEI

        assert isinstance(sampler, BudgetEI)
        sampler.inform(
            objectives=problem.objectives,
            costs=problem.costs,
            limits=problem.limits,
            distributions=problem.distributions,
            examples=problem.examples,
            others=problem.others,
        )


def __getattr__(name: str) -> Any:
    # The class imports Optuna and SciPy, which a space that is only checked must not wait for.
    if name == "BudgetEI":
        from search.samplers._budget_ei import BudgetEI

        return BudgetEI
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
