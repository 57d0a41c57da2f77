"""MNIST."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

from pydantic import Field

from trainers.data._square import SquareImages
from trainers.data.dataset import DATA


@DATA.register("mnist")
@dataclass(frozen=True, kw_only=True)
class Mnist(SquareImages):
    """Handwritten digits, 28x28 grey, 60,000 and 10,000 to test (LeCun et al. 1998; ylecun/mnist on the hub)."""

    hub_id = "ylecun/mnist"
    side = 28
    channels = 1

    crop: Annotated[int, Field(ge=1, le=side)] | None = None
