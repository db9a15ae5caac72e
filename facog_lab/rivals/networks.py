"""Rivals that are trained end to end, beyond those that are only a loss.

What differs from the experiment's own phase 1 is data; it trains for as many epochs as phase 1 and
phase 2 together, since nothing follows but, for some, a head.
"""

from __future__ import annotations

from typing import Any

from facog_lab import registry

_CE = {"objective": "ce"}
_ADD = registry.networks.add
_ADD("tau_norm", label="τ-norm", family="decoupled", about="weights of equal length", phase1=_CE,
     head="tau_norm")  # fmt: skip
_ADD("lws", label="LWS", family="decoupled", about="a factor a class", phase1=_CE, head="lws")
_ADD("crt", label="cRT", family="decoupled", about="a new last layer", phase1=_CE, head="crt")
_ADD("hybrid_sc", label="Hybrid-SC", family="contrastive", about="contrast, then cross-entropy",
     phase1={"objective": "hybrid_sc", "lambda_sc": 1.0}, head=None)  # fmt: skip
_ADD("kcl", label="KCL", family="contrastive", about="K positives, then a linear head",
     phase1={"objective": "kcl", "lambda_sc": 1.0}, head="linear")  # fmt: skip
_ADD("tsc", label="TSC", family="contrastive", about="targets, then a linear head",
     phase1={"objective": "tsc", "lambda_sc": 1.0}, head="linear")  # fmt: skip
_ADD("bcl", label="BCL", family="contrastive", about="balanced contrast and softmax",
     phase1={"objective": "bcl", "lambda_ce": 2.0, "lambda_sc": 0.6}, head=None)  # fmt: skip
# Settings that the papers change for ImageNet-LT.
IMAGENET: dict[str, dict[str, Any]] = {
    "lade": {"lade_lambda": 0.5, "lade_alpha": 0.05},
    "bcl": {"lambda_ce": 1.0, "lambda_sc": 0.35},
}
