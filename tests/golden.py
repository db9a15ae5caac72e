"""Golden numbers of the original implementations, where they lie beside the checkout."""

import json
import math

import pytest
import torch
from conftest import ROOT

FOLDER = ROOT.parent / "shared" / "golden"


def cases(topic, check=None):
    """The judged cases of a topic as pytest parameters; one that skips where there are none."""
    path = FOLDER / f"{topic}.json"
    if not path.exists():
        skip = pytest.mark.skip(reason=f"golden numbers are not there: {path}")
        return [pytest.param(None, marks=skip, id=topic)]
    found = json.loads(path.read_text())["cases"]
    wanted = [c for c in found if c["judged"] and check in (None, c["check"])]
    return [pytest.param(case, id=case["id"]) for case in wanted]


def tensor(values):
    """Nested lists as float64; labels and counts stay whole numbers."""
    made = torch.tensor(values)
    return made.double() if made.is_floating_point() else made


def assert_fits(case, found):
    """Every number of every expected value, within the case's tolerance."""
    for name, expected in case["expected"].items():
        ours, wanted = torch.as_tensor(found[name]).double(), torch.as_tensor(expected).double()
        assert ours.shape == wanted.shape, name
        limit = case["tolerance"]["abs"] + case["tolerance"]["rel"] * wanted.abs()
        worst = ((ours - wanted).abs() - limit).max().item() if wanted.numel() else -math.inf
        assert worst <= 0, f"{case['id']}: {name} is off by {worst:.3g} more than is allowed"
