"""Which methods a table shows, and in which order."""

import pytest

from facog_lab.config import ConfigError
from facog_lab.study import significance
from facog_lab.study.arranged import BenchmarkConfig, arranged, families, family_of


def row(method, acsa, level="feature", seed=0, variant=""):
    named = {"method": method, "level": level, "variant": variant, "seed": seed}
    return named | {"acsa": acsa, "dictionary": "x"}


@pytest.fixture
def table():
    given = [("smote", 0.50), ("facog", 0.40), ("random_oversampling", 0.41), ("lda", 0.60),
             ("gamo", 0.30), ("uniform_weights", 0.35), ("balanced_softmax", 0.55)]  # fmt: skip
    rows = [row(name, acsa) for name, acsa in given]
    rows += [row("phase1", 0.38, "network"), row("ce", 0.39, "network")]
    rows += [row("facog", 0.45, variant="n_s=10"), row("real_images", 0.9, variant="images=all")]
    return significance.summary(rows)


def names(found):
    return [method + variant for method, _, variant in found.index]


PINNED = ["facog", "phase1", "random_oversampling", "uniform_weights"]


@pytest.mark.parametrize(
    ("sort", "rest"),
    [
        ("score", ["lda", "balanced_softmax", "smote", "facogn_s=10", "ce", "gamo"]),
        ("gain", ["lda", "balanced_softmax", "smote", "facogn_s=10", "ce", "gamo"]),
        ("name", ["balanced_softmax", "ce", "facogn_s=10", "gamo", "lda", "smote"]),
        ("family", ["facogn_s=10", "smote", "gamo", "lda", "balanced_softmax", "ce"]),
    ],
)
def test_pinned_lines_come_first_and_the_rest_is_sorted(table, sort, rest):
    assert names(arranged(table, sort=sort)) == PINNED + rest


def test_a_family_alone_beside_what_is_pinned(table):
    assert names(arranged(table, "free")) == [*PINNED, "lda"]
    assert names(arranged(table, "network")) == [*PINNED, "ce"]


def test_every_line_has_a_family(table):
    known = {*families(), "phase 1"}
    assert {family_of(key) for key in table.index if key[0] != "real_images"} <= known
    assert family_of(("oltr", "network", "")) == "network"


def test_an_empty_table_stays_one():
    assert arranged(significance.summary([])).empty


def test_an_unknown_family_is_named_with_those_there_are():
    with pytest.raises(ConfigError, match=r"fre.*free"):
        BenchmarkConfig(family="fre")
