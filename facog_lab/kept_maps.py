"""Maps of features that were fitted before: their coordinates are kept beside the runs."""

from __future__ import annotations

import functools
import hashlib
from collections.abc import Callable
from importlib.metadata import version
from typing import Any

import numpy as np
import torch
from numpy.typing import ArrayLike

from facog_lab import embedding
from facog_lab.config import digest
from facog_lab.embedding import Floats, Map, MapConfig, Method
from facog_lab.machine import environment
from facog_lab.store import Run

PACKAGES = {"tsne": "openTSNE", "umap": "umap-learn"}


def fit_map(
    features: ArrayLike,
    method: Method,
    settings: MapConfig,
    *,
    seed: int = 0,
    report: Callable[[str], None] | None = None,
) -> Map:
    """`embedding.fit_map`, or what it gave when these features were mapped before.

    The key of a map is a hash of the features, the settings, the seed, the library's version and
    the machine. Coordinates of placed features are kept alike. To place others on a map that was
    kept, it is fitted again, which gives the same one.

    Args:
        features: (N, D) real features.
        method: "pca" is never kept, since it takes no longer than reading.
        settings: perplexity and n_neighbors are used.
        seed: of the fit.
        report: as in `embedding.fit_map`.
    """
    real = np.ascontiguousarray(features, dtype=np.float32)

    @functools.cache
    def fitted() -> Map:
        return embedding.fit_map(
            real,
            method,
            seed=seed,
            perplexity=settings.perplexity,
            n_neighbors=settings.n_neighbors,
            report=report,
        )

    if method not in PACKAGES:
        return fitted()
    machine = environment()
    made_by = [version(PACKAGES[method]), machine["processor"], machine["threads"]]
    made_by += [embedding.TSNE_GRID] if method == "tsne" else []
    # What the settings say of other things than the fit is no part of the key.
    settings = settings.replace(per_class=1, max_real=embedding.FEWEST)
    run = Run("maps", method, settings, digest(seed, made_by, _hash(real)))
    if (saved := run.load()) is None:
        new = fitted()
        facts: dict[str, Any] = {"trustworthiness": new.trustworthiness, "seconds": new.seconds}
        run.save({"coordinates": torch.from_numpy(new.coordinates)}, {}, facts, done=True)
        coordinates = new.coordinates
    else:
        facts, coordinates = saved.record, saved.tensors["coordinates"].numpy()

    def place(new: Floats) -> ArrayLike:
        placement = Run("maps", f"{method}-placed", settings, digest(run.key, _hash(new)))
        if (known := placement.load()) is not None:
            return known.tensors["coordinates"].numpy()
        placed = fitted().place(new)
        placement.save({"coordinates": torch.from_numpy(placed)}, {}, {}, done=True)
        return placed

    return Map(
        method,
        coordinates,
        exact=False,
        trustworthiness=facts["trustworthiness"],
        seconds=facts["seconds"],
        width=real.shape[1],
        _place=place,
    )


def _hash(features: Floats) -> str:
    return hashlib.sha256(repr(features.shape).encode() + features.tobytes()).hexdigest()
