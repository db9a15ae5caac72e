"""Images, draws and amounts for tests of views and of their kernels."""

import torch
from torchvision.transforms import AutoAugment, AutoAugmentPolicy

POLICY = AutoAugment(AutoAugmentPolicy.CIFAR10)


def pictures(n, channels=3, side=32, seed=0):
    """Noise, and the degenerate: one value, few values, two values, dark, all values in order."""
    g = torch.Generator().manual_seed(seed)
    x = torch.randint(0, 256, (n, channels, side, side), generator=g, dtype=torch.uint8)
    x[1::8] = 7
    x[2::8] = x[2::8] // 40 + 100
    x[3::8] = (x[3::8] > 128) * 255
    x[4::8] = x[4::8] // 128
    x[5::8] = torch.arange(side * side).view(side, side) % 256
    x[6::8] = 0
    x[6::8, :, 1, 1] = 200
    return x


def chi_square(observed, expected):
    """The p-value of counts under an expectation of the same sum."""
    observed, expected = torch.tensor(observed).double(), torch.tensor(expected).double()
    statistic = ((observed - expected) ** 2 / expected).sum()
    return torch.special.gammaincc(torch.tensor((len(observed) - 1) / 2).double(), statistic / 2)


def magnitude_of(name, level, side, positive):
    table, signed = POLICY._augmentation_space(10, (side, side))[name]
    amount = table[level].item() if table.ndim else 0.0
    return -amount if signed and not positive else amount
