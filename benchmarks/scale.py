"""What several processes gain, and phase 2 on a dictionary of ImageNet-LT's size.

    python -m benchmarks.scale                 # everything, into results/speed.json
    python -m benchmarks.scale processes --out other.json

Ends with status 1 if a bar does not hold or a ratio got worse by more than a tenth.
"""

from __future__ import annotations

import argparse
import multiprocessing
import os
import statistics
import sys
import tempfile
from collections.abc import Callable, Iterator
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.distributed as dist
from PIL import Image

from benchmarks import speed_features, speed_training
from benchmarks.rows import row, write
from benchmarks.speed import RESULTS
from facog_lab import phase2
from facog_lab.data import prefetch
from facog_lab.data.decode import ImageFiles
from facog_lab.data.files import Folder
from facog_lab.dictionary import FeatureDictionary
from facog_lab.runs.store import Run
from facog_lab.settings import DictionaryConfig

SPAWN = multiprocessing.get_context("spawn")
BATCH = 256  # of the paper's preset


def trainer(connection: Connection, rank: int, meeting: str | None, batch: int) -> None:
    """Phase 1 in one process, on a core of its own: told steps, it says seconds.

    Args:
        connection: where it is told, until it is told 0.
        rank: which of its group it is.
        meeting: the file by which two become one group; None for a process that knows of none.
        batch: images in a step of the group.
    """
    os.sched_setaffinity(0, {sorted(os.sched_getaffinity(0))[rank]})
    torch.set_num_threads(1)
    if meeting:
        dist.init_process_group("gloo", init_method=f"file://{meeting}", rank=rank, world_size=2)
    training = speed_training.made(speed_training.images(), "resnet32", batch_size=batch)
    while steps := connection.recv():
        connection.send(speed_training.timed("cpu", speed_training.take, training, steps))
    if meeting:
        dist.destroy_process_group()


def processes(runs: int) -> Iterator[dict[str, Any]]:
    """Images a second of phase 1 by two processes, each on a core, against one on one, by turns.

    In the same turns by two that know nothing of each other, with half the batch each: the most
    that this machine gives to two.
    """
    with tempfile.TemporaryDirectory() as folder:
        groups = []
        for count, meeting, batch in ((1, None, BATCH), (2, f"{folder}/meeting", BATCH),
                                      (2, None, BATCH // 2)):  # fmt: skip
            ends = [SPAWN.Pipe() for _ in range(count)]
            for rank, (_, theirs) in enumerate(ends):
                SPAWN.Process(target=trainer, args=(theirs, rank, meeting, batch)).start()
            groups.append([ours for ours, _ in ends])
        together, apart = [], []
        for run in range(1 + runs):
            one, two, strangers = (_seconds(group, 2) for group in groups)
            if run:
                together.append(one / two)
                apart.append(one / strangers)
        for group in groups:
            for connection in group:
                connection.send(0)
    name = "phase 1, ResNet-32: 2 processes on a core each, of 1 on one"
    yield row(name, together, "×", 1.7, most=False)
    most = statistics.median(apart)
    print(f"two that know nothing of each other: {most:.2f} ({min(apart):.2f} to {max(apart):.2f})")


def _seconds(group: list[Connection], steps: int) -> float:
    """Of so many steps, until the last of the processes is done."""
    for connection in group:
        connection.send(steps)
    return max(connection.recv() for connection in group)


def in_halves() -> Run:
    """Where the simulated ImageNet-LT dictionary is kept in float16."""
    return Run("benchmark", "dictionary", DictionaryConfig(views=0, seed=0), "float16")


def keep_in_halves() -> None:
    """Makes that dictionary, if it is not there: some GB of memory."""
    made = speed_features.features(*speed_features.IMAGENET, test=50_000).tensors()
    in_halves().save(
        {k: v.half() if v.is_floating_point() else v for k, v in made.items()}, {}, {}, done=True
    )


def on_imagenet(connection: Connection, runs: int) -> None:
    """Phase 2 on it: seconds of so many steps each time, products of a step, MB resident."""
    torch.set_num_threads(1)
    saved = in_halves().load()
    assert saved is not None
    names = tuple(map(str, range(speed_features.IMAGENET[2])))
    loop = speed_features.training(
        FeatureDictionary.from_tensors(saved.tensors, names, saved.release), projection_dim=1024
    )
    connection.send(_steps(loop, runs, 10))
    loop.evaluate()
    connection.send(_peak())


def _peak() -> float:
    """The most MB that this process ever had in memory."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("VmHWM")) * 1024 / 1e6


def _steps(loop: phase2.Phase2, runs: int, steps: int) -> tuple[list[float], float]:
    """Seconds of a step, several times, and the multiplications and additions in its products."""
    speed_features.take(loop, 3)
    seconds = [speed_features.take(loop, steps) / steps for _ in range(runs)]
    with torch.profiler.profile(with_flops=True) as profile:
        next(loop)
    keys = ("aten::mm", "aten::addmm")
    return seconds, sum(e.flops for e in profile.key_averages() if e.key in keys)


def imagenet(runs: int) -> Iterator[dict[str, Any]]:
    """Phase 2 on 115,846 × 2048 in float16: memory, and a step against CIFAR-100-LT's size."""
    if in_halves().load() is None:
        keep_in_halves()
    torch.set_num_threads(1)
    small = speed_features.training(speed_features.features(10_847, 512, 100, test=10_000))
    seconds, products = _steps(small, runs, 100)
    here, there = SPAWN.Pipe()
    process = SPAWN.Process(target=on_imagenet, args=(there, runs))
    process.start()
    its_seconds, its_products = here.recv()
    memory = here.recv()
    process.join()
    size = "{:,} × {:,}".format(*speed_features.IMAGENET[:2])
    yield row(f"phase 2, {size} in float16: most memory", [memory], "MB", 1500, most=True)
    ratios = [
        (theirs / ours) / (its_products / products)
        for theirs, ours in zip(its_seconds, seconds, strict=True)
    ]
    name = f"phase 2, {size}: a step, of CIFAR-100-LT's by its products"
    yield row(name, ratios, "×", 1.5, most=True)
    print(f"a step takes {1000 * min(its_seconds):.0f} ms, CIFAR's {1000 * min(seconds):.1f} ms;")
    print(f"its products are {its_products / products:.1f} times as many")


def decoding(runs: int) -> Iterator[dict[str, Any]]:
    """JPEG files of ImageNet's usual size, decoded to 256 × 256 by one worker.

    The bar is what a GPU needs that takes 1,000 views a second, of 8 workers, at 3 views an image.
    """
    rng = np.random.default_rng(0)
    with tempfile.TemporaryDirectory() as folder:
        names, size = [f"{i}.jpg" for i in range(64)], 0
        for name in names:
            # Coarse and fine noise, so that a file is not much smaller than a photograph's.
            coarse = Image.fromarray(rng.integers(256, size=(38, 50, 3)).astype(np.uint8))
            pixels = np.asarray(coarse.resize((500, 375))) + rng.normal(0, 9, (375, 500, 3))
            path = Path(folder) / name
            Image.fromarray(pixels.clip(0, 255).astype(np.uint8)).save(path, quality=90)
            size += path.stat().st_size
        files = prefetch._Decoded(ImageFiles(Folder(Path(folder)), names, 256, 3))
        rows = list(range(len(names)))
        seconds = [speed_training.timed("cpu", files.__getitem__, rows) for _ in range(1 + runs)]
    print(f"files of {size / len(names) / 1000:.0f} kB")
    rates = [len(names) / s for s in seconds[1:]]
    yield row("JPEG files of 500 × 375 decoded by a worker", rates, "1/s", 42, most=False)


MEASURES: dict[str, Callable[[int], Iterator[dict[str, Any]]]] = {
    "processes": processes,
    "imagenet": imagenet,
    "decoding": decoding,
}


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("what", nargs="*", metavar="what", help=f"of {', '.join(MEASURES)}")
    parser.add_argument("--runs", type=int, default=5, help="of each, after one for warming up")
    parser.add_argument("--out", type=Path, default=RESULTS, help="a JSON file for the rows")
    options = parser.parse_args()
    if unknown := set(options.what) - set(MEASURES):
        parser.error(f"{', '.join(sorted(unknown))}: there are {', '.join(MEASURES)}")
    good = True
    for name in options.what or MEASURES:
        command = f"python -m benchmarks.scale {name}"
        good &= write(list(MEASURES[name](options.runs)), options.out, command)
    sys.exit(not good)


if __name__ == "__main__":
    main()
