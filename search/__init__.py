"""Search for compact diffusion models; in Python::

    from search import Study

    study = Study.run("spaces/pruning_ratios.yaml", trials=4)       # or Study.open("studies/runs/pruning_ratios")
    study.table()

Every other command line is a function, too: ``from search.explore import main``.
"""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from search.kept_study import KeptStudy as Study

__all__ = ["Study"]


def __getattr__(name: str) -> Any:
    # Command lines import this package, and their help must not wait for what they may not need.
    if name == "Study":
        from search.kept_study import KeptStudy

        return KeptStudy
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
