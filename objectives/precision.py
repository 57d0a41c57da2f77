"""The share of generated images that look real."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated

from pydantic import Field

from objectives._feature_objective import FeatureObjective
from objectives.objective import OBJECTIVES

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray


@OBJECTIVES.register("precision")
@dataclass(frozen=True, kw_only=True)
class Precision(FeatureObjective):
    """The share of generated images within reach of a real one, 0 to 1 (Kynkaanniemi et al. 2019, Eq. 1-2).

    Reach is the distance of a real image to the third nearest of as many training images as are generated. The standard
    error is that of a share (Agresti and Coull 1998), over draws of the noise, and not 0 for a share of 0 or 1.
    """

    goal = "max"
    title = "Precision"

    # All distances are held at once: 800 MB for so many images.
    samples: Annotated[int, Field(ge=2, le=10_000)] = 1000

    def judged(self, feature_NF: NDArray[np.float64], reference: NDArray[np.float64]) -> tuple[float, float]:
        from objectives import _manifold

        return _manifold.precision(feature_NF, reference[: self.samples])
