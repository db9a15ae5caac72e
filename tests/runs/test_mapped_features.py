"""Features kept as float16, or lying in a mapped file, give what the same ones in memory give.

Every float16 is a float32, so the results are the same numbers, not only similar ones.
"""

import dataclasses

import pytest
import tiny
import torch
from safetensors.torch import save_file

from facog_lab import phase2, registry
from facog_lab.dictionary import FeatureDictionary
from facog_lab.phase2 import Phase2
from facog_lab.plots import embedding
from facog_lab.plots.training_charts import Dashboard
from facog_lab.rivals import heads
from facog_lab.rng import rng_for
from facog_lab.runs import checkpoint, mmap
from facog_lab.settings import Phase2Config
from facog_lab.ui import explorers

ALL = registry.oversamplers
VARIANTS = [
    *({"oversampler": name} for name in ALL),
    {"generator": "attention"},
    {"references": "fixed"},
    {"oversampler": "facog_attention", "references": "fixed"},
]


def in_memory():
    made = tiny.dictionary()
    rounded = {k: v.half().float() for k, v in made.tensors().items() if "features" in k}
    return dataclasses.replace(made, **rounded)


def half():
    kept = in_memory()
    small = {k: v.half() for k, v in kept.tensors().items() if "features" in k}
    return dataclasses.replace(kept, **small)


def in_file(folder, of):
    path = folder / "dictionary.safetensors"
    save_file(of.tensors(), path)
    kept = mmap.read(path)
    return FeatureDictionary.from_tensors(kept.tensors, of.class_names, kept.release)


@pytest.fixture(params=["float16", "mapped"])
def kept(request, tmp_path):
    return half() if request.param == "float16" else in_file(tmp_path, in_memory())


def trained(of, variant):
    loop = Phase2(Phase2Config(batch_size=16, **variant), of, tiny.model(of), "cpu")
    for _ in range(3):
        next(loop)
    return loop


@pytest.mark.parametrize("variant", VARIANTS, ids=str)
def test_every_oversampler(variant, kept):
    loop, expected = trained(kept, variant), trained(in_memory(), variant)
    state = checkpoint.state(expected)
    assert {k: v.shape for k, v in checkpoint.state(loop).items()} == {
        k: v.shape for k, v in state.items()
    }
    for name, value in checkpoint.state(loop).items():
        assert torch.allclose(value, state[name], atol=1e-6), name
    labels = torch.arange(5).repeat(250)  # more than are made at once
    made, wanted = (
        one.oversampler.generate(labels, one.controls, rng_for("cpu", 0, "g"))
        for one in (loop, expected)
    )
    assert made.features.dtype == torch.float32
    assert torch.allclose(made.features, wanted.features, atol=1e-5)


@pytest.mark.parametrize("name", registry.heads)
def test_every_head(name, kept):
    config = heads.head_config(name, epochs=2, batch_size=16)
    for of in (kept, in_memory()):
        head = heads.train_head(config, of, tiny.model(of), "cpu")
        score = phase2.score(head.classifier, of)
        if of is kept:
            found, scored = head, score
    assert found.chosen == head.chosen
    for one, two in zip(found.classifier.parameters(), head.classifier.parameters(), strict=True):
        assert torch.allclose(one, two, atol=1e-6)
    assert scored.acsa == score.acsa


def test_what_looks_at_features(kept):
    of = in_memory()
    for row in (0, 45, 72):
        (rows, far), (wanted, expected) = kept.nearest(row, 5), of.nearest(row, 5)
        assert torch.equal(rows, wanted)
        assert torch.equal(far, expected)
    for label in range(5):
        assert torch.equal(kept.outwards(label), of.outwards(label))
    one, two = (embedding.fit_map(x.features, "pca") for x in (kept, of))
    assert (one.coordinates == two.coordinates).all()


def test_what_draws_features(kept):
    board = Dashboard(trained(kept, {}), phase2.score(tiny.model(kept).classifier, kept))
    other = Dashboard(trained(in_memory(), {}), board.before)
    assert board.figure().to_json() == other.figure().to_json()
    assert board.alarms == other.alarms
    data = tiny.long_tailed((40, 20, 9, 3, 1))
    assert explorers.feature(kept, data, "off") == explorers.feature(in_memory(), data, "off")
