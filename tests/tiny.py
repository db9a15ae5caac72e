"""Small made-up data sets and dictionaries, for tests that need the shapes, not the pictures."""

import nbformat
import torch

from facog_lab import models
from facog_lab.dataset import LongTailed
from facog_lab.dictionary import FeatureDictionary
from facog_lab.rng import seeded

# Of a phase 1 on `long_tailed`, in under a second.
PHASE1 = {
    "architecture": "small",
    "feature_dim": 0,
    "projection_dim": 8,
    "views": 2,
    "augmentation": "crop",
    "epochs": 3,
    "batch_size": 32,
    "lr": 0.05,
    "warmup_epochs": 1,
}


def long_tailed(counts=(40, 20, 9), side=8, channels=1, seed=0):
    """Images whose brightness tells the class, with noise."""
    rng = torch.Generator().manual_seed(seed)
    available, counts = tuple(counts), torch.tensor(counts)
    labels = torch.arange(len(counts)).repeat_interleave(counts)
    test_labels = torch.arange(len(counts)).repeat(12)

    def images(of):
        noise = torch.randint(0, 60, (len(of), channels, side, side), generator=rng)
        return (noise + 60 * of[:, None, None, None]).to(torch.uint8)

    return LongTailed(
        name="tiny",
        class_names=tuple(f"class {c}" for c in range(len(counts))),
        available=available,
        images=images(labels),
        labels=labels,
        index=torch.arange(len(labels)),
        test_images=images(test_labels),
        test_labels=test_labels,
        test_protocols={"full": torch.arange(len(test_labels))},
        mean=(0.4,) * channels,
        std=(0.2,) * channels,
        split_hash="0" * 64,
        fingerprint=f"tiny{seed}",
    )


def dictionary(counts=(40, 20, 9, 3, 1), width=6, seed=0):
    """Features around one point for each class."""
    rng = torch.Generator().manual_seed(seed)
    labels = torch.arange(len(counts)).repeat_interleave(torch.tensor(counts))
    test_labels = torch.arange(len(counts)).repeat(10)
    centres = torch.randn(len(counts), width, generator=rng) * 2
    order = torch.randperm(len(labels), generator=rng)
    features = centres[labels] + torch.randn(len(labels), width, generator=rng)
    return FeatureDictionary.build(
        features=features[order],
        labels=labels[order],
        image_index=order,
        class_names=tuple(f"class {c}" for c in range(len(counts))),
        test_features=centres[test_labels] + torch.randn(len(test_labels), width, generator=rng),
        test_labels=test_labels,
    )


def model(of, projection=4):
    """Untrained heads that fit a dictionary."""
    backbone = torch.nn.Identity()
    backbone.feature_dim = of.feature_dim
    with seeded("tiny"):
        return models.Phase1Model(backbone, of.num_classes, projection)


def heads(of):
    """An untrained projector and classifier that fit a dictionary."""
    made = model(of)
    return made.projector, made.classifier


def notebook(path, *sources, parameters="n: int = 1  # a number"):
    """A notebook with a cell of parameters and some more, written to a path, which is returned."""
    tagged = nbformat.v4.new_code_cell(parameters, metadata={"tags": ["parameters"]})
    made = nbformat.v4.new_notebook(cells=[tagged, *map(nbformat.v4.new_code_cell, sources)])
    made.metadata["kernelspec"] = {"name": "python3", "display_name": "", "language": "python"}
    nbformat.write(made, path)
    return path
