"""What a notebook shows and whoever executes it finds; scores are in test_sweep."""

import nbformat

from facog_lab.study import report


def shown(monkeypatch, texts):
    """The outputs of `report.alarms`, as a notebook holds them."""
    found = []
    monkeypatch.setattr(report, "display", lambda data, raw: found.append(data))
    report.alarms(texts)
    return found


def executed(*data):
    outputs = [nbformat.v4.new_output("display_data", data=one) for one in data]
    cells = [nbformat.v4.new_markdown_cell("a"), nbformat.v4.new_code_cell("b", outputs=outputs)]
    return nbformat.v4.new_notebook(cells=cells)


def test_nothing_is_shown_where_all_is_well(monkeypatch):
    assert shown(monkeypatch, []) == []
    assert report.found_alarms(executed({"text/plain": "5"})) == []


def test_alarms_are_texts_on_the_page_and_found_once(monkeypatch):
    (data,) = shown(monkeypatch, ["a <b> is wrong", "so is c"])
    assert data["text/html"].count('role="alert"') == 2
    assert "a &lt;b&gt; is wrong" in data["text/html"]
    assert data["text/plain"] == "⚠ a <b> is wrong\n⚠ so is c"
    assert report.found_alarms(executed(data, data)) == ["a <b> is wrong", "so is c"]


def test_a_forged_output_becomes_text():
    assert report.found_alarms(executed({report.ALARMS: [1, "<script>"]})) == ["1", "<script>"]
