"""Images that look like photographs, for the tests of views."""

from collections.abc import Callable

import pytest
import torch
from torch import Tensor


def natural_images(seed: int, count: int, channels: int, height: int, width: int) -> Tensor:
    """Images of 8 bits whose spectrum falls with the frequency and whose channels agree by and large, as photographs'.

    float32 [count, channels, height, width]: whole numbers of 255ths.
    """
    generator = torch.Generator().manual_seed(seed)
    frequency = torch.hypot(torch.fft.fftfreq(height)[:, None], torch.fft.fftfreq(width))
    frequency[0, 0] = torch.inf
    noise = torch.randn(count, channels + 1, height, width, generator=generator)
    planes = torch.fft.ifft2(torch.fft.fft2(noise) / frequency).real
    planes = planes[:, 1:] * 0.4 + planes[:, :1]
    planes = 0.45 + 0.22 * (planes - planes.mean((2, 3), keepdim=True)) / (planes.std() + 1e-6)
    planes += 0.1 * torch.randn(count, channels, 1, 1, generator=generator)
    return planes.clamp(0, 1).mul(255).round() / 255


@pytest.fixture(scope="session")
def natural() -> Callable[..., Tensor]:
    return natural_images
