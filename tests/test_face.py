"""What `import facog_lab` gives, and the README's code."""

import ast
import re
import subprocess
import sys

import numpy as np
import pytest
from conftest import ROOT

import facog_lab
from facog_lab import registry


def test_its_names_are_those_of_the_stub_and_few():
    stub = ast.parse((ROOT / "facog_lab" / "__init__.pyi").read_text())
    imports = [line for line in stub.body if isinstance(line, ast.ImportFrom)]
    named = {
        alias.asname: (line.module.removeprefix("facog_lab."), alias.name)
        for line in imports
        for alias in line.names
    }
    assert named == facog_lab._FACE
    assert sorted(facog_lab.__all__) == sorted(named)
    assert len(named) <= 16
    for name in named:
        assert getattr(facog_lab, name).__name__
    with pytest.raises(AttributeError, match="no attribute 'nonsense'"):
        _ = facog_lab.nonsense


def test_nothing_is_imported_before_it_is_used():
    script = "import sys, facog_lab; print([m for m in sys.modules if m.startswith('torch')])"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
    assert done.stdout.strip() == "[]", done.stderr


def test_the_readmes_code_runs(outputs):
    page = (ROOT / "README.md").read_text().split("### From Python")[1].split("\n## ")[0]
    blocks = re.findall(r"```python\n(.*?)```", page, re.S)
    assert len(blocks) == 4
    small = {
        '"fashion_mnist"': '"digits"',
        'phase2={"n_s": 3}': 'phase1={"epochs": 2}, phase2={"n_s": 3, "epochs": 1}',
        'FeatureOversampler("facog", ': 'FeatureOversampler("facog", steps=3, ',
    }
    rng = np.random.default_rng(0)
    labels = np.repeat(["a", "b", "c"], [60, 30, 20])
    names = {
        "images": rng.integers(0, 256, (110, 8, 8), np.uint8),
        "labels": labels,
        "X": rng.normal(size=(110, 4)),
        "y": labels,
    }
    try:
        for block in blocks:
            for text, shorter in small.items():
                block = block.replace(text, shorter)
            exec(block, names)
        assert "mean" in names["lab"].compare(oversamplers=["mean"])
    finally:
        registry.oversamplers._entries.pop("mean", None)
    assert (names["y_balanced"] == "c").sum() == 60
