"""Speed of the dictionary's file, of phase 2 and of making features."""

from __future__ import annotations

import json
import math
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from benchmarks.rows import row
from facog_lab import models, phase2
from facog_lab.data.long_tail import long_tail_counts
from facog_lab.dictionary import FeatureDictionary
from facog_lab.rng import rng_for, seeded
from facog_lab.runs import presets
from facog_lab.runs.store import Run
from facog_lab.settings import DictionaryConfig

IMAGENET = (115_846, 2048, 1000)  # training images, width, classes
RESIDENT_AFTER = 20  # draws
WARM, STEPS = 20, 100  # steps of phase 2


def features(rows: int, width: int, classes: int, test: int = 1000) -> FeatureDictionary:
    """Made-up features, an exponential tail of ratio 100 with about so many rows, by class."""
    rng = torch.Generator().manual_seed(0)
    head = rows * math.log(100) / classes / 0.99  # the mean of such a tail is head 0.99 / ln 100
    counts = long_tail_counts("exponential", [round(head)] * classes, 100.0)
    labels = torch.arange(classes).repeat_interleave(torch.tensor(counts))
    centres = 2 * torch.randn(classes, width, generator=rng)
    return FeatureDictionary.from_tensors(
        {
            "features": torch.randn(len(labels), width, generator=rng).add_(centres[labels]),
            "labels": labels,
            "images": torch.arange(len(labels)),
            "test_features": torch.randn(test, width, generator=rng),
            "test_labels": torch.arange(test) % classes,
        },
        tuple(f"class {c}" for c in range(classes)),
    )


def training(dictionary: FeatureDictionary, projection_dim: int = 128) -> phase2.Phase2:
    """Phase 2 with the paper's settings on made-up features and untrained heads."""
    backbone = nn.Identity()
    backbone.feature_dim = dictionary.feature_dim  # type: ignore[assignment]
    with seeded("benchmark"):
        model = models.Phase1Model(backbone, dictionary.num_classes, projection_dim)
    config = presets.experiment("paper", data={"dataset": "cifar100"}).phase2
    return phase2.Phase2(config, dictionary, model, "cpu")


def take(loop: phase2.Phase2, count: int) -> float:
    """Seconds of so many steps."""
    began = time.perf_counter()
    for _ in range(count):
        next(loop)
    return time.perf_counter() - began


def mapped_run() -> Run:
    """Where the simulated ImageNet-LT dictionary is kept."""
    return Run("benchmark", "dictionary", DictionaryConfig(views=0, seed=0), "simulated")


def file(runs: int, device: str) -> Iterator[dict[str, Any]]:
    """The dictionary of a simulated ImageNet-LT: opened, drawn from, in fresh processes."""
    run = mapped_run()
    if run.load() is None:
        run.save(features(*IMAGENET, test=50_000).tensors(), {}, {}, done=True)
    script = Path(__file__).with_name("open_dictionary.py")
    told = [
        json.loads(subprocess.run([sys.executable, script], capture_output=True, check=True).stdout)
        for _ in range(1 + runs)
    ][1:]
    size = f"{IMAGENET[0]:,} × {IMAGENET[1]:,}"
    yield row(f"dictionary, {size}: open", [t["open"] for t in told], "ms", 50, most=True)
    yield row(f"dictionary, {size}: draw 128 × 5", [t["draw"] for t in told], "ms", 5, most=True)
    grown = [t["resident"] for t in told]
    yield row(f"dictionary, {size}: resident after {RESIDENT_AFTER} draws", grown, "MB", 300,
        most=True)  # fmt: skip


def rows(runs: int, device: str) -> Iterator[dict[str, Any]]:
    """A step of phase 2 on 1,000,000 rows of 128 against one on 10,000, by turns."""
    torch.set_num_threads(1)
    few, many = (training(features(n, 128, 100)) for n in (10_000, 1_000_000))
    take(few, WARM), take(many, WARM)
    ratios = [take(many, STEPS) / take(few, STEPS) for _ in range(runs)]
    yield row("phase 2: a step on 1,000,000 rows, of 10,000", ratios, "×", 1.15, most=True)


def whole(runs: int, device: str) -> Iterator[dict[str, Any]]:
    """40 epochs of phase 2 at CIFAR-100-LT's size, and how much of it is matrix products.

    A run is 1 in 10 epochs, with its evaluation; the matrix products are those that PyTorch is
    seen to do in a step, at the rate of a product of 512×512.
    """
    torch.set_num_threads(1)
    loop = training(features(10_847, 512, 100, test=10_000))
    take(loop, loop.steps_per_epoch)
    seconds = [take(loop, 4 * loop.steps_per_epoch) * 10 for _ in range(runs)]
    yield row("phase 2: 40 epochs on 10,847 × 512, C = 100", seconds, "s", 60, most=True)
    with torch.profiler.profile(with_flops=True) as profile:
        next(loop)
    products = sum(
        event.flops for event in profile.key_averages() if event.key in ("aten::mm", "aten::addmm")
    )
    a, b = torch.randn(512, 512), torch.randn(512, 512)
    shares = []
    for second in seconds:
        began = time.perf_counter()
        for _ in range(100):
            a @ b
        rate = 100 * 2 * 512**3 / (time.perf_counter() - began)
        shares.append(products / rate / (second / loop.total_steps))
    yield row("phase 2: matrix products' share of a step", shares, "×", 0.25, most=False)


def generated(runs: int, device: str, made: int = 20_000) -> Iterator[dict[str, Any]]:
    """Features made by a trained FACoG against as many by imbalanced-learn's SMOTE."""
    from imblearn.over_sampling import SMOTE

    loop = training(features(10_847, 512, 100))
    take(loop, WARM)
    labels = loop.dictionary.labels.numpy()
    have = np.bincount(labels)
    # The smallest classes get what is missing, so that SMOTE makes this many in all.
    wanted = have.copy()
    while (missing := made - int((wanted - have).sum())) > 0:
        smallest = int(wanted.argmin())
        wanted[smallest] += min(missing, 10)
    strategy = {c: int(n) for c, n in enumerate(wanted) if n > have[c]}
    asked = torch.arange(100).repeat_interleave(torch.from_numpy(wanted - have))
    real = loop.dictionary.features.numpy()
    ratios = []
    for run in range(1 + runs):
        began = time.perf_counter()
        smote = SMOTE(sampling_strategy=strategy, k_neighbors=4, random_state=run)
        smote.fit_resample(real, labels)
        theirs = time.perf_counter() - began
        rng, began = rng_for("cpu", run), time.perf_counter()
        with torch.no_grad():
            loop.oversampler.generate(asked, loop.controls, rng)
        if run:
            ratios.append(theirs / (time.perf_counter() - began))
    yield row(f"{made:,} generated features: of SMOTE", ratios, "×", 2, most=False)
