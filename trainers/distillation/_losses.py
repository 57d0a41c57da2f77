"""Losses of the training stages: pure functions of tensors.

In mixed precision networks answer in 16 bits, where squares are lost or too large: they are taken in float32.

Axes: F features, P pixels.
"""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor
from torch.nn import functional


def squared_error(predicted_BCHW: Tensor, target_BCHW: Tensor, weight_B111: Tensor | float = 1.0) -> Tensor:
    """Mean of the weighted squared error (Ho et al. 2020, Eq. 14 where the target is the noise and the weight 1)."""
    return (weight_B111 * (predicted_BCHW.float() - target_BCHW.float()).square()).mean()


def feature_distance(student_BF: Tensor, teacher_BF: Tensor) -> Tensor:
    """Mean squared distance of features of images (work on a compact CIFAR-10 DDPM, loss 2)."""
    return (student_BF.float() - teacher_BF.float()).square().mean()


def block_distance(student: Sequence[Tensor], teacher: Sequence[Tensor]) -> Tensor:
    """Mean squared distance of where blocks are active, whatever their widths (Zagoruyko and Komodakis 2017, Eq. 2).

    Of each block's output (B, C, H, W) the mean square over the channels is taken, and scaled to a root mean square of
    1 over the pixels.
    """
    distances = [
        (_activity(one) - _activity(other)).square().mean() for one, other in zip(student, teacher, strict=True)
    ]
    return sum(distances[1:], start=distances[0]) / len(distances)


def two_steps_in_one(
    noisy_BCHW: Tensor,
    later_BCHW: Tensor,
    *,
    start: tuple[Tensor, Tensor],
    end: tuple[Tensor, Tensor],
) -> Tensor:
    """The image that makes one DDIM step from x_t end where the teacher's two did (Salimans and Ho 2022, Algorithm 2).

    x~ = (x_t'' - (sigma_t'' / sigma_t) x_t) / (alpha_t'' - (sigma_t'' / sigma_t) alpha_t)

    Args:
        noisy_BCHW: x_t.
        later_BCHW: x_t'', after the teacher's second step.
        start, end: alpha and sigma at t and t'', each (B, 1, 1, 1).
    """
    alpha, sigma = start
    alpha_end, sigma_end = end
    ratio = sigma_end / sigma
    return (later_BCHW - ratio * noisy_BCHW) / (alpha_end - ratio * alpha)


def _activity(output_BCHW: Tensor) -> Tensor:
    energy_BP = output_BCHW.float().square().mean(dim=1).flatten(1)
    return functional.normalize(energy_BP, dim=1) * energy_BP.shape[1] ** 0.5
