"""The share of real images that a model could have drawn."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated

from pydantic import Field

from objectives._feature_objective import FeatureObjective
from objectives.objective import OBJECTIVES

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray


@OBJECTIVES.register("recall")
@dataclass(frozen=True, kw_only=True)
class Recall(FeatureObjective):
    """The share of real images within reach of a generated one, 0 to 1 (Kynkaanniemi et al. 2019, Eq. 1-2).

    Reach is the distance of a generated image to the third nearest other one; as many training images are looked for as
    are generated. Noise far from everything reaches far, so read it beside ``precision``. The standard error is the
    jackknife's over random halves of the generated images: draws of the noise, at this set of training images.
    """

    goal = "max"
    title = "Recall"

    # All distances are held at once: 800 MB for so many images.
    samples: Annotated[int, Field(ge=2, le=10_000)] = 1000

    def judged(self, feature_NF: NDArray[np.float64], reference: NDArray[np.float64]) -> tuple[float, float]:
        from objectives import _manifold

        return _manifold.recall(feature_NF, reference[: self.samples])
