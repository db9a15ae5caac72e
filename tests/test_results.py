"""The committed results are whole, and what the README says of them is what they say."""

import json
import re
from pathlib import Path

import pytest

from benchmarks import readme
from facog_lab import cells, results

RESULTS = results.folder()
COLUMNS = {
    "dataset", "imbalance_ratio", "preset", "method", "level", "seed", "protocol", "acsa", "gm",
    "top1", "many", "medium", "few", "tail20", "per_class", "parameters", "seconds", "split_hash",
    "variant", "dictionary", "key", "run", "entropy", "chosen",
}  # fmt: skip


def files():
    return sorted(p for p in RESULTS.glob("*.json") if p.stem != "speed")


def test_speed_rows_are_whole_and_say_themselves_whether_they_hold():
    for row in json.loads((RESULTS / "speed.json").read_text())["rows"]:
        sign, bar = row["bar"].split()
        held = row["value"] <= float(bar) if sign == "≤" else row["value"] >= float(bar)
        assert row["holds"] == held
        assert row["low"] <= row["value"] <= row["high"]
        assert {"name", "unit", "device", "runs", "made"} <= set(row)


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
    known = {(c.method, c.level, c.variant) for table in cells.TABLES.values() for c in table}
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
    text = (Path(__file__).parents[1] / "README.md").read_text()
    assert "<!-- results: fashion_mnist_lt_cpu -->" in text
    assert readme.filled(text) == text


def test_every_link_of_the_pages_leads_somewhere():
    root = Path(__file__).parents[1]
    for page in [*root.glob("*.md"), *root.glob("docs/**/*.md"), *root.glob("benchmarks/**/*.md")]:
        for target in re.findall(r"\]\(([^)#:]+)\)", page.read_text()):
            assert (page.parent / target).exists(), f"{page.name} links {target}"
