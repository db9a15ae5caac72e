"""Reads and writes dictionaries stored beside the code: phase 2 without a phase 1.

A dictionary is three files, ``<name>_train``, ``_test`` and ``_heads``, with features as float16,
small enough for a repository; see benchmarks/dictionaries/README.md.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Mapping
from pathlib import Path, PurePath

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import load_file, save_file
from torch import nn

from facog_lab import models, paths
from facog_lab.data.files import DataError
from facog_lab.dictionary import FeatureDictionary
from facog_lab.runs.stages import Source

FOLDER = paths.project_root() / "benchmarks" / "dictionaries"
PARTS = ("train", "test", "heads")


def read(folder: Path, name: str) -> Source:
    """A published dictionary and its heads, as what phase 2 starts from.

    Args:
        folder: where the files lie.
        name: what their names begin with, as "cifar100_lt_100_seed0".

    Returns:
        A Source; its model has the heads alone (its backbone is a stand-in),
        its key is a hash of the files, and its one test protocol is "full".

    Raises:
        DataError: naming a file that is missing, or a dictionary that is not valid.
    """
    if PurePath(name).name != name:
        raise DataError(f"dictionary = {name!r}: a name, not a path; there are: {_known(folder)}.")
    paths = {part: folder / f"{name}_{part}.safetensors" for part in PARTS}
    for path in paths.values():
        if not os.path.isfile(path):
            raise DataError(f"{path} is missing; in {folder} there are: {_known(folder)}.")
    try:
        return _made(paths, name, read_facts(folder, name))
    except (SafetensorError, OSError, LookupError, ValueError, TypeError, RuntimeError) as error:
        raise DataError(
            f"{folder / name}_*: no dictionary with its heads ({error}). Get the files again."
        ) from error


def _made(paths: Mapping[str, Path], name: str, facts: Mapping[str, str]) -> Source:
    train, test, heads = (load_file(paths[part]) for part in PARTS)
    if not 0 <= int(train["images"].min()) <= int(train["images"].max()) < len(train["labels"]):
        raise ValueError("its image numbers are no rows of a training set")
    if train["features"].shape[1:] != test["features"].shape[1:]:
        raise ValueError("its test features have another width")
    features = FeatureDictionary.build(
        train["features"].float(),
        train["labels"],
        train["images"],
        tuple(json.loads(facts["class_names"])),
        test["features"].float(),
        test["labels"],
    )
    stand_in = nn.Identity()
    stand_in.feature_dim = features.feature_dim  # type: ignore[assignment]
    width = len(heads["projector.2.bias"])
    model = models.Phase1Model(stand_in, features.num_classes, width)
    model.load_state_dict(heads)
    content = b"".join(hashlib.sha256(path.read_bytes()).digest() for path in paths.values())
    return Source(
        dataset=name,
        features=features,
        model=model.eval(),
        key=hashlib.sha256(content).hexdigest()[:12],
        split_hash=facts["split_hash"],
        test_protocols={"full": torch.arange(len(features.test_labels))},
    )


def read_facts(folder: Path, name: str) -> dict[str, str]:
    """The facts about a published dictionary: data set, ratio, class names (JSON), split."""
    with safe_open(folder / f"{name}_test.safetensors", "pt") as file:
        facts: dict[str, str] = file.metadata()
    return facts


def write(given: Source, folder: Path, name: str, facts: Mapping[str, str]) -> list[Path]:
    """Writes what `read` reads, features as float16.

    Args:
        given: what phase 2 of an experiment starts from.
        folder: where the files go, made if need be.
        name: what their names begin with.
        facts: what else to say about them in every file: data set, preset, seed, versions.

    Returns:
        The files.
    """
    features = given.features
    heads = {
        f"{part}.{key}": tensor
        for part in ("classifier", "projector")
        for key, tensor in getattr(given.model, part).state_dict().items()
    }
    parts = {
        "train": {
            "features": features.features.half(),
            "labels": features.labels,
            "images": features.image_index,
        },
        "test": {"features": features.test_features.half(), "labels": features.test_labels},
        "heads": heads,
    }
    names = json.dumps(features.class_names)
    said = {**facts, "class_names": names, "split_hash": given.split_hash}
    folder.mkdir(parents=True, exist_ok=True)
    paths = []
    for part, tensors in parts.items():
        paths.append(folder / f"{name}_{part}.safetensors")
        whole = {key: tensor.cpu().contiguous() for key, tensor in tensors.items()}
        save_file(whole, paths[-1], said)
    return paths


def _known(folder: Path) -> str:
    return ", ".join(names(folder)) or "none"


def names(folder: Path) -> list[str]:
    """The dictionaries in a folder."""
    return sorted(p.name.removesuffix("_heads.safetensors") for p in folder.glob("*_heads.*"))
