import itertools
import math

import numpy as np
import pytest

from facog_lab.plots import result_charts
from facog_lab.study import grid, paper, significance
from facog_lab.study.grid import Cell

SEEDS = range(5)
NULL = [0.80, 0.82, 0.81, 0.79, 0.83]
BETTER = [0.81, 0.83, 0.83, 0.80, 0.84]


def row(method, seed, acsa, level="feature", variant="", **more):
    known = {"dataset": "mnist", "imbalance_ratio": 100.0, "preset": "cpu", "protocol": "full"}
    scores = {"acsa": acsa, "gm": acsa - 0.01, "top1": acsa, "few": None, "seconds": 2.0 + seed}
    more = {"dictionary": None, "per_class": [acsa, acsa], **more}
    return (
        known | scores | {"method": method, "level": level, "variant": variant, "seed": seed} | more
    )


@pytest.fixture
def rows():
    made = [row("random_oversampling", s, a) for s, a in zip(SEEDS, NULL, strict=True)]
    made += [row("facog", s, a) for s, a in zip(SEEDS, BETTER, strict=True)]
    made += [row("smote", s, 0.7) for s in (0, 1)]
    made += [row("ce", 0, 0.6, "network"), row("facog", 0, 0.5, variant="n_s=10")]
    return made


def test_means_deviations_ranks_and_the_paired_test(rows):
    table = significance.summary(rows)
    line = table.loc["facog", "feature", ""]
    assert line["seeds"] == 5
    assert line["mean"] == pytest.approx(100 * np.mean(BETTER))
    assert line["sd"] == pytest.approx(100 * np.std(BETTER, ddof=1))
    difference = np.subtract(BETTER, NULL)
    assert line["gain"] == pytest.approx(100 * difference.mean())
    # Student's t by hand; p by integrating the density of t with 4 degrees of freedom
    t = difference.mean() / (difference.std(ddof=1) / math.sqrt(5))
    grid = np.linspace(t, 400, 2_000_000)
    density = 0.375 * (1 + grid**2 / 4) ** -2.5
    assert line["p"] == pytest.approx(2 * np.trapezoid(density, grid), rel=1e-4)
    assert table["rank"].to_dict() == {
        ("facog", "feature", ""): 1,
        ("random_oversampling", "feature", ""): 2,
        ("smote", "feature", ""): 3,
        ("ce", "network", ""): 4,
        ("facog", "feature", "n_s=10"): 5,
    }
    assert list(table["mean"]) == sorted(table["mean"], reverse=True)


def test_no_p_where_no_seed_changes_the_difference(recwarn):
    """Two closed forms on one phase 1: five times the same pair of numbers proves nothing."""
    fixed = [row("lda", s, 0.4313) for s in SEEDS] + [row("nearest_mean", s, 0.4172) for s in SEEDS]
    table = significance.summary(fixed, against="nearest_mean")
    line = table.loc["lda", "feature", ""]
    assert line["gain"] == pytest.approx(1.41)
    assert math.isnan(line["p"])
    assert not recwarn


def test_what_cannot_be_tested_or_was_not_run_stays_empty(rows):
    of_paper = significance.select(paper.rows("1"), dataset="mnist")
    table = significance.summary(rows, of_paper=of_paper, not_built=["oltr"])
    assert math.isnan(table.loc[("random_oversampling", "feature", ""), "gain"])
    assert math.isnan(table.loc[("ce", "network", ""), "p"])  # one seed
    assert table.loc[("smote", "feature", ""), "gain"] == pytest.approx(-11)  # the two seeds shared
    assert table.loc[("facog", "feature", ""), "paper"] == pytest.approx(95)
    for method, level in (("gamo", "feature"), ("oltr", "network")):
        line = table.loc[method, level, ""]
        assert line["seeds"] == 0
        assert math.isnan(line["mean"])
    assert significance.summary([]).empty
    few = significance.summary(rows, score="few")  # MNIST-LT has no class of fewer than 20
    assert few.empty


def test_the_order_of_rows_does_not_matter(rows):
    expected = significance.summary(rows)
    for mixed in itertools.islice(itertools.permutations(rows), 50, 300, 100):
        assert significance.summary(list(mixed)).equals(expected)


def test_a_shown_table_has_words_and_no_nan(rows):
    table = significance.summary(
        rows, of_paper=significance.select(paper.rows("1"), dataset="mnist")
    )
    text = significance.shown(table).to_html()
    assert "nan" not in text.lower()
    for word in ("FACoG", "Random oversampling", "82.2 ± 1.6", "+1.20", "95.0", "n_s = 10"):
        assert word in text


def test_the_papers_table_with_ours_beside_it(rows):
    table = significance.beside_paper(rows, "1")
    assert table.loc[("facog", "feature", ""), ("MNIST-LT", "acsa", "paper")] == "95.0"
    assert table.loc[("facog", "feature", ""), ("MNIST-LT", "acsa", "ours")] == "82.2 ± 1.6 (5)"
    assert table.loc[("ce", "network", ""), ("MNIST-LT", "acsa", "ours")] == "60.0 (1)"
    assert table.loc[("facog", "feature", ""), ("Fashion-MNIST-LT", "acsa", "ours")] == ""
    assert "nan" not in significance.styled(table).to_html().lower()
    at_100 = significance.beside_paper(
        [row("facog", 0, 0.5, dataset="cifar100"), row("facog", 0, 0.4, dataset="cifar100",
                                                       imbalance_ratio=50.0)], "2"
    )  # fmt: skip
    line = at_100.loc["facog", "feature", ""]
    assert line["CIFAR-100-LT at 100", "top1", "ours"] == "50.0 (1)"
    assert line["CIFAR-100-LT at 50", "top1", "ours"] == "40.0 (1)"
    assert line["CIFAR-100-LT at 10", "top1", "ours"] == ""
    missing = at_100.loc["m2m_ldam", "network", ""]
    assert missing["CIFAR-10-LT at 100", "top1", "ours"] == "not built"
    for number in ("3", "4", "5"):
        ours = significance.beside_paper(rows, number).xs("ours", axis=1, level=2)
        assert set(ours.to_numpy().ravel()) <= {"", "not built"}


def test_rows_of_cells_and_of_one_changed_setting(rows):
    chosen = significance.of_cells(rows, [Cell("smote"), Cell("facog")])
    assert {r["method"] for r in chosen} == {"smote", "facog"}
    assert all(r["variant"] == "" for r in chosen)
    own = significance.with_change(rows, "n_s", 5)
    assert {(r["variant"], r["n_s"]) for r in own} == {("", 5), ("n_s=10", 10)}
    other = [row("facog", 0, 0.5, variant="lambda_adv=0.0")]
    assert significance.with_change(other, "n_s", 5) == []


def test_the_mean_recall_of_each_class(rows):
    found = significance.mean_recall(rows, ("facog", "gamo"))
    assert list(found) == ["facog"]
    assert found["facog"] == pytest.approx([np.mean(BETTER)] * 2)


def test_a_ranking_shows_every_method_and_the_paper(rows):
    of_paper = significance.select(paper.rows("1"), dataset="mnist")
    table = significance.summary(rows, of_paper=of_paper)
    figure = result_charts.ranking(table, "title", line="random_oversampling")
    features, networks, papers = figure.data
    assert dict(zip(features.y, features.x, strict=True))["FACoG  n = 5"] == pytest.approx(82.2)
    assert next(iter(features.error_x.array)) == pytest.approx(100 * np.std(BETTER, ddof=1))
    assert list(networks.y) == ["cross-entropy (network)  n = 1"]
    assert dict(zip(papers.y, papers.x, strict=True))["FACoG  n = 5"] == 95
    assert figure.layout.shapes[0].x0 == pytest.approx(100 * np.mean(NULL))
    assert figure.layout.yaxis.categoryarray[-1] == "FACoG  n = 5"  # above
    empty = result_charts.ranking(significance.summary([]), "nothing")
    assert "not run" in empty.layout.title.subtitle.text


def test_gains_show_every_seed_and_who_is_sure(rows):
    table = significance.summary(rows)
    figure = result_charts.gains(rows, table, "title", "random_oversampling")
    by_name = {trace.y[0].partition("  n = ")[0]: trace for trace in figure.data[:-1]}
    assert list(by_name["FACoG"].customdata) == pytest.approx(100 * np.subtract(BETTER, NULL))
    assert by_name["FACoG"].marker.color == result_charts.BLUE
    assert by_name["cross-entropy (network)"].marker.color == result_charts.INK  # one seed
    said = [note.text for note in figure.layout.annotations]
    assert any("p 0.0" in text and "Holm" in text for text in said)


def test_gains_far_away_are_marked_at_the_edge_with_their_value():
    rows = [row("random_oversampling", seed, 0.4 + seed / 1000) for seed in (0, 1)]
    rows += [row("gamo", seed, 0.3 + seed / 900) for seed in (0, 1)]
    figure = result_charts.gains(rows, significance.summary(rows), "t", "random_oversampling")
    (far,) = [trace for trace in figure.data if trace.y and trace.y[0].startswith("GAMO")]
    assert list(far.x) == [-3, -3]
    assert list(far.marker.symbol) == ["triangle-left"] * 2
    assert min(far.customdata) < -9
    assert any(note.text.startswith("-10.0; ") for note in figure.layout.annotations)
    low, high = figure.layout.xaxis.range
    assert low < -3 < 3 < high


def test_a_reliability_curve_pools_seeds():
    bins = {"images": [0] * 13 + [10, 30], "confidence": [0] * 13 + [9.0, 29.0],
            "right": [0] * 13 + [5, 27]}  # fmt: skip
    rows = [row("facog", seed, 0.5) | {"reliability": bins} for seed in (0, 1)]
    figure = result_charts.reliability([*rows, row("lda", 0, 0.5)], ("facog", "lda"), "t")
    _, curve = figure.data  # LDA's row has none
    assert list(curve.x) == pytest.approx([0.9, 29 / 30])
    assert list(curve.y) == pytest.approx([0.5, 0.9])
    assert curve.name == "FACoG, ECE 15.0"


def test_score_and_time_over_n_s(rows):
    figure = result_charts.over_n_s(significance.with_change(rows, "n_s", 5), "title")
    scores, seconds = figure.data
    assert list(scores.x) == [5, 10]
    assert list(scores.y) == pytest.approx([82.2, 50])
    assert list(seconds.y) == pytest.approx([4, 2])


def test_names_that_a_file_brings_are_text():
    table = significance.summary([row("<b>x</b>", 0, 0.5), row("<b>x</b>", 1, 0.5)])
    figure = result_charts.ranking(table, "title")
    assert "<b>x" not in str(figure.data[0].y)
    assert "<b>x" not in significance.shown(table).to_html()


def test_cells_have_the_names_that_tables_use():
    for cell in grid.TABLES["fig5"]:
        assert cell.variant in ("", f"n_s={dict(cell.changes).get('phase2.n_s')}")
