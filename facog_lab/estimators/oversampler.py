"""The oversamplers on plain arrays, as an imbalanced-learn sampler: (X, y) in, balanced (X, y) out.

    from facog_lab.estimators.oversampler import FeatureOversampler
    X, y = FeatureOversampler("gamo", random_state=0).fit_resample(X, y)

It needs imbalanced-learn, which nothing else in the lab does.
"""

from __future__ import annotations

import contextlib
import re
from collections.abc import Iterator
from numbers import Integral
from typing import Any, ClassVar

import numpy as np
import torch
from imblearn.over_sampling.base import BaseOverSampler
from numpy.typing import NDArray
from scipy import sparse
from sklearn.utils import check_random_state
from sklearn.utils._param_validation import Interval, StrOptions
from torch import nn

from facog_lab import models, registry
from facog_lab.config import Device, TrainingError
from facog_lab.dictionary import FeatureDictionary
from facog_lab.estimators.columns import Columns
from facog_lab.phase2 import Phase2
from facog_lab.rng import rng_for, seeded
from facog_lab.runs.divergence import Guarded
from facog_lab.runs.memory import NO_MEMORY, OutOfMemoryError
from facog_lab.settings import MAX_N_S, Phase2Config

LR_CLASSIFIER = 0.05  # of a classifier that begins untrained; phase 2 fine-tunes at 0.005
NUMBERS = "biuf"  # the kinds of NumPy's types that can be mixed
NO_NUMBERS = (
    "an oversampler mixes numbers. Encode it as numbers (times as seconds), or leave it out."
)


class FeatureOversampler(BaseOverSampler):
    """Balances plain arrays with any of the lab's oversamplers.

    There is no phase 1 here, so its parts are replaced:

    * f_proj is the identity, so L_asc compares the samples themselves, brought to length 1;
    * f_cls, which GAMO and SAFA learn from, begins untrained and learns in turns with them, from
      generated and real samples, as phase 2 does (labels of generated ones: ∝ 1/N_c);
    * samples take the part of features, each column standardised. For SMOTE, Borderline-SMOTE and
      DOS all columns are divided by one number instead, so that neighbours are those of the data
      as given, as in imbalanced-learn: scale columns that differ before.

    Whatever the type, offset or scale of the data: the given samples come first and stay as they
    are; what is made has their type (integers and booleans rounded, a frame's columns each by its
    own) and lies, column by column, between the smallest and the largest value

    * of its class, for all that mix samples of one class: FACoG, random oversampling, uniform and
      Dirichlet weights, the SMOTEs, DOS, GAMO. A sample that is repeated is repeated exactly;
    * of all samples, for the others: SAFA, TailCalib, lent spread and FACoG-attention add to one,
      cGAN makes it from noise: they leave the convex hull of a class; what falls outside the data's
      range is set to its border.

    Args:
        oversampler: a registered name.
        n_s: how many samples are mixed into one, for FACoG, its nulls and FACoG-attention.
        references: "fresh" or "fixed", see `phase2.Phase2Config`; for the same ones.
        steps: training steps of those that learn.
        sampling_strategy: as for every sampler of imbalanced-learn.
        random_state: a number or a numpy.random.RandomState; None for a new one each time.
        device: "auto" (CUDA where there is one), "cpu" or "cuda".

    Attributes:
        sampling_strategy_: how many samples were made, by class.
        n_features_in_: columns of X.

    Raises:
        ValueError: for data that are not numbers, such as categories or times.
        TrainingError: if a loss becomes NaN or infinite.
        OutOfMemoryError: if the samples are too many or too wide.

    Example:
        >>> X, y = np.random.default_rng(0).normal(size=(12, 2)), [0] * 9 + [1] * 3
        >>> X, y = FeatureOversampler("smote", random_state=0).fit_resample(X, y)
        >>> X.shape, np.bincount(y).tolist()
        ((18, 2), [9, 9])
    """

    _parameter_constraints: ClassVar[dict[str, Any]] = {
        **BaseOverSampler._parameter_constraints,
        "oversampler": [StrOptions(set(registry.oversamplers))],
        "n_s": [Interval(Integral, 1, MAX_N_S, closed="both")],
        "references": [StrOptions({"fresh", "fixed"})],
        "steps": [Interval(Integral, 1, None, closed="left")],
        "device": [StrOptions({"auto", "cpu", "cuda"})],
    }

    def __init__(
        self,
        oversampler: str = "facog",
        *,
        n_s: int = 5,
        references: str = "fresh",
        steps: int = 1000,
        sampling_strategy: Any = "auto",
        random_state: Any = None,
        device: Device = "auto",
    ) -> None:
        super().__init__(sampling_strategy=sampling_strategy)
        self.oversampler = oversampler
        self.n_s, self.references, self.steps = n_s, references, steps
        self.random_state, self.device = random_state, device

    def _check_X_y(
        self, X: Any, y: Any, accept_sparse: Any = None
    ) -> tuple[Any, NDArray[Any], bool]:
        for name, dtype in zip(X.columns, X.dtypes, strict=True) if hasattr(X, "iloc") else ():
            if dtype.kind not in NUMBERS:
                raise ValueError(f"column {name!r} of X holds {dtype}: {NO_NUMBERS}")
        checked, y, binarize_y = super()._check_X_y(X, y, accept_sparse)
        if checked.dtype.kind not in NUMBERS:
            raise ValueError(f"X holds {checked.dtype}: {NO_NUMBERS}")
        self._whole = np.zeros(checked.shape[1], dtype=bool)
        if hasattr(X, "iloc"):  # a frame, whose columns met in one type
            self._whole[:] = [dtype.kind in "biu" for dtype in X.dtypes]
            whole = checked[:, self._whole]
            if checked.dtype.kind == "f" and self._whole.any() and abs(whole).max() > 2**53:
                raise ValueError(
                    "X has whole numbers above 2^53, and its columns meet as real numbers of 64 "
                    "bits, which do not hold them: count them from their smallest, or in larger "
                    "units."
                )
        return checked, y, binarize_y

    def _fit_resample(self, X: Any, y: NDArray[Any], **_: Any) -> tuple[Any, NDArray[Any]]:
        seed = int(check_random_state(self.random_state).randint(2**31 - 1))
        dense = X.toarray() if sparse.issparse(X) else X
        classes, labels = np.unique(y, return_inverse=True)
        position = {c: i for i, c in enumerate(classes)}
        wanted = np.repeat(
            [position[c] for c in self.sampling_strategy_],
            list(self.sampling_strategy_.values()),
        ).astype(np.int64)
        made = self._made(dense, labels, wanted, seed) if len(wanted) else dense[:0]
        joined = np.concatenate([dense, made])
        balanced = type(X)(joined) if sparse.issparse(X) else joined
        return balanced, np.concatenate([y, classes[wanted].astype(y.dtype)])

    def _made(
        self,
        rows: NDArray[Any],
        labels: NDArray[np.int64],
        wanted: NDArray[np.int64],
        seed: int,
    ) -> NDArray[Any]:
        """(B, D) rows of (B,) wanted classes, from (N, D) rows of (N,) classes."""
        # Neighbours hang on distances: columns keep their sizes, as in imbalanced-learn.
        by_distance = registry.oversamplers[self.oversampler].facts.get("by_distance", False)
        columns = Columns(rows, labels, self._whole, by_distance)
        made = []
        with self._own_words(columns):
            loop = self._loop(columns.features, labels, seed)
            row_of = loop.dictionary.image_index.cpu().numpy()
            rng = rng_for(loop.device, seed, "sampler")
            # In parts, since an oversampler holds (B, n, D) numbers or (B, R).
            for part in torch.as_tensor(wanted, device=loop.device).split(500):
                with torch.no_grad():
                    mixed = loop.oversampler.generate(part, loop.controls, rng)
                made.append(columns.back(mixed, row_of, part.cpu().numpy()))
        return np.concatenate(made)

    def _loop(self, values: NDArray[np.float32], labels: NDArray[np.int64], seed: int) -> Phase2:
        """Phase 2 on the samples, after its steps; phase 1 is replaced as described above."""
        features, owner = torch.as_tensor(values), torch.as_tensor(labels)
        dictionary = FeatureDictionary.build(
            features=features,
            labels=owner,
            image_index=torch.arange(len(owner)),
            class_names=tuple(map(str, range(labels.max() + 1))),
            test_features=features,  # phase 2 scores its classifier, which is of no use here
            test_labels=owner,
        )
        backbone: Any = nn.Identity()
        backbone.feature_dim = dictionary.feature_dim
        with seeded(seed, "sampler", "classifier"):
            model = models.Phase1Model(backbone, dictionary.num_classes, 1)
        model.projector = nn.Identity()  # type: ignore[assignment]
        settings: dict[str, Any] = {
            name: getattr(self, name) for name in ("oversampler", "n_s", "references")
        }
        settings |= {"label_selection": "inverse", "lr_classifier": LR_CLASSIFIER, "seed": seed}
        loop = Phase2(Phase2Config(**settings), dictionary, model, self.device)
        loop.total_steps = self.steps
        if loop.oversampler.parts:  # nothing to train where nothing is kept
            for _ in Guarded(loop):
                pass
        return loop

    @contextlib.contextmanager
    def _own_words(self, columns: Columns) -> Iterator[None]:
        """Reports errors inside in terms of what a user of the sampler can change."""
        rows, width = columns.features.shape
        asked = f"oversampler = {self.oversampler!r} on {rows:,} rows of {width:,} columns"
        try:
            yield
        except TrainingError:
            far = np.abs(columns.features).max(0)
            raise TrainingError(
                f"{asked}: a loss became NaN or infinite within steps = {self.steps:,}. Column "
                f"{far.argmax()} reaches {far.max():.3g} standard deviations from its mean: look "
                "there for outliers, set steps lower, or choose an oversampler that learns "
                "nothing, such as 'smote'."
            ) from None
        except (RuntimeError, MemoryError) as error:
            memory = isinstance(error, (OutOfMemoryError, MemoryError))
            if not memory and not re.search(NO_MEMORY, str(error)):
                raise
            raise OutOfMemoryError(
                f"{asked}: out of memory. Give it fewer rows or columns, or choose an oversampler "
                "that needs less, such as 'smote'."
            ) from None
