"""Gradient criteria over timesteps (Diff-Pruning, Fang et al. 2023, Algorithm 1), computed once for all thresholds.

The loss gradients of a grid of timesteps are summed from t = 0 upwards, and after each timestep the criterion reduces
the sum to one score per channel. A threshold on L_t / L_max then only picks a row, and memory does not grow with the
grid.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from trainers.compression._sides import member_sides, side_matrix
from trainers.compression.channels import coupled_groups
from trainers.models.sampling import from_uint8

if TYPE_CHECKING:
    from trainers.compression.criteria.criterion import Criterion
    from trainers.models.diffusion_model import DiffusionModel
    from trainers.run import Run

GRID = 50
"""Timesteps at which gradients are taken, evenly spaced over all of them."""
BATCH = 64
"""Training images behind each gradient."""


@dataclass(frozen=True)
class Importance:
    """Scores for every prefix of the timestep grid.

    Args:
        timestep_G: The grid, rising.
        loss_G: Mean denoising error at each.
        score_GC: For each side ``layer:in`` or ``layer:out``, scores after keeping the first 1 .. G timesteps.
    """

    timestep_G: Tensor
    loss_G: Tensor
    score_GC: dict[str, Tensor]

    def kept(self, threshold: float) -> int:
        """How many timesteps stay: from 0 upwards while L_t / L_max > threshold, at least one."""
        is_above_G = self.loss_G / self.loss_G.max() > threshold
        return max(1, int(is_above_G.int().cumprod(dim=0).sum()))

    def scores(self, threshold: float) -> dict[str, Tensor]:
        """Scores of each side with the timesteps that this threshold keeps."""
        row = self.kept(threshold) - 1
        return {side: score_GC[row] for side, score_GC in self.score_GC.items()}


def importance_of(model: DiffusionModel, run: Run, criterion: Criterion) -> Importance:
    """The importance of all channels of ``model``; from the cache when it was computed before, as for a teacher."""
    key = {
        "model": model.fingerprint(),
        "data": run.images.hash,
        "criterion": type(criterion).__name__,
        "grid": GRID,
        "batch": BATCH,
    }
    tensors = run.cache.tensors("importance", key, lambda: _computed(model, run, criterion))
    scores = {name.removeprefix("score:"): tensor for name, tensor in tensors.items() if name.startswith("score:")}
    return Importance(tensors["timestep"], tensors["loss"], scores)


def _computed(model: DiffusionModel, run: Run, criterion: Criterion) -> dict[str, Tensor]:
    net, spec = model.copy_of_net(), model.spec
    # The seed is fixed: the scores belong to the model, whichever trial asks first.
    generator = torch.Generator().manual_seed(0)
    picked_B = torch.randint(len(run.images.train_NCHW), (BATCH,), generator=generator)
    image_BCHW = from_uint8(run.images.train_NCHW[picked_B]).to(run.device)
    label_B = run.images.train_label_N[picked_B].to(run.device) if spec.network.classes else None
    noise_BCHW = torch.randn(image_BCHW.shape, generator=generator).to(run.device)
    sides = member_sides(coupled_groups(spec))
    weights = {f"{side[0]}:{side[1]}": side_matrix(net.state_dict(), spec.layers[side[0]], *side) for side in sides}
    parameters = dict(net.named_parameters())
    timestep_G = torch.linspace(0, spec.diffusion.steps - 1, min(GRID, spec.diffusion.steps)).round().long()
    losses, rows = [], []
    for timestep in timestep_G.tolist():
        timestep_B = torch.full((BATCH,), timestep, device=run.device)
        noisy_BCHW = spec.diffusion.noised(image_BCHW, noise_BCHW, timestep_B)
        loss = (spec.network.call(net, noisy_BCHW, timestep_B, label_B) - noise_BCHW).square().mean()
        # Gradients add up in .grad, which is the sum over the timesteps so far.
        loss.backward()
        losses.append(loss.detach())
        summed = {name: _gradient(parameter) for name, parameter in parameters.items()}
        rows.append(
            {
                f"{name}:{side}": criterion.score(
                    weights[f"{name}:{side}"], side_matrix(summed, spec.layers[name], name, side), generator
                )
                for name, side in sides
            }
        )
    stacked = {f"score:{side}": torch.stack([row[side] for row in rows]) for side in rows[0]}
    return {"timestep": timestep_G, "loss": torch.stack(losses), **stacked}


def _gradient(parameter: torch.nn.Parameter) -> Tensor:
    return torch.zeros_like(parameter) if parameter.grad is None else parameter.grad
