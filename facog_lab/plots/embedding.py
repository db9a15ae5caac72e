"""Features to 2-D: PCA, t-SNE and UMAP fitted on real features, generated ones placed among them.

PCA is linear, so a convex mix lies inside the hull of its parents on the map as it does in feature
space. t-SNE and UMAP bend space: there a mix may land outside its parents' hull, and a map says so
in its badge. Their libraries are imported inside the functions that need them.
"""

from __future__ import annotations

import contextlib
import time
import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any, Literal, NamedTuple, get_args

import numpy as np
from numpy.typing import ArrayLike, NDArray
from pydantic import Field

from facog_lab.config import Config, ConfigError, unknown
from facog_lab.plots import compiled

Method = Literal["pca", "tsne", "umap"]
Floats = NDArray[np.float32]
Placer = Callable[[Floats], ArrayLike]

FEWEST = 5  # points that make a map; below, no neighbourhood can be compared with another
KEPT_DIMENSIONS = 50  # what t-SNE and UMAP see of wider features: their first principal components
# Width of the cells of t-SNE's grid: twice the library's takes two fifths of its time, and the map
# is as trustworthy.
TSNE_GRID = 2
JUDGED = 2000  # points, drawn with the seed, that trustworthiness looks at


class MapConfig(Config):
    """Settings of a map of real and generated features."""

    per_class: int = Field(30, ge=1, le=10_000, description="generated features of each class")
    max_real: int = Field(4000, ge=FEWEST, le=100_000, description="real features on the map")
    perplexity: float = Field(30.0, ge=2, le=1000, description="neighbours a point of t-SNE sees")
    n_neighbors: int = Field(15, ge=2, le=1000, description="neighbours a point of UMAP sees")


@dataclass(frozen=True, eq=False)
class Map:
    """A fitted map of real features.

    Attributes:
        method: "pca", "tsne" or "umap".
        coordinates: (N, 2) float32, the real features on the map.
        exact: whether the map is linear, so that mixes stay inside their parents' hull.
        trustworthiness: in [0, 1], how far neighbours on the map are neighbours in feature space
            (Venna and Kaski 2001), on at most 2,000 points; 1 is without a false neighbour.
        seconds: what the fit took.
        width: D, the width of the features it was fitted on.
    """

    method: Method
    coordinates: Floats
    exact: bool
    trustworthiness: float
    seconds: float
    width: int
    _place: Placer = field(repr=False)

    @property
    def badge(self) -> str:
        """What a reader must know of the map: "exact", or "distorted: trustworthiness 0.93"."""
        return "exact" if self.exact else f"distorted: trustworthiness {self.trustworthiness:.2f}"

    def place(self, features: ArrayLike) -> Floats:
        """Coordinates of new features among the fixed real ones.

        A point's place under PCA and t-SNE depends on itself alone; under UMAP it depends also on
        the points placed in the same call, so place all of a picture at once.

        Args:
            features: (M, D), M may be 0.

        Returns:
            (M, 2) float32.

        Raises:
            ValueError: if D is not that of the real features, or a value is NaN or infinite.
        """
        new = _checked(features)
        if new.shape[1] != self.width:
            raise ValueError(
                f"features to place have {new.shape[1]} dimensions, the map was fitted on "
                f"{self.width}: take both from the same backbone."
            )
        if not len(new):
            return np.empty((0, 2), np.float32)
        with _quiet():
            return np.asarray(self._place(new), np.float32)


def fit_map(
    features: ArrayLike,
    method: Method,
    *,
    seed: int = 0,
    perplexity: float = 30,
    n_neighbors: int = 15,
    report: Callable[[str], None] | None = None,
) -> Map:
    """A map of real features, the same for the same seed on the same machine.

    Args:
        features: (N, D) real features, N at least 5.
        method: "pca" (milliseconds), "tsne" or "umap" (seconds to minutes).
        seed: of the fit and of the points that trustworthiness looks at.
        perplexity: about how many neighbours a point of t-SNE sees; at most (N - 1) / 3 is used.
        n_neighbors: how many a point of UMAP sees; at most N - 1 are used.
        report: told, before it happens, what takes long, and which setting had to be changed.

    Raises:
        ValueError: if the features are not (N, D), too few, all the same, NaN or infinite, or
            the method is unknown.
    """
    real, tell = _checked(features), report or (lambda _: None)
    if method not in get_args(Method):
        raise ConfigError(unknown(method, get_args(Method), "map"))
    if len(real) < FEWEST or real.shape[1] < 2:
        raise ValueError(
            f"{len(real)} features of {real.shape[1]} dimensions: a map takes at least {FEWEST} "
            "features of at least 2 dimensions; show more of them."
        )
    if not np.ptp(real, axis=0).any():
        raise ValueError(
            f"all {len(real)} features are the same, so there is nothing to map: "
            "look at the backbone that made them."
        )
    started = time.perf_counter()
    with _quiet():
        if method == "pca":
            fitted = _pca(real, 2, seed)
        elif method == "tsne":
            fitted = _reduced(real, seed, lambda r: _tsne(r, seed, perplexity, tell))
        else:
            fitted = _reduced(real, seed, lambda r: _umap(r, seed, n_neighbors, tell))
    seconds = time.perf_counter() - started
    coordinates = np.ascontiguousarray(fitted.coordinates, dtype=np.float32)
    trust = _trustworthiness(real, coordinates, seed)
    return Map(method, coordinates, method == "pca", trust, seconds, real.shape[1], fitted.place)


def neighbour_label_agreement(
    real: ArrayLike, real_labels: ArrayLike, generated: ArrayLike, generated_labels: ArrayLike
) -> float:
    """Share of generated features whose nearest real feature (Euclidean) is of their class.

    Args:
        real: (N, D) real features.
        real_labels: (N,) their classes.
        generated: (M, D) generated features.
        generated_labels: (M,) the classes they were generated for.

    Returns:
        A number in [0, 1]; NaN if nothing was generated.
    """
    from sklearn.neighbors import NearestNeighbors

    fakes = _checked(generated)
    if not len(fakes):
        return float("nan")
    index = NearestNeighbors(n_neighbors=1, algorithm="brute").fit(_checked(real))
    nearest = index.kneighbors(fakes, return_distance=False)[:, 0]
    return float((np.asarray(real_labels)[nearest] == np.asarray(generated_labels)).mean())


class _Fitted(NamedTuple):
    coordinates: ArrayLike
    place: Placer


def _pca(real: Floats, dimensions: int, seed: int) -> _Fitted:
    from sklearn.decomposition import PCA

    pca = PCA(dimensions, random_state=seed).fit(real)
    return _Fitted(pca.transform(real), pca.transform)


def _reduced(real: Floats, seed: int, fit: Callable[[Floats], _Fitted]) -> _Fitted:
    """`fit` on the first 50 principal components of wider features."""
    if real.shape[1] <= KEPT_DIMENSIONS:
        return fit(real)
    first = _pca(real, min(KEPT_DIMENSIONS, len(real)), seed)
    second = fit(np.asarray(first.coordinates, np.float32))
    return _Fitted(
        second.coordinates, lambda new: second.place(np.asarray(first.place(new), np.float32))
    )


def _tsne(real: Floats, seed: int, perplexity: float, tell: Callable[[str], None]) -> _Fitted:
    from openTSNE import TSNE

    most = (len(real) - 1) / 3  # each point sees three times as many neighbours
    if perplexity > most:
        tell(f"t-SNE: perplexity {most:.3g} instead of {perplexity:.3g}, for {len(real)} points.")
    # Measured: exact neighbours are faster than approximate ones up to 12,000 points, and a second
    # thread on a busy machine costs tenfold. Barnes-Hut wins below about 3,000 points.
    embedding = TSNE(
        perplexity=min(perplexity, most),
        neighbors="exact",
        negative_gradient_method="bh" if len(real) < 3000 else "fft",
        ints_in_interval=TSNE_GRID,
        random_state=seed,
        n_jobs=1,
    ).fit(real)
    # The library centres the map in place when it first places points; so do it before.
    embedding -= (embedding.max(0) + embedding.min(0)) / 2
    return _Fitted(
        np.array(embedding),
        lambda new: embedding.transform(new, perplexity=min(5, most), k=min(25, len(real))),
    )


def _umap(real: Floats, seed: int, n_neighbors: int, tell: Callable[[str], None]) -> _Fitted:
    most = len(real) - 1
    if n_neighbors > most:
        tell(f"UMAP: n_neighbors {most} instead of {n_neighbors}, for {len(real)} points.")
    neighbours = min(n_neighbors, most)
    with compiled.kept(("umap-learn", "pynndescent")) as is_new:
        if is_new:
            tell("UMAP: compiling, 20 to 60 s, the first time only ...")
        from umap import UMAP

        # Neighbours from here: below 4,096 points the library calls Python for every pair, above
        # it searches by code that cannot be kept, a minute's compiling in every process.
        search = _Neighbours(real)
        distances, indices = search.index.kneighbors(real, neighbours)
        # One job, because a seeded UMAP uses one and warns of any other number.
        umap = UMAP(
            n_neighbors=neighbours,
            random_state=seed,
            n_jobs=1,
            precomputed_knn=(indices, distances),
        ).fit(real)
        umap._knn_search_index = search
        umap.transform(real[:2])  # placing is compiled on its own: now, as announced

    def place(new: Floats) -> ArrayLike:
        with compiled.kept(("umap-learn", "pynndescent")):
            return umap.transform(new)

    return _Fitted(umap.embedding_, place)


class _Neighbours:
    """What UMAP asks of a search for neighbours; here it compares all pairs."""

    _angular_trees = False

    def __init__(self, real: Floats) -> None:
        from sklearn.neighbors import NearestNeighbors

        self.index = NearestNeighbors(algorithm="brute").fit(real)

    def query(self, new: Floats, k: int, epsilon: float) -> tuple[NDArray[Any], NDArray[Any]]:
        """(M, k) rows of the real points and distances; `epsilon` is for approximate searches."""
        distances, indices = self.index.kneighbors(new, k)
        return indices, distances


def _trustworthiness(real: Floats, coordinates: Floats, seed: int) -> float:
    from sklearn.manifold import trustworthiness

    rows = np.random.default_rng(seed).permutation(len(real))[:JUDGED]
    neighbours = min(15, (len(rows) - 1) // 2)
    return float(trustworthiness(real[rows], coordinates[rows], n_neighbors=neighbours))


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Without two remarks on what is no fault: no TensorFlow, and classes that are far apart."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Tensorflow not installed", ImportWarning)
        warnings.filterwarnings("ignore", "Graph is not fully connected", UserWarning)
        warnings.filterwarnings("ignore", "precomputed_knn", UserWarning)  # we give it the search
        yield


def _checked(features: ArrayLike) -> Floats:
    array = np.ascontiguousarray(features, dtype=np.float32)
    if array.ndim != 2:
        raise ValueError(f"features of shape {array.shape}: must be (points, dimensions).")
    if not np.isfinite(array).all():
        row = int(np.flatnonzero(~np.isfinite(array).all(1))[0])
        raise ValueError(
            f"feature {row} holds NaN or infinity: drop it, or look at the loss that made it."
        )
    return array
