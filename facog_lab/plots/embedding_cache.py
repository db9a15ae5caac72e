"""Maps of features that were fitted before: their coordinates are kept beside the runs."""

from __future__ import annotations

import functools
import hashlib
from collections.abc import Callable, Sequence
from importlib.metadata import version
from typing import Any

import numpy as np
import torch
from numpy.typing import ArrayLike

from facog_lab.config import digest
from facog_lab.plots import embedding
from facog_lab.plots.embedding import Floats, Map, MapConfig, Method
from facog_lab.runs.environment import environment
from facog_lab.runs.store import Run, warn

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

    def whole() -> tuple[Floats, dict[str, Any]]:
        new = fitted()
        return new.coordinates, {"trustworthiness": new.trustworthiness, "seconds": new.seconds}

    coordinates, facts = _kept(run, len(real), whole, ("trustworthiness", "seconds"))

    def place(new: Floats) -> ArrayLike:
        placement = Run("maps", f"{method}-placed", settings, digest(run.key, _hash(new)))
        return _kept(placement, len(new), lambda: (fitted().place(new), {}))[0]

    return Map(
        method,
        coordinates,
        exact=False,
        trustworthiness=facts["trustworthiness"],
        seconds=facts["seconds"],
        width=real.shape[1],
        _place=place,
    )


def _kept(
    run: Run,
    rows: int,
    make: Callable[[], tuple[Floats, dict[str, Any]]],
    facts: Sequence[str] = (),
) -> tuple[Floats, dict[str, Any]]:
    """Coordinates and facts of a map: what was kept, if it can be, or else what is made now.

    Args:
        run: where they are kept.
        rows: how many coordinates there are.
        make: makes them; in one process, the others wait for it.
        facts: numbers that are kept with them.
    """

    def found() -> tuple[Floats, dict[str, Any]] | None:
        if (saved := run.load_or_warn()) is None:
            return None
        coordinates = saved.tensors.get("coordinates", torch.empty(0))
        fits = coordinates.shape == (rows, 2) and coordinates.dtype == torch.float32
        if fits and all(isinstance(saved.record.get(name), int | float) for name in facts):
            return coordinates.numpy(), saved.record
        warn(f"{run.folder} holds no map of these features. It is made again.")
        return None

    if (known := found()) is not None:
        return known
    with run.making():
        if (known := found()) is not None:  # another notebook has made it meanwhile
            return known
        coordinates, record = make()
        run.save({"coordinates": torch.from_numpy(coordinates)}, {}, record, done=True)
    return coordinates, record


def _hash(features: Floats) -> str:
    return hashlib.sha256(repr(features.shape).encode() + features.tobytes()).hexdigest()
