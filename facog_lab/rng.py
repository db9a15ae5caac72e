"""Randomness derived from seed, step and sample, so that a resume needs no generator state.

Two kinds. `rng_for` gives a private torch.Generator for one step. `uniform` is counter-based: each
sample's numbers depend on (seed, epoch, its index, stream) alone, hence not on the batch it is in,
and are the same on every device.
"""

from __future__ import annotations

import contextlib
import hashlib
from collections.abc import Iterator

import torch
from torch import Tensor

_GOLDEN = 0x9E3779B97F4A7C15 - 2**64  # the odd constants of splitmix64, as signed 64-bit numbers
_MIX_1 = 0xBF58476D1CE4E5B9 - 2**64
_MIX_2 = 0x94D049BB133111EB - 2**64


def derive_seed(*keys: int | str) -> int:
    """A 63-bit number from any keys: different keys give independent seeds."""
    text = "\x1f".join(map(str, keys)).encode()
    return int.from_bytes(hashlib.blake2b(text, digest_size=8).digest(), "little") >> 1


def rng_for(device: torch.device | str, *keys: int | str) -> torch.Generator:
    """A generator of its own for these keys; PyTorch's global one is never touched."""
    return torch.Generator(device).manual_seed(derive_seed(*keys))


@contextlib.contextmanager
def seeded(*keys: int | str) -> Iterator[None]:
    """PyTorch's global CPU generator seeded by these keys inside the block, untouched after it.

    For initialising modules, which draw from the global generator only, and on the CPU. Those of
    other devices are not touched at all: `torch.manual_seed` would seed them, too.
    """
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(derive_seed(*keys))
        yield


def uniform(seed: int, epoch: int, index: Tensor, stream: str, n: int) -> Tensor:
    """Independent numbers in [0, 1), `n` for each sample.

    Args:
        seed: the run's seed.
        epoch: the epoch, from 0.
        index: (B,) int64, the samples' positions in the training set.
        stream: what the numbers are for, e.g. ``"crop"``; other streams are independent.
        n: how many for each sample.

    Returns:
        (B, n) float32 on the device of `index`, multiples of 2^-24.
    """
    columns = torch.arange(1, n + 1, device=index.device)
    state = _mix(index.long() * _GOLDEN + derive_seed(seed, epoch, stream))  # (B,)
    bits = _mix(state[:, None] + columns * _GOLDEN)  # (B, n)
    return _shift(bits, 40).float() / 2**24


def _mix(x: Tensor) -> Tensor:
    """The finaliser of splitmix64 on int64 tensors, whose products wrap as unsigned ones do."""
    x = (x ^ _shift(x, 30)) * _MIX_1
    x = (x ^ _shift(x, 27)) * _MIX_2
    return x ^ _shift(x, 31)


def _shift(x: Tensor, n: int) -> Tensor:
    """Logical (not arithmetic) right shift."""
    return (x >> n) & ((1 << (64 - n)) - 1)
