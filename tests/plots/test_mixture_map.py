"""Figures and panels cope with what every oversampler knows of its features, and no more."""

import numpy as np
import pytest
import tiny
import torch

from facog_lab import registry
from facog_lab.names import label
from facog_lab.phase2 import Phase2
from facog_lab.plots import embedding, theme
from facog_lab.plots.mixture_map import MixtureMap
from facog_lab.plots.training_charts import Dashboard
from facog_lab.rng import rng_for
from facog_lab.settings import MAX_N_S, Phase2Config
from facog_lab.ui import embedding_explorer

COUNTS = (40, 20, 9, 3, 1)
NOTHING_MIXED = ("cgan", "imagined")
NAMES = registry.oversamplers


def loop(name):
    dictionary = tiny.dictionary(COUNTS)
    config = Phase2Config(oversampler=name, epochs=1, batch_size=16)
    made = Phase2(config, dictionary, tiny.model(dictionary), "cpu")
    for _ in range(2):
        next(made)
    return made


def world(name):
    made = loop(name)
    dictionary, labels = made.dictionary, torch.arange(5).repeat_interleave(2)
    with torch.no_grad():
        mixed = made.oversampler.generate(labels, made.controls, rng_for("cpu", "world"))
    return MixtureMap(
        dictionary=dictionary,
        images=tiny.long_tailed(COUNTS).images,
        maps={
            "PCA": embedding.fit_map(dictionary.features, "pca", seed=0),
            "again": embedding.fit_map(dictionary.features, "pca", seed=0),
        },
        kept=torch.arange(len(dictionary.labels)),
        mixed=mixed,
        labels=labels,
        gained=np.zeros(5),
    )


@pytest.mark.parametrize("name", NAMES)
def test_the_dashboard_ties_what_was_mixed(name):
    board = Dashboard(made := loop(name), made.scores)
    figure = board.figure()
    ties = np.asarray(next(t for t in figure.data if t.meta == "parents").x)
    at_most = 3 * MAX_N_S * 3  # three rarest classes; a line is two ends and a gap
    assert len(ties) == 0 if name in NOTHING_MIXED else 0 < len(ties) <= at_most


@pytest.mark.parametrize("name", NAMES)
def test_parents_as_far_as_they_are_known(name):
    made = world(name)
    first = int(np.flatnonzero(made.generated)[0])
    rows, weights = made.parents(first)
    assert len(rows) == len(weights) <= MAX_N_S
    assert (np.diff(weights) <= 0).all()
    assert (len(rows) == 0) is (name in NOTHING_MIXED)
    words = {
        **dict.fromkeys(NOTHING_MIXED, "not mixed from real features"),
        "gamo": f"mixed from 40, {MAX_N_S} shown",
        "safa": "mixed from n_s = 1, then moved",
        "facog": "mixed from n_s = 5",
    }
    assert made.mixture == words.get(name, made.mixture)


@pytest.mark.parametrize("name", NAMES)
def test_the_maps_of_notebook_04_hold_any_of_them(name):
    made = world(name)
    figure = embedding_explorer.mixtures(made)
    assert ("nothing" in figure.layout.title.text) is (name in NOTHING_MIXED)
    explorer = embedding_explorer.explore(made, "on")
    first = int(np.flatnonzero(made.generated)[0])
    explorer.number.value = first
    said = explorer.inspector.value
    assert ("no parents" in said) is (name in NOTHING_MIXED)
    moved = name in ("facog_attention", "safa", "tailcalib", "lent_spread")
    assert ("where the mix was moved to" in said) is moved
    assert ("in their hull, exactly" in said) is (not moved and name not in NOTHING_MIXED)


def test_every_method_has_a_name_and_a_colour_of_its_own():
    methods = ["phase1", *NAMES]
    assert len({label(m) for m in methods}) == len(methods)
    assert len({theme.METHOD_COLOURS[m] for m in methods}) == len(methods)


# What red, green and blue become for the three kinds of colour blindness (Machado et al. 2009, at
# full severity, on linear light).
BLIND = {
    "none": np.eye(3),
    "protan": [[0.152, 1.053, -0.205], [0.115, 0.786, 0.099], [-0.004, -0.048, 1.052]],
    "deutan": [[0.367, 0.861, -0.228], [0.280, 0.673, 0.047], [-0.012, 0.043, 0.969]],
    "tritan": [[1.256, -0.077, -0.179], [-0.078, 0.931, 0.148], [0.005, 0.691, 0.304]],
}


@pytest.mark.parametrize("eye", BLIND)
def test_every_eye_tells_the_colours_apart(eye):
    seen = {}
    for method, colour in theme.METHOD_COLOURS.items():
        rgb = np.array([int(colour[i : i + 2], 16) for i in (1, 3, 5)]) / 255
        light = np.where(rgb <= 0.04045, rgb / 12.92, ((rgb + 0.055) / 1.055) ** 2.4)
        seen[method] = oklab(np.clip(np.asarray(BLIND[eye]) @ light, 0, 1))
    pairs = [(a, b) for i, a in enumerate(seen) for b in list(seen)[i + 1 :]]
    close = {pair: np.linalg.norm(seen[pair[0]] - seen[pair[1]]) for pair in pairs}
    assert min(close.values()) > 0.08, min(close, key=close.get)  # four just noticeable steps


def oklab(linear):
    """Ottosson (2020): a space in which equal distances look equal; 0.02 is just noticeable."""
    cones = np.cbrt(
        np.array(
            [
                [0.4122214708, 0.5363325363, 0.0514459929],
                [0.2119034982, 0.6806995451, 0.1073969566],
                [0.0883024619, 0.2817188376, 0.6299787005],
            ]
        )
        @ linear
    )
    return (
        np.array(
            [
                [0.2104542553, 0.7936177850, -0.0040720468],
                [1.9779984951, -2.4285922050, 0.4505937099],
                [0.0259040371, 0.7827717662, -0.8086757660],
            ]
        )
        @ cones
    )
