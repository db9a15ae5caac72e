"""Speed of views, phase 1 and extraction, each against what bounds it or what is usual."""

from __future__ import annotations

import gc
import multiprocessing
import time
from collections.abc import Callable, Iterator
from multiprocessing.connection import Connection
from typing import Any

import torch
from PIL import Image
from torch import Tensor
from torch.utils.data import DataLoader

from benchmarks.rows import row
from benchmarks.usual import Views, recipes
from facog_lab import dataset, phase1
from facog_lab.data.long_tail import long_tail_counts
from facog_lab.device import fast_bf16
from facog_lab.runs import extract as extract_module
from facog_lab.runs import presets, views_ahead
from facog_lab.runs.environment import keep_freed_memory
from facog_lab.runs.extract import extract
from facog_lab.settings import DictionaryConfig
from facog_lab.views import make_views

BATCH = 256
READY = 4  # batches that two workers may have made ahead


def images(seed: int = 0) -> dataset.LongTailed:
    """Noise of CIFAR-100-LT's size and classes at ratio 100: 10,847 images, and 2,500 for test."""
    rng = torch.Generator().manual_seed(seed)
    counts = long_tail_counts("exponential", [500] * 100, 100.0)
    labels = torch.arange(100).repeat_interleave(torch.tensor(counts))
    test_labels = torch.arange(100).repeat(25)

    def noise(n: int) -> Tensor:
        return torch.randint(256, (n, 3, 32, 32), dtype=torch.uint8, generator=rng)

    return dataset.LongTailed(
        name="noise",
        class_names=tuple(f"class {c}" for c in range(100)),
        available=(500,) * 100,
        images=noise(len(labels)),
        labels=labels,
        index=torch.arange(len(labels)),
        test_images=noise(len(test_labels)),
        test_labels=test_labels,
        test_protocols={"full": torch.arange(len(test_labels))},
        mean=(0.5, 0.5, 0.5),
        std=(0.25, 0.25, 0.25),
        split_hash="",
        fingerprint="",
    )


def made(
    data: dataset.LongTailed, architecture: str, device: Any = "cpu", **changes: Any
) -> phase1.Phase1:
    """Phase 1 with three views, under the paper's preset or with the small network."""
    preset = "paper" if architecture == "resnet32" else "cpu"
    changes = {"views": 3} | changes
    settings = presets.experiment(preset, data={"dataset": "cifar100"}, phase1=changes)
    return phase1.Phase1(settings.phase1, data, device)


def timed(device: str, work: Callable[..., Any], *arguments: Any) -> float:
    """Seconds; on a GPU until it has done the work."""
    if device == "cuda":
        torch.cuda.synchronize()
    began = time.perf_counter()
    work(*arguments)
    if device == "cuda":
        torch.cuda.synchronize()
    return time.perf_counter() - began


def take(training: phase1.Phase1, count: int) -> None:
    for _ in range(count):
        next(training)


def views(runs: int, device: str) -> Iterator[dict[str, Any]]:
    """Views a second: on one core against PIL images one by one, on a GPU in all."""
    data = images()
    stacked = torch.as_tensor(data.images)[: 4 * BATCH].to(device)
    index = torch.arange(len(stacked), device=device)

    def ours(recipe: str) -> None:
        for part in index.split(BATCH if device == "cpu" else len(index)):
            make_views(
                stacked[part],
                recipe,
                seed=0,
                epoch=0,
                index=part,
                mean=data.mean,
                std=data.std,
            )

    both = ("autoaugment_cutout", "simaugment", "simaugment")  # as phase 1 has them
    if device == "cuda":
        seconds = [sum(timed(device, ours, recipe) for recipe in both) for _ in range(1 + runs)]
        rates = [len(both) * len(index) / s for s in seconds[1:]]
        yield row("views a second, GPU", rates, "1/s", 50_000, most=False, device=device)
        return
    yield row("views a second, GPU", [], "1/s", 50_000, most=False, device="cuda")
    torch.set_num_threads(1)
    pil = [Image.fromarray(one.permute(1, 2, 0).numpy()) for one in stacked[:BATCH]]
    theirs_of = recipes(data)
    for recipe in dict.fromkeys(both):
        ratios = []
        for run in range(1 + runs):
            mine = timed(device, ours, recipe) / len(index)
            theirs = timed(device, list, map(theirs_of[recipe], pil)) / len(pil)
            if run:
                ratios.append(theirs / mine)
        yield row(f"views: {recipe}, of one PIL process", ratios, "×", 2, most=False)


def step(runs: int, device: str) -> Iterator[dict[str, Any]]:
    """A step of phase 1 against forward and backward of the same network on ready tensors."""
    bar = {"cpu": 0.9, "cuda": 0.85}
    name = {"cpu": "phase 1: of bare forward + backward", "cuda": "phase 1 on a GPU: of bare"}
    if device == "cpu":
        yield row(name["cuda"], [], "×", bar["cuda"], most=False, device="cuda")
    training = made(images(), "resnet32", device)
    ready = training.views(training.order[0], 0).flatten(0, 1)
    ready = ready.contiguous(memory_format=training.memory_format)
    steps = 1 if device == "cpu" else views_ahead.AHEAD

    def bare(count: int) -> None:
        fast = fast_bf16(torch.device(device))
        for _ in range(count):
            training.model.zero_grad()
            with torch.autocast(device, torch.bfloat16, enabled=fast):
                training.model.backbone(ready).sum().backward()

    ratios = []
    for run in range(1 + runs):
        whole = timed(device, take, training, steps)
        forward_backward = timed(device, bare, steps)
        if run:
            ratios.append(forward_backward / whole)
    yield row(name[device], ratios, "×", bar[device], most=False, device=device)


def usual(connection: Connection, architecture: str, device: str) -> None:
    """The usual pipeline in a process of its own: told how many batches, it says how long.

    PIL images, two workers, PyTorch's usual memory layout and allocator; the same losses.
    """
    data = images()
    training = made(data, architecture, device)
    training.memory_format = torch.contiguous_format
    training.model.to(memory_format=torch.contiguous_format)
    loader = DataLoader(
        Views(data, training.objective.recipes), BATCH, shuffle=True, drop_last=True, num_workers=2
    )
    batches = (batch for _ in iter(int, 1) for batch in loader)

    def step(count: int) -> None:
        for _ in range(count):
            made_views, labels = (x.to(device) for x in next(batches))
            training.model.train()
            loss = training.loss(made_views.transpose(0, 1), labels, 0).loss
            training.optimizer.zero_grad()
            loss.backward()
            training.optimizer.step()

    while count := connection.recv():
        step(READY)  # what was made while this process waited
        connection.send(timed(device, step, count))


def pipelines(runs: int, device: str) -> Iterator[dict[str, Any]]:
    """Images a second of phase 1 against the usual pipeline, by turns."""
    if device == "cpu":
        yield row("phase 1 on a GPU: of the usual pipeline", [], "×", 10, most=False, device="cuda")
    networks = {"resnet32": 1.15, "small": 2.0} if device == "cpu" else {"resnet32": 10.0}
    for architecture, bar in networks.items():
        here, there = multiprocessing.get_context("spawn").Pipe()
        process = multiprocessing.get_context("spawn").Process(
            target=usual, args=(there, architecture, device)
        )
        process.start()
        count = 3 if architecture == "resnet32" and device == "cpu" else 10
        training, ratios = made(images(), architecture, device), []
        for run in range(1 + runs):
            here.send(count)
            theirs = here.recv()
            time.sleep(2)  # until its workers have made what they may make ahead
            ours = timed(device, take, training, count)
            if run:
                ratios.append(theirs / ours)
        here.send(0)
        process.join()
        name = "phase 1 on a GPU" if device == "cuda" else f"phase 1, {architecture}"
        yield row(f"{name}: of the usual pipeline", ratios, "×", bar, most=False, device=device)


def extraction(runs: int, device: str) -> Iterator[dict[str, Any]]:
    """The dictionary's extraction against the bare forward pass on ready tensors."""
    data = images()
    training, settings = made(data, "resnet32", device), DictionaryConfig(views=0, seed=0)
    both = [torch.as_tensor(data.images), torch.as_tensor(data.test_images)]
    both = [part[:1500] for part in both] if device == "cpu" else both
    few = dataset.LongTailed(
        **vars(data)
        | {
            "images": both[0],
            "labels": torch.arange(len(both[0])) % 100,
            "test_images": both[1],
            "test_labels": torch.arange(len(both[1])) % 100,
        }
    )
    training.data = few
    ready = [
        part.to(device).float().div(255).contiguous(memory_format=training.memory_format)
        for images in both
        for part in images.split(extract_module.BATCH)
    ]

    @torch.no_grad()
    def bare() -> None:
        training.model.eval()
        for part in ready:
            training.model.backbone(part)

    ratios = []
    for run in range(1 + runs):
        whole = timed(device, extract, training, settings)
        keep_freed_memory(True)  # as extraction has it
        forward = timed(device, bare)
        if run:
            ratios.append(forward / whole)
        gc.collect()
    keep_freed_memory(False)
    yield row("dictionary: extraction, of the forward pass", ratios, "×", 0.95, most=False,
        device=device)  # fmt: skip
