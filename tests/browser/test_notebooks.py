"""The notebooks in JupyterLab, as a person opens and runs them."""

import pytest
from lab import BLANK, OPTIONS, PLOTLY, SAID

STEMS = (
    "00_lt_datasets", "01_phase1", "02_dictionary", "03_phase2", "04_embeddings", "05_ablations",
    "06_benchmark", "07_ceiling",
    pytest.param("09_sweep", marks=pytest.mark.long),  # papermill runs it, too
)  # fmt: skip
# Of a notebook that is saved with its widgets. JupyterLab keeps a picture of each figure, up to
# 400 kB; the JavaScript of one FigureWidget, which none is to keep, has 4.8 MB.
MOST_BYTES = 2_000_000


@pytest.mark.parametrize("stem", STEMS)
def test_runs_and_draws_every_figure(notebook, stem):
    opened = notebook(stem, **OPTIONS.get(stem, {}))
    outputs = opened.outputs()
    assert [o["text"] for o in outputs if o.get("name") == "stderr"] == []
    drawn = 0
    for drawn, graph in enumerate(opened.figures(), start=1):
        opened.screenshot(f"{stem}-{drawn}")
        assert graph.evaluate(BLANK) == []
        opened.wait(lambda graph=graph: len(graph.evaluate(SAID)) > 20, "a figure's text", 10)
    assert drawn >= max(2, sum(PLOTLY in o.get("data", {}) for o in outputs))
    assert opened.save() < MOST_BYTES


@pytest.fixture
def dark(lab):
    lab.set("themes", theme="JupyterLab Dark")
    yield
    lab.set("themes", theme="JupyterLab Light")


@pytest.mark.usefixtures("dark")
def test_figures_suit_a_dark_theme(notebook):
    """Whether they can be read is for a person to see, in the screenshots."""
    opened = notebook("03_phase2", **OPTIONS["03_phase2"], n_s=4)  # a page of its own
    opened.page.locator("body[data-jp-theme-light=false]").wait_for(
        state="attached", timeout=60_000
    )
    opened.button("Start").click()
    opened.page.get_by_text("Done.").wait_for()
    for k, graph in enumerate(opened.figures(), start=1):
        grounds = graph.evaluate("g => [g._fullLayout.paper_bgcolor, g._fullLayout.plot_bgcolor]")
        assert grounds == ["rgba(0,0,0,0)"] * 2
        assert graph.evaluate(BLANK) == []
        opened.screenshot(f"03_phase2-dark-{k}")
