"""The ceiling: what real images would bring in the place of generated ones.

A long tail leaves images out. Put back, as features of the frozen backbone, they are what the best
possible generator would make. What comes of them is told by `ladder`.
"""

from __future__ import annotations

from typing import Literal

import torch
from pydantic import Field

from facog_lab import registry
from facog_lab.config import Config, digest
from facog_lab.dictionary import FeatureDictionary
from facog_lab.registry import choice
from facog_lab.rng import rng_for
from facog_lab.runs.left_out import LeftOut
from facog_lab.runs.stages import Source

METHOD = "real_images"
FOOT = "balanced_softmax"  # the head that is trained on every rung, and on the long tail itself
Images = Literal["10", "20", "50", "100", "all", "10 more", "unseen"]
RUNGS: tuple[Images, ...] = ("10", "20", "50", "100", "all")


class CeilingConfig(Config):
    """A rung: which real images are put back, and the head that is trained on all."""

    images: Images = Field(
        "all",
        description="a number: every class is filled up to it; all: every image; 10 more: ten of "
        "each class; unseen: as many as the long tail has, of images the backbone has not seen",
    )
    head: choice(registry.heads) = Field(FOOT, description="what is trained")  # type: ignore[valid-type]


def refilled(given: Source, more: LeftOut, images: Images, seed: int = 0) -> Source:
    """What phase 2 starts from, with real images that the long tail left out.

    A larger rung holds all images of a smaller one of the same seed. Where a class has fewer left
    out than are wanted, it gets them all; under "unseen" the rest are images that were seen.

    Args:
        given: features of the long tail.
        more: those of the images left out.
        images: see `CeilingConfig`.
        seed: draws the images of each class.

    Returns:
        The same test features and networks, and a key of its own.
    """
    of = given.features
    rows, extra = [], []
    for label, count in enumerate(of.class_counts.tolist()):
        own = torch.arange(int(of.starts[label]), int(of.starts[label + 1]))
        others = (more.labels == label).nonzero()[:, 0]
        rng = rng_for("cpu", seed, "left out", label)
        others = others[torch.randperm(len(others), generator=rng)]
        if images == "unseen":
            others = others[:count]
            own = own[torch.randperm(len(own), generator=rng)[: count - len(others)]]
        elif images == "10 more":
            others = others[:10]
        elif images != "all":
            others = others[: max(0, int(images) - count)]
        rows.append(own)
        extra.append(others)
    kept, added = torch.cat(rows), torch.cat(extra)
    first_new = int(of.image_index.max()) + 1
    features = FeatureDictionary.build(
        torch.cat([of.features[kept].float(), more.features[added]]),
        torch.cat([of.labels[kept], more.labels[added]]),
        torch.cat([of.image_index[kept], first_new + torch.arange(len(added))]),
        of.class_names,
        of.test_features,
        of.test_labels,
    )
    return given._replace(features=features, key=key(given.key, images, seed))


def key(upstream: str, images: Images, seed: int) -> str:
    """The key of a refilled dictionary, from that of the one of the long tail."""
    return digest(upstream, METHOD, images, seed)[:12]


def facts(given: Source, filled: Source) -> dict[str, int]:
    """What a result says of a rung: images of the smallest class before and after, images added."""
    before, after = given.features.class_counts, filled.features.class_counts
    return {
        "smallest_before": int(before.min()),
        "smallest": int(after.min()),
        "added": int(after.sum() - before.sum()),
    }


def variant(images: str, head: str = FOOT) -> str:
    """What a row of a rung has as its variant."""
    return f"images={images}" + (f", head={head}" if head != FOOT else "")
