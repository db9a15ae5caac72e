"""Small data sets as files, for tests that read them."""

import gzip
import struct

import numpy as np
from PIL import Image

from facog_lab.data.load import load
from facog_lab.settings import DataConfig


def idx_bytes(array):
    return (
        bytes([0, 0, 8, array.ndim])
        + struct.pack(f">{array.ndim}I", *array.shape)
        + array.tobytes()
    )


def write_idx(folder, seed=0, per_class=12, compress=True):
    """A small MNIST whose first pixel tells the seed."""
    folder.mkdir(parents=True)
    rng = np.random.default_rng(seed)
    for half in ("train", "t10k"):
        labels = rng.permutation(np.repeat(np.arange(10, dtype=np.uint8), per_class))
        images = rng.integers(0, 256, (len(labels), 28, 28), dtype=np.uint8)
        images[:, 0, 0] = seed
        for name, array in (("images-idx3", images), ("labels-idx1", labels)):
            raw, path = idx_bytes(array), folder / f"{half}-{name}-ubyte"
            if compress:
                path.with_name(f"{path.name}.gz").write_bytes(gzip.compress(raw))
            else:
                path.write_bytes(raw)


def write_folder(root, counts, test=2, grey=False):
    for name, count in counts.items():
        for half, number in (("train", count), ("test", test)):
            (root / half / name).mkdir(parents=True)
            for i in range(number):
                seed = int.from_bytes(f"{half}{name}{i}".encode(), "little")
                shape = (8, 8) if grey else (8, 8, 3)
                pixels = np.random.default_rng(seed).integers(0, 256, shape, dtype=np.uint8)
                Image.fromarray(pixels).save(root / half / name / f"{i}.png")
    return root


def as_found(path):
    return load(DataConfig(dataset=f"folder:{path}", profile="as_found"))
