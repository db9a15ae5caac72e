"""Features of the digits and networks of phase 1 for the playground, in one small file.

    python site/playground/export.py         makes site/playground/digits.json anew (20 s)

`record` takes steps of the lab's own phase 2 on what that file holds, with all that was drawn: the
playground must come to the same numbers from the same draws.
"""

from __future__ import annotations

import base64
import contextlib
import json
import platform
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from unittest import mock

import numpy as np
import torch
from torch import Tensor
from torch.overrides import TorchFunctionMode

from facog_lab import models, phase2, runs
from facog_lab.dictionary import FeatureDictionary
from facog_lab.runs import presets
from facog_lab.settings import Phase2Config

FILE = Path(__file__).parent / "digits.json"
COMMAND = "python site/playground/export.py"
# What one step of phase 2 draws, in order, and the name of it in the record.
PAIR = (("randint", "labels"), ("draw", "real"), ("draw", "rows"), ("randn", "noise"))
CLASSIFIER = (("multinomial", "labels"), ("randint", "real"), ("draw", "rows"))


def export() -> dict[str, Any]:
    """Digits by the preset "auto": features and weights as float16, pixels as bytes."""
    torch.set_num_threads(1)
    settings = presets.experiment("auto", data={"dataset": "digits"})
    lab = runs.open(settings, "cpu")
    data, model = lab.dictionary, lab.model
    pixels = lab.data.images[data.image_index]  # (R, 1, 8, 8)
    return {
        "made_by": COMMAND,
        "made_on": arithmetic(),
        "split_hash": lab.data.split_hash,
        "names": list(data.class_names),
        "counts": data.class_counts.tolist(),
        "dim": data.feature_dim,
        "features": _packed(data.features),
        "test_features": _packed(data.test_features),
        "test_labels": data.test_labels.tolist(),
        "images": base64.b64encode(pixels.numpy().tobytes()).decode(),
        "classifier": _layers(model.classifier),
        "projector": _layers(model.projector),
    }


def arithmetic() -> dict[str, str]:
    """What the last digits of a training on one thread depend on.

    Phase 1 enlarges a difference in the last digit until features differ in the first: another
    machine's digits are another run, as good and not the same.
    """
    capability = torch.backends.cpu.get_cpu_capability()
    return {"torch": torch.__version__.split("+")[0], "cpu": f"{platform.machine()} {capability}"}


def source(exported: dict[str, Any]) -> tuple[FeatureDictionary, models.Phase1Model]:
    """The dictionary and the networks that an exported file holds, rounded as they are there."""
    counts = torch.tensor(exported["counts"])
    features, tests = _unpacked(exported["features"]), _unpacked(exported["test_features"])
    dictionary = FeatureDictionary.build(
        features.view(-1, exported["dim"]),
        torch.arange(len(counts)).repeat_interleave(counts),
        torch.arange(int(counts.sum())),
        tuple(exported["names"]),
        tests.view(-1, exported["dim"]),
        torch.tensor(exported["test_labels"]),
    )
    backbone = torch.nn.Identity()
    backbone.feature_dim = exported["dim"]
    width = len(_unpacked(exported["projector"][-1]["bias"]))
    model = models.Phase1Model(backbone, len(counts), width)
    for network, layers in (
        (model.classifier, exported["classifier"]),
        (model.projector, exported["projector"]),
    ):
        for linear, saved in zip(_linear(network), layers, strict=True):
            linear.weight.data = _unpacked(saved["weight"]).view_as(linear.weight)
            linear.bias.data = _unpacked(saved["bias"])
    return dictionary, model


def record(exported: dict[str, Any], steps: int, **settings: Any) -> dict[str, Any]:
    """Steps of the lab's phase 2: weights before and after, draws, what was measured, w.

    Args:
        exported: what `export` made.
        steps: how many.
        settings: fields of Phase2Config.
    """
    dictionary, model = source(exported)
    loop = phase2.Phase2(Phase2Config(**settings), dictionary, model, "cpu")
    learned = hasattr(loop.oversampler, "generator")
    made: dict[str, Any] = {"start": _networks(loop), "draws": [], "rows": []}
    for _ in range(steps):
        with _recording() as drawn:
            next(loop)
        row = {name: column[-1] for name, column in loop.history["steps"].items()}
        made["rows"].append({k: v for k, v in row.items() if isinstance(v, float)})
        made["draws"].append(_named(drawn, learned, dictionary, loop.config.batch_size))
    made["end"] = _networks(loop)
    made["recall"] = list(loop.evaluate().per_class)
    if learned:
        last = made["draws"][-1]["classifier"]
        labels, n_s = torch.tensor(last["labels"]), loop.config.n_s
        noise = torch.tensor(last["noise"]).view(len(labels), -1)
        with torch.no_grad():
            w = loop.oversampler.generator(noise, labels, torch.empty(len(labels), n_s, 0))
        made["w"] = w.flatten().tolist()
    return made


def _networks(loop: phase2.Phase2) -> dict[str, list[dict[str, list[float]]]]:
    networks = {"classifier": loop.classifier}
    if hasattr(loop.oversampler, "generator"):
        networks["generator"] = loop.oversampler.generator
        networks["discriminator"] = loop.oversampler.discriminator
    return {
        name: [
            {"weight": one.weight.flatten().tolist(), "bias": one.bias.tolist()}
            for one in _linear(network)
        ]
        for name, network in networks.items()
    }


@contextlib.contextmanager
def _recording() -> Iterator[list[tuple[str, Tensor]]]:
    """What is drawn inside the block: from PyTorch, and as rows from the dictionary."""
    drawn: list[tuple[str, Tensor]] = []
    draw = FeatureDictionary.draw

    class Watch(TorchFunctionMode):
        def __torch_function__(self, function, types, args=(), kwargs=None):  # type: ignore
            made = function(*args, **kwargs or {})
            name = getattr(function, "__name__", "")
            if name in ("randint", "randn", "multinomial", "exponential_"):
                drawn.append((name, made.clone()))
            return made

    def watched(self: FeatureDictionary, *args: Any) -> Tensor:
        drawn.append(("draw", draw(self, *args)))
        return drawn[-1][1]

    with mock.patch.object(FeatureDictionary, "draw", watched), Watch():
        yield drawn


def _named(
    drawn: list[tuple[str, Tensor]], learned: bool, dictionary: FeatureDictionary, size: int
) -> dict[str, dict[str, list[Any]]]:
    """The draws of one step by name; fails where the lab draws other things than it did."""
    last = ("randn", "noise") if learned else ("exponential_", "waits")
    wanted = [(part, *each) for part in ("d", "g") for each in PAIR] if learned else []
    wanted += [("classifier", *each) for each in (*CLASSIFIER, last)]
    kinds = [kind for kind, _ in drawn]
    if kinds != [kind for _, kind, _ in wanted]:
        raise RuntimeError(f"a step drew {kinds}; the playground knows {wanted}")
    named: dict[str, dict[str, list[Any]]] = {}
    for (part, _, name), (_, tensor) in zip(wanted, drawn, strict=True):
        named.setdefault(part, {})[name] = tensor.flatten().tolist()
    return named


def _linear(network: torch.nn.Module) -> list[torch.nn.Linear]:
    return [one for one in network.modules() if isinstance(one, torch.nn.Linear)]


def _layers(network: torch.nn.Module) -> list[dict[str, str]]:
    return [{"weight": _packed(one.weight), "bias": _packed(one.bias)} for one in _linear(network)]


def _packed(tensor: Tensor) -> str:
    return base64.b64encode(tensor.detach().numpy().astype("<f2").tobytes()).decode()


def _unpacked(text: str) -> Tensor:
    return torch.from_numpy(np.frombuffer(base64.b64decode(text), "<f2").astype(np.float32))


if __name__ == "__main__":
    FILE.write_text(json.dumps(export(), indent=1) + "\n")
    print(f"{FILE}: {FILE.stat().st_size:,} bytes")
