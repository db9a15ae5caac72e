import base64

import nbformat
import numpy as np
import pytest
from nbclient import NotebookClient

from facog_lab.live_figure import PLOTLY

SOURCE = """
from facog_lab import figures, panels
values = []
groups = {{"Loss": ["loss"]}}
draw = lambda: figures.curves({{"loss": values}}, groups)
chart = panels.LiveFigure(draw, seconds=0, live="{live}")
for step in range(5):
    values.append(float(step))
    chart.update()
    print("drawn" if chart.place.handle else "waiting")
chart.finish()
"""


@pytest.mark.parametrize("live", ["on", "off"])
def test_a_live_figure_is_one_output_that_ends_with_the_last_state(live):
    """In a real kernel: redrawn in place while someone looks, drawn once where nobody does."""
    notebook = nbformat.v4.new_notebook()
    notebook.cells = [nbformat.v4.new_code_cell(SOURCE.format(live=live))]
    NotebookClient(notebook, timeout=120, kernel_name="python3").execute()
    outputs = notebook.cells[0].outputs
    (figure,) = (o["data"][PLOTLY] for o in outputs if PLOTLY in o.get("data", {}))
    steps = figure["data"][0]["x"]  # as plotly sends numbers: base64
    assert np.frombuffer(base64.b64decode(steps["bdata"]), steps["dtype"]).tolist() == [
        1,
        2,
        3,
        4,
        5,
    ]
    printed = "".join(o.get("text", "") for o in outputs)
    assert printed.count("drawn" if live == "on" else "waiting") == 5
