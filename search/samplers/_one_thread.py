"""Small matrices on one thread: several wait actively for cores that trials are using, and take ten times as long."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache, wraps
from typing import TYPE_CHECKING, ParamSpec, TypeVar

if TYPE_CHECKING:
    from threadpoolctl import ThreadpoolController

P = ParamSpec("P")
R = TypeVar("R")


def on_one_thread(function: Callable[P, R]) -> Callable[P, R]:
    """The function with the linear algebra of NumPy and SciPy on one thread; torch's threads are its own.

    Sums are then added in one order on every machine, too.
    """

    @wraps(function)
    def call(*arguments: P.args, **options: P.kwargs) -> R:
        with _controller().limit(limits=1, user_api="blas"):
            return function(*arguments, **options)

    return call


@cache
def _controller() -> ThreadpoolController:
    # Libraries that are loaded later are not limited.
    import numpy  # noqa: F401
    import scipy.linalg  # noqa: F401
    from threadpoolctl import ThreadpoolController

    return ThreadpoolController()
