"""What each timestep says about the weights: its loss, and the importance that its gradient gives them.

Legend: G timesteps of the grid.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch import Tensor

    from trainers.compression.criteria.criterion import GradientCriterion
    from trainers.models.diffusion_model import DiffusionModel
    from trainers.run import Run


@dataclass(frozen=True)
class TimestepImportance:
    """Figures of every timestep of the grid.

    Args:
        timestep_G: The grid, rising.
        loss_G: Mean denoising error at each.
        importance_G: Mean of abs(theta * grad L_t) over all weights, with the gradient of this timestep alone.
    """

    timestep_G: Tensor
    loss_G: Tensor
    importance_G: Tensor

    def kept(self, threshold: float) -> int:
        """How many timesteps stay: from 0 upwards while L_t / L_max > threshold, at least one."""
        from trainers.compression._gradients import kept_prefix

        return kept_prefix(self.loss_G, threshold)


def timestep_importance(
    model: DiffusionModel, run: Run, criterion: GradientCriterion, *, advance: Callable[[float], None]
) -> TimestepImportance:
    """The figures for ``model``; from the cache when they were computed before.

    Args:
        criterion: Its grid and its number of images count, nothing else.
        advance: Told the part that is done, from 0 to 1.

    Raises:
        FloatingPointError: when a loss is not finite.
    """
    from trainers.compression._gradients import cache_key

    tensors = run.cache.tensors(
        "timesteps", cache_key(model, run, criterion), lambda: _computed(model, run, criterion, advance)
    )
    return TimestepImportance(**{f"{name}_G": tensor for name, tensor in tensors.items()})


def _computed(
    model: DiffusionModel, run: Run, criterion: GradientCriterion, advance: Callable[[float], None]
) -> dict[str, Tensor]:
    import torch

    from trainers.compression._gradients import running_sums, timestep_grid

    grid_G = timestep_grid(model, criterion)
    weights = {name: parameter.detach() for name, parameter in model.net.named_parameters()}
    count = sum(weight.numel() for weight in weights.values())
    before = {name: torch.zeros_like(weight) for name, weight in weights.items()}
    losses, importances = [], []
    for loss, summed in running_sums(model, run, criterion):
        parts = [(weight * (summed[name] - before[name])).abs().sum() for name, weight in weights.items()]
        # The sums grow in place.
        before = {name: tensor.clone() for name, tensor in summed.items()}
        losses.append(loss)
        importances.append(torch.stack(parts).sum() / count)
        advance(len(losses) / len(grid_G))
    return {"timestep": grid_G, "loss": torch.stack(losses), "importance": torch.stack(importances)}
