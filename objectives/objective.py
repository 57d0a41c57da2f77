"""The Objective contract: one number that a study makes smaller or larger, with its uncertainty."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar, Literal

from trainers.registry import Registry

if TYPE_CHECKING:
    from objectives.device_model import DeviceModel
    from trainers.cache import Cache
    from trainers.data.dataset import Images
    from trainers.models.arch_spec import ArchSpec
    from trainers.models.diffusion_model import DiffusionModel
    from trainers.run import Run


@dataclass(frozen=True, kw_only=True)
class Measurement:
    """A measured value.

    Args:
        value: In the objective's unit.
        stderr: Its standard error; 0 for an exact count.
        samples: Images, repetitions or 1 for an exact count.
        by: What measured it when that decides which values may be compared, such as the feature extractor.
    """

    value: float
    stderr: float = 0.0
    samples: int = 1
    by: str = ""


@dataclass(frozen=True, kw_only=True)
class Objective(ABC):
    """Something to measure of a model. The fields of a subclass are its options in YAML."""

    goal: ClassVar[Literal["min", "max"]] = "min"
    unit: ClassVar[str] = ""
    title: ClassVar[str]
    #: Learned objectives (FID) need a trained model and are measured at every rung; the others are costs.
    is_learned: ClassVar[bool] = False
    #: True when ``predict`` is exact: nothing is left to measure.
    is_exact: ClassVar[bool] = False

    def prepare(self, images: Images, cache: Cache) -> None:  # noqa: B027 (most objectives need nothing)
        """Put into the cache what every trial needs, so that it is computed once, before the first of them.

        Raises:
            UserError: when this objective cannot be measured on these images.
        """

    def measured_by(self, images: Images, cache: Cache) -> str | None:
        """What ``Measurement.by`` will be on these images; None where only a measurement tells."""
        return None

    def with_noise(self, seed: int) -> Objective:
        """The same objective with other noise, where it draws any: measured so again, the values are independent."""
        return self

    @abstractmethod
    def measure(self, model: DiffusionModel, run: Run) -> Measurement:
        """The value for ``model``."""

    def predict(self, spec: ArchSpec, device: DeviceModel) -> float | None:
        """The value before anything is trained, or None when only a trained model tells."""
        return None


OBJECTIVES: Registry[Objective] = Registry("objective", folders=("objectives",))
