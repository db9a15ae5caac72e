"""Features of the training images that a long tail leaves out, through the frozen backbone.

They are the best that a generator could make: real. Nothing is trained on them but the rows of the
ceiling, see `study.ceiling`.
"""

from __future__ import annotations

import time
from typing import NamedTuple

from safetensors.torch import load_file
from torch import Tensor

from facog_lab.config import ConfigError, DataError
from facog_lab.data import load
from facog_lab.phase1 import Phase1
from facog_lab.runs import feature_files, presets
from facog_lab.runs.extract import features_of
from facog_lab.runs.progress import Progress
from facog_lab.runs.stages import Lab
from facog_lab.runs.store import Run, StoreError
from facog_lab.settings import DataConfig, DictionaryConfig


class LeftOut(NamedTuple):
    """Images that phase 1 was not trained on.

    Attributes:
        features: (U, D) float32, clean views.
        labels: (U,) int64.
    """

    features: Tensor
    labels: Tensor


def of_lab(lab: Lab) -> LeftOut:
    """Those of an experiment; made when they are first asked for, and kept.

    Raises:
        ConfigError: for images that were handed in as arrays, whose rest is not known.
        DataError: if the long tail leaves none out.
    """
    if lab.given is not None:
        raise ConfigError(
            "the images were given as arrays, and which were left out is not known. Save all of "
            "them as class folders and name these, or look at the learning curve instead."
        )
    return _made(lab.settings.data, lab.phase1.finish(), lab.run("phase1").key)


def of_kept(name: str) -> LeftOut:
    """Those of a dictionary in benchmarks/dictionaries, through the backbone beside it.

    Raises:
        DataError: if the backbone or the data set is missing, or the data set at hand is in
            another order than the one that the dictionary was made from.
    """
    folder = feature_files.FOLDER
    given, facts = feature_files.read(folder, name), feature_files.read_facts(folder, name)
    path = folder / f"{name}_backbone.safetensors"
    if not path.is_file():
        raise DataError(f"{path} is missing, and with it the features of images left out.")
    of_data = {
        "dataset": facts["dataset"],
        "imbalance_ratio": float(facts["imbalance_ratio"]),
        "split_seed": int(facts.get("split_seed", 0)),
    }
    settings = presets.experiment(facts.get("preset", "paper"), data=of_data)
    lab = Lab(settings, "cpu")
    if lab.data.split_hash != given.split_hash:
        raise DataError(
            f"{name} was made from another split of {facts['dataset']} (hash "
            f"{given.split_hash[:12]}, here {lab.data.split_hash[:12]}): its images lie in another "
            "order. Use the same source of the data, see benchmarks/dictionaries/README.md."
        )
    loop = Phase1(settings.phase1, lab.data, "cpu")
    loop.model.backbone.load_state_dict(load_file(path))
    return _made(settings.data, loop, given.key)


def _made(config: DataConfig, loop: Phase1, key: str) -> LeftOut:
    run = Run(loop.data.name, "left_out", DictionaryConfig(views=0, seed=0), key)

    def kept() -> LeftOut | None:
        if (saved := run.load_or_warn()) is None:
            return None
        try:
            found = LeftOut(saved.tensors["features"], saved.tensors["labels"])
        except KeyError as error:
            raise StoreError(
                f"{run.folder} holds no features of images left out ({error} is missing). Remove "
                "the folder to make them again."
            ) from None
        return found

    if found := kept():
        return found
    with run.making():
        if found := kept():  # another notebook has made it meanwhile
            return found
        began = time.monotonic()
        images, labels = load.left_out(config, report=print)
        with Progress(len(labels), "Left-out images", unit="image") as progress:
            features = features_of(loop, images, progress.update)
        record = {"seconds": time.monotonic() - began, "device": str(loop.device)}
        run.save({"features": features, "labels": labels}, {}, record, done=True)
    return LeftOut(features, labels)
