"""Means and deviations of a sweep, its table and its figures, by hand-made rows."""

import html
import re
import statistics

import pytest

from facog_lab.plots import sweep_charts
from facog_lab.study import sweep_tables
from facog_lab.study.sweep_points import points
from facog_lab.study.sweep_tables import PERCENT, cells

from tiny import notebook  # isort: skip

EVIL = "<script>alert('x')</script>"


def row(acsa, error="", key="k", executed="", **values):
    scores = {} if acsa is None else {"acsa": acsa, "entropy": 1.2345678}
    facts = {"scores": scores, "error": error, "seconds": 1.0, "key": key, "executed": executed}
    return facts | {"values": values}


ROWS = [
    row(0.50, n_s=1, lr=0.1, seed=0),
    row(0.60, n_s=1, lr=0.1, seed=1),
    row(0.70, n_s=1, lr=0.1, seed=2),
    row(0.90, n_s=1, lr=0.2, seed=0),
    row(None, error="cell In [3] failed", n_s=1, lr=0.2, seed=1),
    row(0.80, n_s=5, lr=0.1, seed=0),
    row(None, error="cell In [3] failed", n_s=5, lr=0.2, seed=0),
]


def test_means_count_what_has_a_score():
    found = {cell.values: cell for cell in cells(ROWS, ["n_s", "lr"], "acsa")}
    whole = found["1", "0.1"]
    assert whole.mean == pytest.approx(60)
    assert whole.sd == pytest.approx(statistics.stdev([50, 60, 70]))
    assert (whole.n, whole.text) == (3, "60 ± 10")
    assert (found["1", "0.2"].n, found["1", "0.2"].text, len(found["1", "0.2"].rows)) == (
        1,
        "90",
        2,
    )
    assert (found["5", "0.2"].n, found["5", "0.2"].text) == (0, "–")


def test_what_is_no_share_is_not_in_percent():
    assert "entropy" not in PERCENT
    (cell,) = cells(ROWS[:1], ["n_s"], "entropy")
    assert cell.mean == 1.2345678


def test_the_heat_map_says_mean_deviation_and_n(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    rows = [one | {"executed": str(tmp_path / f"a b/{k}.ipynb")} for k, one in enumerate(ROWS)]
    figure = sweep_charts.heat_map(rows, "lr", "n_s", "acsa", "Digits")
    (heat,) = figure.data
    assert list(heat.x) == ["0.1", "0.2"]
    assert list(heat.y) == ["1", "5"]
    assert [list(line) for line in heat.z] == [[pytest.approx(60), 90], [pytest.approx(80), None]]
    texts = {(a.x, a.y): a.text for a in figure.layout.annotations}
    assert "60 ± 10" in texts[0, 0]
    assert "N = 3" in texts[0, 0]
    assert re.findall('href="([^"]*)"', texts[0, 0]) == [f"a%20b/{k}.ipynb" for k in range(3)]
    assert "–" in texts[1, 1]
    assert "N = 0" in texts[1, 1]
    assert 'href="a%20b/6.ipynb"' in texts[1, 1]  # a failed one can be looked at, too
    assert figure.layout.xaxis.title.text == "learning rate"
    assert figure.layout.yaxis.title.text == "n_s"
    assert heat.colorbar.title.text == "ACSA, percent"
    assert figure.layout.title.subtitle.text == "over seed, N = 0 to 3"


def test_curves_have_deviations_and_the_grids_order():
    rows = [row(0.1 * n, n_s=n, seed=s) for n in (20, 3) for s in (0, 1)]
    figure = sweep_charts.curves(rows, "n_s", "acsa", "Digits")
    (curve,) = figure.data
    assert list(curve.x) == ["20", "3"]
    assert list(figure.layout.xaxis.categoryarray) == ["20", "3"]
    assert list(curve.error_y.array) == [0, 0]
    assert [list(part) for part in curve.customdata] == [["200 ± 0", 2], ["30 ± 0", 2]]
    assert "mean ± standard deviation, over seed, N = 4" not in figure.layout.title.subtitle.text
    assert figure.layout.title.subtitle.text == "mean ± standard deviation, over seed, N = 2"
    two = sweep_charts.curves(ROWS, "lr", "acsa", "Digits", by="n_s")
    assert [curve.name for curve in two.data] == ["n_s = 1", "n_s = 5"]
    assert list(two.data[1].x) == ["0.1"]  # what has no score is no point


def test_a_sweep_without_a_score_is_drawn_empty():
    failed = [ROWS[4], ROWS[6]]
    figure = sweep_charts.heat_map(failed, "lr", "n_s", "acsa", "Digits")
    assert [list(line) for line in figure.data[0].z] == [[None], [None]]
    sweep_charts.curves(failed, "lr", "acsa", "Digits", by="n_s")


def test_values_errors_and_links_are_text(tmp_path, outputs, monkeypatch):
    monkeypatch.chdir(tmp_path)
    book = notebook(tmp_path / "b.ipynb", parameters="name: str = 'a'\nother: str = 'b'")
    todo = points(book, {"name": [EVIL, "b"]}, {"other": EVIL})
    one, two = todo
    rows = [
        row(None, f"failed with\n{EVIL}", one.key, f'{tmp_path}/"{EVIL}.ipynb', **one.values),
        row(0.5, "", two.key, "", **two.values),
    ]
    rows[1]["scores"] |= {EVIL: EVIL}
    shown = sweep_tables.table(todo, {r["key"]: r for r in rows})
    shown += sweep_tables.means(rows, EVIL, over="other").data
    shown += sweep_tables.means(rows, "acsa", over="name").data
    assert "<script" not in shown
    assert shown.count(html.escape(EVIL)) >= 5
    assert 'href="%22%3Cscript' in shown
    figure = sweep_charts.heat_map(rows, "name", "other", EVIL, EVIL)
    texts = [a.text for a in figure.layout.annotations] + [
        *figure.data[0].x, *figure.data[0].y, figure.layout.title.text,
        figure.data[0].colorbar.title.text, figure.data[0].hovertemplate,
    ]  # fmt: skip
    texts += [c.name for c in sweep_charts.curves(rows, "other", "acsa", "t", by="name").data]
    assert not [text for text in texts if "<script" in text]


def test_an_empty_table_and_columns_of_one_name(tmp_path, outputs):
    assert "0 of 0 points" in sweep_tables.table([], {})
    assert "<td" not in sweep_tables.means([], "acsa").data
    book = notebook(tmp_path / "b.ipynb", parameters="state: int = 1\nseconds: int = 1")
    todo = points(book, {"state": [1, 2], "seconds": [3, 4]})
    shown = sweep_tables.table(todo, {})
    assert re.findall("<th[^>]*>(.*?)<", shown) == ["state", "seconds", "state", "seconds"]


def test_the_table_says_what_waits_and_what_failed(tmp_path, outputs):
    book = notebook(tmp_path / "b.ipynb", parameters="n: int = 1\nm: int = 2")
    todo = points(book, {"n": list(range(300))}, {"m": 5})
    done = row(0.5, "", todo[0].key, str(tmp_path / "x.ipynb"), **todo[0].values)
    failed = row(None, "cell In [3] failed", todo[1].key, "", **todo[1].values)
    shown = sweep_tables.table(todo, {r["key"]: r for r in (done, failed)})
    assert "2 of 300 points, 1 failed, 100 more below; all with m=5" in shown
    assert len(re.findall("<tr", shown)) == 1 + sweep_tables.MOST_LINES
    assert len(re.findall("<td[^>]*>waits<", shown)) == sweep_tables.MOST_LINES - 2
    assert re.findall("<th[^>]*>(.*?)<", shown) == ["n", "state", "acsa, %", "entropy", "seconds"]
    assert re.search("<td[^>]*>50.0<", shown)
    assert "failed: cell In [3] failed" in shown


def test_rows_come_back_in_the_order_of_the_points(tmp_path, outputs, capsys):
    book = notebook(tmp_path / "b.ipynb")
    todo = points(book, {"n": [1, 2, 3]})
    rows = [row(0.1 * p.values["n"], "", p.key, "", **p.values) for p in todo]
    assert sweep_tables.live(todo, iter(rows[::-1])) == rows


def test_a_sweep_that_is_interrupted_shows_what_there_is(tmp_path, outputs, monkeypatch):
    book = notebook(tmp_path / "b.ipynb")
    todo = points(book, {"n": [1, 2, 3]})
    shown = []
    monkeypatch.setattr(sweep_tables, "display", lambda page: shown.append(page.data))

    def rows():
        yield row(0.1, "", todo[1].key, "", **todo[1].values)
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        sweep_tables.live(todo, rows())
    assert "1 of 3 points, 0 failed" in shown[-1]
