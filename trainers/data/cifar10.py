"""CIFAR-10."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

from pydantic import Field

from trainers.data._square import SquareImages
from trainers.data.dataset import DATA


@DATA.register("cifar10")
@dataclass(frozen=True, kw_only=True)
class Cifar10(SquareImages):
    """Small photographs of 10 kinds of things, 32x32 colour (Krizhevsky 2009; uoft-cs/cifar10 on the hub).

    50,000 to train and 10,000 to test.
    """

    hub_id = "uoft-cs/cifar10"
    side = 32
    channels = 3

    crop: Annotated[int, Field(ge=1, le=side)] | None = None
