"""Structural similarity against a slow reference and known answers."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from objectives._similarity import similarity


def images(count: int, size: int, *, seed: int, channels: int = 1) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randint(0, 256, (count, channels, size, size), generator=generator, dtype=torch.uint8)


def slow(one: np.ndarray, other: np.ndarray, *, width: int) -> float:
    """Wang et al. (2004), Eq. 13, window by window over one channel."""
    half = width // 2
    across, along = np.mgrid[-half : half + 1, -half : half + 1]
    weight = np.exp(-(across**2 + along**2) / (2 * 1.5**2))
    weight /= weight.sum()
    found = []
    for row in range(one.shape[0] - width + 1):
        for column in range(one.shape[1] - width + 1):
            x, y = (each[row : row + width, column : column + width].astype(float) for each in (one, other))
            mean_x, mean_y = (weight * x).sum(), (weight * y).sum()
            variance_x, variance_y = (weight * (x - mean_x) ** 2).sum(), (weight * (y - mean_y) ** 2).sum()
            covariance = (weight * (x - mean_x) * (y - mean_y)).sum()
            above = (2 * mean_x * mean_y + 6.5025) * (2 * covariance + 58.5225)
            found.append(above / ((mean_x**2 + mean_y**2 + 6.5025) * (variance_x + variance_y + 58.5225)))
    return float(np.mean(found))


@pytest.mark.parametrize(("size", "width"), [(8, 7), (9, 9), (28, 11), (12, 11)])
def test_is_the_mean_over_all_places_of_the_window(size: int, width: int) -> None:
    one_NCHW = images(3, size, seed=0)
    noise_NCHW = images(3, size, seed=1).int() // 4
    other_NCHW = (one_NCHW.int() * 3 // 4 + noise_NCHW).clamp(0, 255).to(torch.uint8)
    pairs = zip(one_NCHW[:, 0].numpy(), other_NCHW[:, 0].numpy(), strict=True)
    expected = [slow(one, other, width=width) for one, other in pairs]
    np.testing.assert_allclose(similarity(one_NCHW, other_NCHW), expected, rtol=1e-6)
    assert min(expected) > 0.3 and max(expected) < 0.99


def test_colours_count_alike() -> None:
    one_NCHW, other_NCHW = images(2, 16, seed=0, channels=3), images(2, 16, seed=1, channels=3)
    single = torch.stack([similarity(one_NCHW[:, [c]], other_NCHW[:, [c]]) for c in range(3)])
    torch.testing.assert_close(similarity(one_NCHW, other_NCHW), single.mean(dim=0))


def test_equal_images_are_1_and_opposite_ones_below_0() -> None:
    one_NCHW = images(4, 8, seed=0)
    torch.testing.assert_close(similarity(one_NCHW, one_NCHW), torch.ones(4, dtype=torch.float64))
    assert (similarity(one_NCHW, 255 - one_NCHW) < -0.5).all()
    flat_NCHW = torch.full_like(one_NCHW, 7)
    torch.testing.assert_close(similarity(flat_NCHW, flat_NCHW), torch.ones(4, dtype=torch.float64))


def test_brightness_alone_costs_what_the_formula_says() -> None:
    one_NCHW, other_NCHW = (torch.full((1, 1, 8, 8), level, dtype=torch.uint8) for level in (100, 200))
    expected = (2 * 100 * 200 + 6.5025) / (100**2 + 200**2 + 6.5025)
    assert similarity(one_NCHW, other_NCHW).item() == pytest.approx(expected)


def test_float_images_are_refused() -> None:
    with pytest.raises(TypeError, match="uint8"):
        similarity(images(2, 8, seed=0).float(), images(2, 8, seed=0))
