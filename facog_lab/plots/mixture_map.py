"""Where generated features lie, and which real ones each was mixed from."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from torch import Tensor

from facog_lab.data.decode import ImageFiles
from facog_lab.dictionary import FeatureDictionary
from facog_lab.generator import Mix
from facog_lab.plots import theme
from facog_lab.plots.embedding import Map
from facog_lab.settings import MAX_N_S


class Parents(NamedTuple):
    """The real features that a generated one was mixed from, the largest weight first.

    Attributes:
        rows: (n,) int64, of the dictionary; at most MAX_N_S, none if nothing was mixed.
        weights: (n,) float32, w.
    """

    rows: NDArray[np.int64]
    weights: NDArray[np.float32]


@dataclass(frozen=True, eq=False)
class MixtureMap:
    """Real and generated features on the same maps.

    A point is a number: first the real features that were kept, then the generated ones.

    Attributes:
        dictionary: all real features.
        images: (I, C, H, W) uint8, what `dictionary.images` counts.
        maps: fitted on the kept features, by title.
        kept: (K,) int64, the rows of the dictionary that are on the maps.
        mixed: the M generated features.
        labels: (M,) int64, the classes they were generated for.
        gained: (C,) recall after phase 2 minus recall after phase 1.
    """

    dictionary: FeatureDictionary
    images: Tensor | ImageFiles
    maps: Mapping[str, Map]
    kept: Tensor
    mixed: Mix
    labels: Tensor
    gained: ArrayLike

    def __post_init__(self) -> None:
        for title, fitted in self.maps.items():
            if len(fitted.coordinates) != len(self.kept):
                raise ValueError(
                    f"map {title!r} has {len(fitted.coordinates)} points, but {len(self.kept)} "
                    "features were kept: fit it on dictionary.features[kept]."
                )

    @cached_property
    def places(self) -> dict[str, NDArray[np.float32]]:
        """(K + M, 2) coordinates of all points, by map."""
        made = self.mixed.features.cpu()
        return {t: np.concatenate([m.coordinates, m.place(made)]) for t, m in self.maps.items()}

    @cached_property
    def owner(self) -> NDArray[np.int64]:
        """(K + M,) the classes of all points."""
        return torch.cat([self.dictionary.labels[self.kept], self.labels.cpu()]).numpy()

    @cached_property
    def generated(self) -> NDArray[np.bool_]:
        """(K + M,) which points are generated."""
        return np.arange(len(self.owner)) >= len(self.kept)

    @cached_property
    def _point_of(self) -> NDArray[np.int64]:
        """(R,) the point of each row of the dictionary, -1 for those that were not kept."""
        point = np.full(len(self.dictionary.labels), -1)
        point[self.kept.numpy()] = np.arange(len(self.kept))
        return point

    def parents(self, point: int) -> Parents:
        """What a generated point was mixed from."""
        i = point - len(self.kept)
        if self.mixed.rows is None or self.mixed.weights is None:
            return Parents(np.empty(0, np.int64), np.empty(0, np.float32))
        rows, weights = self.mixed.rows[i].cpu().numpy(), self.mixed.weights[i].cpu().numpy()
        order = np.argsort(-weights, kind="stable")[:MAX_N_S]
        return Parents(rows[order], weights[order])

    @property
    def mixture(self) -> str:
        """What a generated feature is, in words."""
        if self.mixed.rows is None:
            return "not mixed from real features"
        n = self.mixed.rows.shape[1]
        few = f"mixed from n_s = {n}" if n <= MAX_N_S else f"mixed from {n:,}, {MAX_N_S} shown"
        return few if self.mixed.added is None else f"{few}, then moved"

    def places_of(self, rows: NDArray[np.int64], title: str) -> NDArray[np.float32]:
        """(n, 2) places of rows of the dictionary; NaN where a bent map does not have one."""
        fitted = self.maps[title]
        if fitted.exact:
            return fitted.place(self.dictionary.features[rows])
        point = self._point_of[rows]
        return np.where(point[:, None] < 0, np.nan, fitted.coordinates[point])

    def pictures(self, rows: NDArray[np.int64]) -> list[str]:
        """The training images of rows of the dictionary, as data URIs."""
        return theme.thumbnails(np.asarray(self.images[self.dictionary.image_index[rows]]))
