"""A tree of small JPEG files with lists, as ImageNet-LT's: for tests and benchmarks."""

import numpy as np
from PIL import Image


def pareto_counts(total, largest, smallest, classes=1000, power=6):
    """Images of each class, falling as (1 + i/s)^-power; s is such that the total is exact.

    ImageNet-LT's own counts are in its lists, which are not here: total, largest and smallest are
    the same, and what lies between is made up.
    """
    low, high = 1e-3, 1e6

    def counts(s):
        ranks = np.arange(classes)
        return np.maximum(smallest, (largest * (1 + ranks / s) ** -power).astype(int))

    for _ in range(100):
        middle = (low * high) ** 0.5
        low, high = (middle, high) if counts(middle).sum() <= total else (low, middle)
    found = counts(low)
    found[1 : 1 + total - found.sum()] += 1  # what rounding down has left
    return found.tolist()


def tree(folder, counts, test_each=1, side=40, seed=0):
    """Files as train/<class>/<n>.jpg and val/..., listed as OLTR lists them."""
    rng = np.random.default_rng(seed)
    colours = rng.integers(256, size=(len(counts), 3))
    for half, numbers in (("train", counts), ("test", [test_each] * len(counts))):
        lines = []
        for label, number in enumerate(numbers):
            name = f"{half}/n{label:08}"
            (folder / name).mkdir(parents=True)
            for i in range(number):
                pixels = (colours[label] + rng.integers(-40, 41, (side, side + 8, 3))).clip(0, 255)
                image = Image.fromarray(pixels.astype(np.uint8))
                image.save(folder / name / f"{i}.jpg", quality=80)
                lines.append(f"{name}/{i}.jpg {label}")
        (folder / f"ImageNet_LT_{half}.txt").write_text("\n".join(lines) + "\n")
    return folder
