"""The oversamplers on plain arrays, as an imbalanced-learn sampler: (X, y) in, balanced (X, y) out.

    from facog_lab.sampler import FeatureOversampler
    X, y = FeatureOversampler("gamo", random_state=0).fit_resample(X, y)

It needs imbalanced-learn, which nothing else in the lab does.
"""

from __future__ import annotations

import math
from numbers import Integral
from typing import Any, ClassVar, get_args

import numpy as np
import torch
from imblearn.over_sampling.base import BaseOverSampler
from numpy.typing import NDArray
from scipy import sparse
from sklearn.utils import check_random_state
from sklearn.utils._param_validation import Interval, StrOptions
from torch import Tensor, nn

from facog_lab import draws, models
from facog_lab.config import Device
from facog_lab.controls import MAX_N_S, OversamplerName
from facog_lab.dictionary import FeatureDictionary
from facog_lab.phase2 import Phase2, Phase2Config

LR_CLASSIFIER = 0.05  # of a classifier that begins untrained; phase 2 fine-tunes at 0.005


class FeatureOversampler(BaseOverSampler):
    """Balances plain arrays with any of the lab's oversamplers.

    What the lab has from phase 1 does not exist here, so that something stands in:

    * f_proj is the identity, so L_asc compares the samples themselves, brought to length 1;
    * f_cls, which GAMO and SAFA learn from, begins untrained and learns in turns with them, from
      generated and real samples, as phase 2 does (labels of generated ones: ∝ 1/N_c);
    * samples take the part of features. They are divided by one number, their root mean square
      deviation, after their mean was taken off unless all are 0 or above: one number for all
      columns, so that neighbours stay neighbours. Scale columns that differ before.

    Args:
        oversampler: one of `controls.OversamplerName`.
        n_s: how many samples are mixed into one, for FACoG, its nulls and FACoG-attention.
        references: "fresh" or "fixed", see `phase2.Phase2Config`; for the same ones.
        steps: training steps of those that learn.
        sampling_strategy: as for every sampler of imbalanced-learn.
        random_state: a number or a numpy.random.RandomState; None for a new one each time.
        device: "auto" (CUDA where there is one), "cpu" or "cuda".

    Attributes:
        sampling_strategy_: how many samples were made, by class.
        n_features_in_: columns of X.

    Example:
        >>> X, y = np.random.default_rng(0).normal(size=(12, 2)), [0] * 9 + [1] * 3
        >>> X, y = FeatureOversampler("smote", random_state=0).fit_resample(X, y)
        >>> X.shape, np.bincount(y).tolist()
        ((18, 2), [9, 9])
    """

    _parameter_constraints: ClassVar[dict[str, Any]] = {
        **BaseOverSampler._parameter_constraints,
        "oversampler": [StrOptions(set(get_args(OversamplerName)))],
        "n_s": [Interval(Integral, 1, MAX_N_S, closed="both")],
        "references": [StrOptions({"fresh", "fixed"})],
        "steps": [Interval(Integral, 1, None, closed="left")],
        "device": [StrOptions({"auto", "cpu", "cuda"})],
    }

    def __init__(
        self,
        oversampler: OversamplerName = "facog",
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

    def _fit_resample(self, X: Any, y: NDArray[Any], **_: Any) -> tuple[Any, NDArray[Any]]:
        seed = int(check_random_state(self.random_state).randint(2**31 - 1))
        dense = X.toarray() if sparse.issparse(X) else X
        classes, labels = np.unique(y, return_inverse=True)
        values = dense.astype(np.float64)
        shift = np.zeros(values.shape[1]) if values.min() >= 0 else values.mean(0)
        scale = math.sqrt(values.var(0).mean()) or 1.0
        loop = self._loop((values - shift) / scale, labels, classes, seed)
        position = {c: i for i, c in enumerate(classes)}
        wanted = np.repeat(
            [position[c] for c in self.sampling_strategy_],
            list(self.sampling_strategy_.values()),
        ).astype(np.int64)
        rng = draws.generator(loop.device, seed, "sampler")
        with torch.no_grad():
            # In parts, since an oversampler holds (B, n, D) numbers or (B, R).
            made = torch.cat(
                [
                    loop.oversampler.generate(part, loop.controls, rng).features
                    for part in torch.as_tensor(wanted, device=loop.device).split(500)
                ]
            )
        new = (made.double().cpu().numpy() * scale + shift).astype(dense.dtype)
        joined = np.concatenate([dense, new])
        balanced = type(X)(joined) if sparse.issparse(X) else joined
        return balanced, np.concatenate([y, classes[wanted].astype(y.dtype)])

    def _loop(
        self, values: NDArray[Any], labels: NDArray[Any], classes: NDArray[Any], seed: int
    ) -> Phase2:
        """Phase 2 on the samples, with what stands in for phase 1, after its steps."""
        features = torch.as_tensor(values, dtype=torch.float32)
        owner: Tensor = torch.as_tensor(labels)
        dictionary = FeatureDictionary.build(
            features=features,
            labels=owner,
            images=torch.arange(len(owner)),
            class_names=tuple(map(str, classes)),
            test_features=features,  # phase 2 scores its classifier, which is of no use here
            test_labels=owner,
        )
        backbone: Any = nn.Identity()
        backbone.feature_dim = dictionary.feature_dim
        with draws.seeded(seed, "sampler", "classifier"):
            model = models.Phase1Model(backbone, len(classes), 1)
        model.projector = nn.Identity()  # type: ignore[assignment]
        settings: dict[str, Any] = {
            name: getattr(self, name) for name in ("oversampler", "n_s", "references")
        }
        settings |= {"label_selection": "inverse", "lr_classifier": LR_CLASSIFIER, "seed": seed}
        loop = Phase2(Phase2Config(**settings), dictionary, model, self.device)
        loop.total_steps = self.steps
        if loop.oversampler.state():  # nothing to train where nothing is kept
            for _ in loop:
                pass
        return loop
