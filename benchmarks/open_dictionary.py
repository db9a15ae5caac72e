"""Opens the dictionary that `speed_features` keeps, draws from it, and says what that took."""

import json
import sys
import time
from pathlib import Path

import torch

sys.path.insert(0, str(Path(__file__).parents[1]))

from benchmarks.speed_features import IMAGENET, RESIDENT_AFTER, mapped_run
from facog_lab.dictionary import FeatureDictionary
from facog_lab.rng import rng_for


def resident() -> float:
    """MB of this process in memory."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * 4096 / 1e6


torch.set_num_threads(1)
before, began = resident(), time.perf_counter()
saved = mapped_run().load()
assert saved is not None
names = tuple(map(str, range(IMAGENET[2])))
dictionary = FeatureDictionary.from_tensors(saved.tensors, names, saved.release)
opened = time.perf_counter() - began
rng = rng_for("cpu", 0)
seconds = []
for _ in range(RESIDENT_AFTER):
    labels = torch.randint(IMAGENET[2], (128,), generator=rng)
    began = time.perf_counter()
    dictionary.gather(dictionary.draw(labels, 5, rng))
    seconds.append(time.perf_counter() - began)
drawn = sorted(seconds)[len(seconds) // 2]
grown = resident() - before
print(json.dumps({"open": 1000 * opened, "draw": 1000 * drawn, "resident": grown}))
