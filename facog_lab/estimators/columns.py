"""Columns of plain data as the features that an oversampler takes, and what it makes, as columns.

An oversampler knows float32 features of about unit size; data are any numbers. So what is mixed
from real rows is mixed again here, in float64, from the rows themselves.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from facog_lab.generator import Mix

BELOW_2_64 = 2.0**64 - 2.0**11  # the largest float64 that a whole number of 64 bits can be


class Columns:
    """N rows of D columns, as features and back.

    Args:
        rows: (N, D), booleans, integers of any width or real numbers, all finite.
        labels: (N,) int64, the class of each row, from 0, none left out.
        whole: (D,) bool, which columns of real numbers hold whole numbers alone.
        one_scale: divide all columns by one number, so that neighbours stay neighbours; each by
            its own otherwise.

    Attributes:
        features: (N, D) float32: each column minus its mean, divided by its standard deviation, or
            by the root mean square of all of these. A constant column is 0.
    """

    def __init__(
        self,
        rows: NDArray[Any],
        labels: NDArray[np.int64],
        whole: NDArray[np.bool_],
        one_scale: bool,
    ) -> None:
        self.rows, self.whole = rows, whole | (rows.dtype.kind in "biu")
        counted = rows
        if rows.dtype.kind in "iu":
            # Counted from the smallest, which float64 holds however large they are; uint64 wraps
            # around, so that the difference of any two 64-bit integers is right.
            self.first = rows.min(0).astype(np.uint64)
            counted = rows.astype(np.uint64) - self.first
        of_class = [counted[labels == label] for label in range(labels.max() + 1)]
        self.least = np.stack([own.min(0) for own in of_class])  # (C, D)
        self.most = np.stack([own.max(0) for own in of_class])
        self.values = counted.astype(np.result_type(rows, np.float64))  # (N, D)
        # Shares of a column's range, 0 to 1, before anything is squared or added up: then no number
        # is too large or too small. A power of two changes no digit.
        self.power = np.frexp(np.abs(self.values).max(0))[1]
        small = np.ldexp(self.values, -self.power)
        self.low, self.width = small.min(0), np.ptp(small, axis=0)
        varies = self.width > 0
        share = (small - self.low) / np.where(varies, self.width, 1)
        self.mean, self.unit = share.mean(0), np.where(varies, share.std(0), 1)
        with np.errstate(divide="ignore"):
            if one_scale and varies.any():
                size = np.log2(self.width) + self.power  # of the range; -inf for a constant column
                relative = np.exp2(size - size.max())
                self.unit = np.sqrt(((share.std(0) * relative) ** 2).mean()) / relative
            self.features = ((share - self.mean) / self.unit).astype(np.float32)

    def back(self, made: Mix, row_of: NDArray[np.int64], labels: NDArray[np.int64]) -> NDArray[Any]:
        """What an oversampler made of the features, as rows of the data's own units and type.

        A copy of a row is that row. A mix of rows lies, column by column, in the range of its
        class; anything else is brought into that of all rows. Whole numbers are rounded.

        Args:
            made: B features, and what is known of where they came from.
            row_of: (N,) int64, the row that each row of the dictionary came from.
            labels: (B,) int64, the classes that they were made for.

        Returns:
            (B, D), of the type of `rows`.
        """
        everything = self.least.min(0), self.most.max(0)
        with np.errstate(over="ignore"):  # past float64's largest number, and brought back below
            if made.rows is None or made.weights is None:
                share = self.mean + made.features.double().cpu().numpy() * self.unit
                values = np.ldexp(self.low + share * self.width, self.power)
                return self._typed(values, *everything)
            parents, weights = row_of[made.rows.cpu().numpy()], made.weights.double().cpu().numpy()
            values = self._mixed(parents, weights / weights.sum(1, keepdims=True))
            if made.added is not None:
                moved = made.added.double().cpu().numpy() * self.unit * self.width
                return self._typed(values + np.ldexp(moved, self.power), *everything)
        rows = self._typed(values, self.least[labels], self.most[labels])
        copied = weights.max(1) == 1
        rows[copied] = self.rows[parents[copied, weights[copied].argmax(1)]]
        return rows

    def _mixed(self, parents: NDArray[np.int64], weights: NDArray[np.float64]) -> NDArray[Any]:
        """Σ w x of (B, n) rows and weights, (B, D); (B, n, D) is not laid out."""
        ends = np.arange(len(parents) + 1) * parents.shape[1]
        shape = (len(parents), len(self.values))
        of_row = sparse.csr_array((weights.ravel(), parents.ravel(), ends), shape=shape)
        return of_row @ self.values

    def _typed(self, values: NDArray[Any], least: NDArray[Any], most: NDArray[Any]) -> NDArray[Any]:
        """Values, brought between the least and the most, in the type that the rows have."""
        values = np.where(self.whole, np.rint(values), values).clip(least, most)
        kind = self.rows.dtype
        if kind.kind not in "iu":
            return values.astype(kind)
        # Not every whole number of 64 bits is a float64, so the bounds are seen to once more.
        counted = np.minimum(values, BELOW_2_64).astype(np.uint64).clip(least, most)
        return (counted + self.first).astype(kind)
