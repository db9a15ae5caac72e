import re
import shutil
import subprocess
import sys

import nbformat
import plotly.graph_objects as go
import pytest
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook, new_output

from facog_lab.cli import demo
from facog_lab.paths import StoreError
from facog_lab.plots import in_words

TEXT = r"""
# Title & more

A loss $\mathcal L_{sc} < 1$ of $f \in \mathbb R^D$, see [01](01_phase1.ipynb) and
[elsewhere](https://example.org/a.ipynb); `$5` is code.

$$\sum_i w_i = 1 \qquad (2)$$
"""
# Whatever a browser would load by itself from another host.
FROM_ELSEWHERE = re.compile(r"<(?:script|link|img|iframe)[^>]+(?:src|href)=[\"']?(?:https?:)?//")


def executed(tmp_path, *outputs):
    """An executed notebook with these outputs."""
    cell = new_code_cell("figure", execution_count=1, outputs=list(outputs))
    path = tmp_path / "00_some.ipynb"
    nbformat.write(new_notebook(cells=[new_markdown_cell(TEXT), cell]), path)
    return demo.Done(path, "Title & more", "What?", 1.4, "")


def figure_output():
    figure = go.Figure(go.Bar(x=[1, 2], y=[3, 4], name="</script>"))
    data = {demo.PLOTLY: figure.to_plotly_json(), "text/plain": "a figure"}
    return new_output("display_data", data)


def test_a_page_needs_no_network(tmp_path):
    page = demo.write_page(executed(tmp_path, figure_output())).read_text()
    assert not FROM_ELSEWHERE.search(page)
    assert page.index('<script src="plotly.min.js">') < page.index("Plotly.newPlot")
    assert "<title>Title &amp; more</title>" in page


def test_every_figure_of_a_page_is_there_in_words(tmp_path):
    said = in_words.alternative(go.Figure(go.Bar(x=["of the notebook"], y=[1])))
    shown = figure_output()
    page = demo.write_page(
        executed(tmp_path, shown, new_output("display_data", {"text/html": said}), shown)
    ).read_text()
    words = re.findall(r'<div aria-label="([^"]*)" class="facog-in-words" role="img"', page)
    assert words == ["1 at 3, 2 at 4."] * 2
    assert "of the notebook" not in page


def test_equations_are_mathml(tmp_path):
    page = demo.write_page(executed(tmp_path)).read_text()
    assert page.count("<math ") == 3
    assert page.count('display="block"') == 1
    assert "ℒ" in page
    assert "ℝ" in page
    assert "mathcal" not in page
    assert "<code>$5</code>" in page


def test_links_to_notebooks_lead_to_pages(tmp_path):
    page = demo.write_page(executed(tmp_path)).read_text()
    assert 'href="01_phase1.html"' in page
    assert 'href="https://example.org/a.ipynb"' in page


def test_other_outputs_stay(tmp_path):
    printed = new_output("stream", name="stdout", text="a < b")
    assert "a &lt; b" in demo.write_page(executed(tmp_path, printed)).read_text()


@pytest.mark.skipif(not shutil.which("chromium"), reason="needs the program chromium")
def test_a_browser_draws_the_figures(tmp_path):
    page = demo.write_page(executed(tmp_path, figure_output()))
    (tmp_path / "plotly.min.js").write_text(demo.get_plotlyjs())
    flags = ["--headless", "--no-sandbox", "--disable-gpu", "--virtual-time-budget=5000"]
    offline = "--host-resolver-rules=MAP * ~NOTFOUND"
    profile = f"--user-data-dir={tmp_path / 'profile'}"
    drawn = subprocess.run(
        ["chromium", *flags, offline, profile, "--dump-dom", page.as_uri()],
        capture_output=True,
        text=True,
        timeout=60,
    ).stdout
    assert drawn.count('class="point"') == 2  # bars
    drawings = re.findall(r'<svg class="main-svg"[^>]*>', drawn)
    assert drawings
    assert all('aria-hidden="true"' in drawing for drawing in drawings)  # the words are read


def test_the_index_links_and_escapes():
    done = [
        demo.Done(demo.Path("00_a.ipynb"), "A & B", "What is $N_s$?", 3.6, ""),
        demo.Done(demo.Path("01_b.ipynb"), "B", "Why?", 1.0, "cell In [2] failed with E: <b>"),
    ]
    page = demo.index_page(done)
    assert '<a href="demo/00_a.html">A &amp; B</a> <small>4 s</small>' in page
    assert "<math " in page
    assert "cell In [2] failed with E: &lt;b&gt;" in page
    assert "Why?" not in page
    assert 'role="note"' not in page
    assert not FROM_ELSEWHERE.search(page)


def test_the_index_says_what_a_notebook_called_out():
    alarms = ("Phase 1 is underfit: <b> 12%", "another")
    done = [demo.Done(demo.Path("03_c.ipynb"), "C", "What?", 1.0, "", alarms)]
    page = demo.index_page(done)
    assert '<p role="note">⚠ Phase 1 is underfit: &lt;b&gt; 12%</p>' in page
    assert page.count('role="note"') == 2


def test_alarms_are_read_from_the_executed_notebook(tmp_path, monkeypatch):
    monkeypatch.setenv("FACOG_OUTPUTS", str(tmp_path / "outputs"))
    heading = new_markdown_cell("# A\n\n**Question.** Why?")
    cell = new_code_cell("from facog_lab.study import report; report.alarms(['it is underfit'])")
    made = new_notebook(cells=[heading, cell])
    made.metadata["kernelspec"] = {"name": "python3", "display_name": "", "language": "python"}
    nbformat.write(made, tmp_path / "01_a.ipynb")
    (tmp_path / "demo").mkdir()
    done = demo.execute(tmp_path / "01_a.ipynb", tmp_path / "demo")
    assert done.alarms == ("it is underfit",)
    assert "⚠ it is underfit" in demo.write_page(done).read_text()


def test_a_failing_notebook_is_kept_and_named(tmp_path, monkeypatch, capsys):
    (tmp_path / "notebooks").mkdir()
    cells = {
        "00_good": ["import sys; print(sys.executable)"],
        "01_bad": ["a = 1", "a / 0"],
        "02_never": ["b = 1"],
    }
    for name, sources in cells.items():
        heading = new_markdown_cell(f"# {name}\n\n**Question.** Does it run? It may.")
        made = new_notebook(cells=[heading, *map(new_code_cell, sources)])
        made.metadata["kernelspec"] = {"name": "python3", "display_name": "", "language": "python"}
        nbformat.write(made, tmp_path / "notebooks" / f"{name}.ipynb")
    another = tmp_path / "jupyter" / "kernels" / "python3"  # of the same name, and broken
    another.mkdir(parents=True)
    (another / "kernel.json").write_text('{"argv": ["/none"], "display_name": "no"}')
    monkeypatch.setenv("JUPYTER_PATH", str(tmp_path / "jupyter"))
    monkeypatch.setenv("FACOG_OUTPUTS", str(tmp_path / "outputs"))
    monkeypatch.setattr(demo, "project_root", lambda: tmp_path)

    assert demo.main([]) == 1
    shown = capsys.readouterr().out
    assert "01_bad.ipynb: cell In [2] failed with ZeroDivisionError: division by zero" in shown
    assert "02_never" not in shown
    folder = tmp_path / "outputs" / "demo"
    assert sys.executable in (folder / "00_good.html").read_text()
    assert "ZeroDivisionError" in (folder / "01_bad.html").read_text()
    assert nbformat.read(folder / "01_bad.ipynb", 4)
    index = (tmp_path / "outputs" / "index.html").read_text()
    assert "Does it run?" in index
    assert "It may" not in index
    assert "cell In [2] failed" in index


def test_pages_are_not_written_through_links(tmp_path, monkeypatch, capsys):
    """A folder of runs may come from somebody else."""
    (tmp_path / "notebooks").mkdir()
    made = new_notebook(cells=[new_markdown_cell("# A\n\n**Question.** B?"), new_code_cell("1")])
    nbformat.write(made, tmp_path / "notebooks" / "00_good.ipynb")
    monkeypatch.setenv("FACOG_OUTPUTS", str(tmp_path / "outputs"))
    monkeypatch.setattr(demo, "project_root", lambda: tmp_path)
    precious = tmp_path / "precious"
    folder = tmp_path / "outputs" / "demo"
    folder.mkdir(parents=True)
    for name in ("00_good.ipynb", "00_good.html", "plotly.min.js", "../index.html"):
        (folder / name).symlink_to(precious)
    precious.write_text("precious")
    assert demo.main([]) == 0
    assert precious.read_text() == "precious"
    assert not any(path.is_symlink() for path in (tmp_path / "outputs").rglob("*"))


def test_a_file_in_the_place_of_the_outputs_is_said(tmp_path, monkeypatch):
    (tmp_path / "outputs").write_text("a file")
    monkeypatch.setenv("FACOG_OUTPUTS", str(tmp_path / "outputs"))
    with pytest.raises(StoreError, match="outputs is a file, and a folder belongs there"):
        demo.main([])
