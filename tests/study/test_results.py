"""The committed results are whole, and what the README says of them is what they say."""

import json
import os
import re

import pytest
from conftest import ROOT

from benchmarks import readme, rows
from facog_lab.paths import StoreError
from facog_lab.study import grid, results

RESULTS = results.folder()
COLUMNS = {
    "dataset", "imbalance_ratio", "preset", "method", "level", "seed", "protocol", "acsa", "gm",
    "top1", "many", "medium", "few", "tail20", "per_class", "parameters", "seconds", "split_hash",
    "variant", "dictionary", "key", "run", "entropy", "chosen",
}  # fmt: skip


def files():
    """Those of accuracies."""
    return sorted(p for p in RESULTS.glob("*.json") if p.stem not in ("speed", "imagined"))


def test_speed_rows_are_whole_and_say_themselves_whether_they_hold():
    for row in json.loads((RESULTS / "speed.json").read_text())["rows"]:
        assert {"name", "unit", "device", "runs", "made"} <= set(row)
        if row["runs"] == 0:  # the device was not there
            assert row["value"] is row["low"] is row["high"] is row["holds"] is None
            continue
        sign, bar = row["bar"].split()
        held = row["value"] <= float(bar) if sign == "≤" else row["value"] >= float(bar)
        assert row["holds"] == (held and "reference" not in row)
        assert row["low"] <= row["value"] <= row["high"]


def ratio(value, bar=0.5, most=False, unit="×"):
    return rows.row("a ratio", [value] * 5, unit, bar, most)


def test_a_ratio_that_got_worse_by_more_than_a_tenth_is_a_failed_row(tmp_path):
    path = tmp_path / "speed.json"

    def written(new):
        good = rows.write([new], path, "command")
        (row,) = json.loads(path.read_text())["rows"]
        return good, row["holds"], row.get("reference")

    assert written(ratio(2.0)) == (True, True, None)
    assert written(ratio(1.85)) == (True, True, None)
    assert written(ratio(1.6)) == (False, False, 1.85)
    assert written(ratio(1.6)) == (False, False, 1.85)  # and fails until it is as good again
    assert written(ratio(1.8)) == (True, True, None)
    assert written(ratio(0.4)) == (False, False, 1.8)


def test_where_less_is_better_more_is_worse_and_seconds_are_not_compared():
    less = rows.compared(ratio(1.0, bar=1.15, most=True), ratio(1.12, bar=1.15, most=True))
    assert less["holds"]
    more = rows.compared(ratio(1.12, bar=1.15, most=True), ratio(1.0, bar=1.15, most=True))
    assert not more["holds"]
    assert more["reference"] == 1.0
    slow = rows.compared(ratio(9.0, 60, True, "s"), ratio(3.0, 60, True, "s"))
    assert slow["holds"]


def test_a_row_that_was_not_run_takes_no_figure_away():
    empty = rows.row("a ratio", [], "×", 2, most=False, device="cuda")
    assert empty["value"] is empty["holds"] is None
    assert rows.compared(empty, ratio(3.0)) == ratio(3.0)
    assert rows.compared(empty, {}) == empty


@pytest.mark.parametrize("path", files(), ids=lambda p: p.stem)
def test_every_row_has_every_column_and_agrees_with_itself(path):
    result = json.loads(path.read_text())
    for run in result["meta"]["runs"]:
        assert {"command", "date", "git", "versions", "processor", "threads", "device"} <= set(run)
    assert {"data", "phase1", "dictionary", "phase2"} <= set(result["meta"]["settings"])
    for row in result["rows"]:
        assert set(row) >= COLUMNS
        assert row["acsa"] == pytest.approx(sum(row["per_class"]) / len(row["per_class"]), abs=2e-4)
        assert 0 <= row["gm"] <= row["acsa"] + 1e-9
        assert result["meta"]["runs"][row["run"]]
    found = [tuple(row[name] for name in results.IDENTITY) for row in result["rows"]]
    assert len(set(found)) == len(found)
    assert len({row["seed"] for row in result["rows"]}) == 1
    assert any(row["method"] == "phase1" for row in result["rows"])


def test_every_row_is_of_a_cell_that_there_is():
    known = {(c.method, c.level, c.variant) for table in grid.TABLES.values() for c in table}
    for row in results.read():
        assert (row["method"], row["level"], row["variant"]) in known


@pytest.mark.parametrize(
    ("dataset", "acsa", "gm"), [("fashion_mnist", 0.83, 0.82), ("mnist", 0.95, 0.95)]
)
def test_facog_reaches_the_papers_table_1(dataset, acsa, gm):
    """On the full test set, mean of the recorded seeds."""
    facog = [
        row
        for row in results.read()
        if (row["dataset"], row["method"], row["variant"]) == (dataset, "facog", "")
        and row["protocol"] == "full"
    ]
    assert {row["seed"] for row in facog} >= {0}
    assert sum(row["acsa"] for row in facog) / len(facog) >= acsa
    assert sum(row["gm"] for row in facog) / len(facog) >= gm


def test_the_readme_holds_the_tables_of_the_result_files():
    text = (ROOT / "README.md").read_text()
    assert "<!-- results: fashion_mnist_lt_cpu -->" in text
    assert readme.filled(text) == text


def test_every_link_of_the_pages_leads_somewhere():
    for page in [*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md"), *ROOT.glob("benchmarks/**/*.md")]:
        for target in re.findall(r"\]\(([^)#:]+)\)", page.read_text()):
            assert (page.parent / target).exists(), f"{page.name} links {target}"


GOOD = {
    **dict.fromkeys(("dataset", "preset", "method", "level", "variant", "protocol", "key"), "a"),
    **dict.fromkeys(("acsa", "gm", "top1", "many", "medium", "few", "tail20", "entropy"), 0.5),
    **{"imbalance_ratio": 100.0, "dictionary": None, "seed": 0, "per_class": [0.5], "seconds": 1.0},
}
FORGED = {
    "no JSON": "{",
    "a list": "[]",
    "no rows": '{"meta": {"runs": []}}',
    "meta that is none": '{"meta": 1, "rows": []}',
    "runs that are no list": json.dumps({"meta": {"runs": {}}, "rows": []}),
    "a row that is none": json.dumps({"meta": {}, "rows": [1]}),
    "a method that is no text": json.dumps({"meta": {}, "rows": [GOOD | {"method": ["a"]}]}),
    "a score that is no number": json.dumps({"meta": {}, "rows": [GOOD | {"acsa": "0.9"}]}),
    "NaN": json.dumps({"meta": {}, "rows": [GOOD | {"acsa": float("nan")}]}),
    "half a row": json.dumps({"meta": {}, "rows": [{"acsa": 0.5}]}),
    "deep nesting": "[" * 100_000,
}


@pytest.mark.parametrize("kind", FORGED)
def test_what_is_no_result_file_is_named(kind, tmp_path, outputs, monkeypatch):
    monkeypatch.setenv("FACOG_RESULTS", str(tmp_path))
    path = tmp_path / "forged.json"
    path.write_text(FORGED[kind])
    for ask in (results.read, lambda: results.ResultFile(path, {}).add([GOOD], {"command": "x"})):
        with pytest.raises(StoreError, match=rf"{path} is no result file \("):
            ask()
    assert path.read_text() == FORGED[kind]


@pytest.mark.parametrize("put", [os.mkfifo, os.mkdir, lambda p: os.symlink("/dev/zero", p)])
def test_a_result_file_that_is_no_file(put, tmp_path, monkeypatch):
    monkeypatch.setenv("FACOG_RESULTS", str(tmp_path))
    put(tmp_path / "thing.json")
    with pytest.raises(StoreError, match=r"thing\.json is no file, and no result file"):
        results.read()


def test_other_measurements_are_not_added_to(tmp_path, outputs):
    path = tmp_path / "speed.json"
    path.write_text('{"meta": {}, "rows": [{"name": "a"}]}')
    with pytest.raises(StoreError, match="holds other rows than accuracies"):
        results.ResultFile(path, {}).add([GOOD], {})


def test_a_result_file_that_cannot_be_written(tmp_path, outputs):
    (tmp_path / "results").write_text("a file")
    with pytest.raises(StoreError, match="results is a file, and a folder belongs there"):
        results.ResultFile(tmp_path / "results" / "a.json", {}).add([GOOD], {"command": "x"})


def test_good_rows_are_added(tmp_path, outputs, monkeypatch):
    monkeypatch.setenv("FACOG_RESULTS", str(tmp_path))
    file = results.ResultFile(tmp_path / "a.json", {})
    file.add([GOOD], {"command": "x"})
    file.add([GOOD | {"seed": 1}], {"command": "x"})
    assert [row["seed"] for row in results.read()] == [0, 1]
