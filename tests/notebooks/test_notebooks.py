"""The notebooks, executed as a person would: papermill on the command line."""

import ast
import json
import re

import nbformat
import pytest
import torch
from conftest import ROOT
from executed import outputs_of, papermill

from facog_lab import runs
from facog_lab.plots import embedding
from facog_lab.plots.charts import class_colours
from facog_lab.runs import checkpoint, presets, replay
from facog_lab.study import ladder, report, significance, sweep
from facog_lab.study.arranged import BenchmarkConfig
from facog_lab.ui import parameters

NOTEBOOKS = sorted((ROOT / "notebooks").glob("0[0-79]_*.ipynb"))
# Two of 09's points: on shared cores the whole sweep takes minutes.
OPTIONS = {"09_sweep": ("-y", "grid: {imbalance_ratio: [20.0], n_s: [1, 5], seed: [0]}")}
PLOTLY = "application/vnd.plotly.v1+json"

pytestmark = pytest.mark.first


@pytest.fixture(scope="module")
def executed(tmp_path_factory):
    """All notebooks run in order into one outputs folder, from a folder outside the project."""
    folder = tmp_path_factory.mktemp("executed")
    results = {}
    for notebook in NOTEBOOKS:
        out = folder / notebook.name
        options = OPTIONS.get(notebook.stem, ())
        run = papermill(str(notebook), str(out), *options, cwd=folder, outputs=folder / "outputs")
        assert run.returncode == 0, run.stderr[-3000:]
        results[notebook.stem] = out
    return results


class TestExecuted:
    @pytest.mark.parametrize("stem", [n.stem for n in NOTEBOOKS])
    def test_figures_hold_data_and_nothing_warns(self, executed, stem):
        outputs = outputs_of(executed[stem])
        figures = [o["data"][PLOTLY] for o in outputs if PLOTLY in o.get("data", {})]
        assert len(figures) >= 2
        for figure in figures:
            assert figure["data"], "an empty figure"
            assert figure["config"]["showSendToCloud"] is False
        warnings = [o["text"] for o in outputs if o.get("name") == "stderr"]
        assert warnings == []
        assert executed[stem].stat().st_size < 1_000_000
        assert "widgets" not in nbformat.read(executed[stem], as_version=4).metadata

    def test_03_has_the_numbers_of_plain_python(self, executed, monkeypatch):
        """The run that the panel's cell made without a front end, against a bare loop."""
        monkeypatch.setenv("FACOG_OUTPUTS", str(executed["03_phase2"].parent / "outputs"))
        threads = torch.get_num_threads()
        torch.set_num_threads(1)  # as the notebook had
        try:
            loop = replay.start(runs.open(presets.experiment(), "cpu"))
            for _ in loop:
                pass
        finally:
            torch.set_num_threads(threads)
        made = runs.open(presets.experiment(), "cpu").phase2
        assert made.complete
        one, two = checkpoint.state(made.loop), checkpoint.state(loop)
        assert all(torch.equal(one[name], two[name]) for name in one)
        assert made.history == loop.history

    def test_progress_is_plain_lines(self, executed):
        text = "".join(o.get("text", "") for o in outputs_of(executed["01_phase1"]))
        assert "\r" not in text

    def test_03_shows_every_null_baseline(self, executed):
        page = json.dumps([o.get("data", {}) for o in outputs_of(executed["03_phase2"])])
        for method in ("phase1", "facog", "random_oversampling", "uniform_weights"):
            assert method in page

    def test_09_has_a_row_a_point_and_makes_what_they_share_once(self, executed):
        outputs = executed["09_sweep"].parent / "outputs"
        rows = [json.loads(p.read_text()) for p in outputs.glob("sweeps/03_phase2/*/row.json")]
        assert {(r["values"]["n_s"], r["values"]["seed"]) for r in rows} == {(1, 0), (5, 0)}
        made = [
            path.read_text().count("Phase 1, digits: 80 steps in")
            for path in outputs.glob("sweeps/03_phase2/*/executed.ipynb")
        ]
        assert sorted(made) == [0, 1]
        text = "".join(o["data"].get("text/html", "") for o in outputs_of(executed["09_sweep"])
                       if "data" in o)  # fmt: skip
        targets = set(re.findall(r'href="(outputs/sweeps/03_phase2/\w+/executed.ipynb)"', text))
        assert len(targets) == 2
        assert all((outputs.parent / target).exists() for target in targets)
        assert "2 of 2 points, 0 failed" in text

    def test_every_notebook_shows_the_settings_in_use(self, executed):
        """What a parameter left to the preset became, in the cell after the parameters."""
        for notebook in NOTEBOOKS[:7]:
            cells = nbformat.read(executed[notebook.stem], as_version=4).cells
            (at,) = (i for i, c in enumerate(cells) if "parameters" in c.metadata.get("tags", []))
            shown = [o["data"] for o in cells[at + 1].outputs if "data" in o]
            assert any("<details>" in data.get("text/html", "") for data in shown), notebook.stem
            (text,) = (d["text/plain"] for d in shown if "<details>" in d.get("text/html", ""))
            usual = "profile='gamo'" if notebook.stem[1] in "56" else "imbalance_ratio=20.0"
            assert usual in text
            if notebook.stem[1] != "0":
                assert "epochs=60" in text

    def test_a_network_that_has_learned_raises_no_alarm(self, executed):
        for stem, path in executed.items():
            assert report.found_alarms(nbformat.read(path, as_version=4)) == [], stem

    def test_a_class_has_one_colour_in_every_figure(self, executed):
        """Ten classes, ten colours; the maps of 04 use them by class."""
        figures = [
            o["data"][PLOTLY] for o in outputs_of(executed["04_embeddings"])
            if PLOTLY in o.get("data", {})
        ]  # fmt: skip
        colours = {}
        for figure in figures:
            for trace in figure["data"]:
                if trace.get("name") in map(str, range(10)) and trace["marker"].get("color"):
                    colours.setdefault(trace["name"], set()).add(trace["marker"]["color"])
        assert len(colours) == 10
        for name, seen in colours.items():
            assert seen == {class_colours(10)[int(name)]}


@pytest.mark.parametrize("notebook", NOTEBOOKS, ids=lambda p: p.stem)
class TestSource:
    def test_no_outputs_classes_or_long_functions(self, notebook):
        cells = nbformat.read(notebook, as_version=4).cells
        code = [c for c in cells if c.cell_type == "code"]
        assert all(not c.outputs and c.execution_count is None for c in code)
        made = [node for c in code for node in ast.walk(ast.parse(c.source))]
        assert not any(isinstance(node, ast.ClassDef) for node in made)
        functions = [node for node in made if isinstance(node, ast.FunctionDef)]
        assert all(node.end_lineno - node.lineno < 5 for node in functions)
        assert sum("parameters" in c.metadata.get("tags", []) for c in code) == 1
        assert "parameters.guard()" in code[0].source
        assert nbformat.read(notebook, as_version=4).metadata.kernelspec.name == "python3"

    def test_parameters_are_typed_commented_and_read_by_papermill(self, notebook):
        from papermill.inspection import _infer_parameters
        from papermill.iorw import load_notebook_node

        for parameter in _infer_parameters(load_notebook_node(str(notebook))):
            assert parameter.inferred_type_name not in ("None", ""), parameter
            assert len(parameter.help) > 10, parameter

    def test_defaults_are_the_presets(self, notebook):
        """A notebook run as it is means the same as the package with no settings at all."""
        cells = [c for c in nbformat.read(notebook, as_version=4).cells if c.cell_type == "code"]
        (cell,) = (c for c in cells if "parameters" in c.metadata.get("tags", []))
        values = {
            line.target.id: ast.literal_eval(line.value) for line in ast.parse(cell.source).body
        }
        checks = "".join(c.source for c in cells)
        main = re.search(r'parameters\.check\(main="(\w+)"', checks)[1]
        name = re.search(r"extra=([\w.]+)", checks)
        configs = {"embedding.MapConfig": embedding.MapConfig,
                   "significance.StudyConfig": significance.StudyConfig,
                   "BenchmarkConfig": BenchmarkConfig,
                   "ladder.CeilingView": ladder.CeilingView,
                   "sweep.SweepConfig": sweep.SweepConfig}  # fmt: skip
        extra = configs[name[1]] if name else None
        settings = parameters.from_values(values, main, extra)
        usual = presets.experiment(data={"dataset": values["dataset"]})
        for stage in ("data", "phase1", "dictionary", "phase2"):
            assert getattr(settings, stage) == getattr(usual, stage)
        if extra is not None:
            assert settings.extra == extra()
