"""Losses of the training stages: pure functions of tensors."""

from __future__ import annotations

from torch import Tensor


def denoising_error(predicted_BCHW: Tensor, noise_BCHW: Tensor) -> Tensor:
    """Mean squared error of the predicted noise (Ho et al. 2020, Eq. 14)."""
    return (predicted_BCHW - noise_BCHW).square().mean()


def output_distance(student_BCHW: Tensor, teacher_BCHW: Tensor) -> Tensor:
    """Mean squared distance between what student and teacher predict for the same noisy images."""
    return (student_BCHW - teacher_BCHW).square().mean()
