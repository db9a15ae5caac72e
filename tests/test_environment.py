"""One list of dependencies, the same for conda, and a training core that needs few of them."""

import json
import re
import subprocess
import sys
import tomllib
from importlib.metadata import PackageNotFoundError, packages_distributions, requires

import yaml
from conftest import ROOT
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

CONDA_NAMES = {"torch": "pytorch"}  # where conda-forge has another name than PyPI
CORE_NEEDS = {"torch", "torchvision", "numpy", "pydantic", "safetensors", "filelock"}
CORE = {
    *("config", "draws", "datasets", "sources", "files", "images", "augment", "autoaugment"),
    *("audit", "contents", "folders", "layout", "listing", "lists", "long_tail"),
    *(
        "models",
        "losses",
        "loop",
        "rewind",
        "phase1",
        "dictionary",
        "oversamplers",
        "phase2",
        "metrics",
    ),
    *(
        "store",
        "mapped",
        "manifests",
        "disk",
        "machine",
        "packing",
        "presets",
        "progress",
        "pipeline",
        "resumable",
        "processes",
        "launch",
        "prefetch",
        "controls",
        "steering",
        "verify",
        "method",
    ),
    *("rebalanced_losses", "contrastive_rivals", "objectives", "rebalancing", "rivals"),
    *("smote", "adversarial", "borrowing", "makers"),
    *("cells", "paper", "paper_tables", "published", "results"),
}
WORKBENCH = {
    *("alarms", "atlas", "dashboard", "demo", "embedding", "explorers", "figures", "knobs"),
    *("live_figure", "maps", "mouse", "moving", "page", "panels", "parameters", "pictures"),
    *(
        "portraits",
        "comparisons",
        "result_figures",
        "columns",
        "provenance",
        "sampler",
        "theme",
        "timelines",
    ),
    *("triptych", "width", "worker", "figure_widget", "in_words", "sliders"),
    *("compiled", "kept_maps", "clusters"),
    *("execution", "in_use", "literals", "points", "report"),
    *("sweep", "sweep_figures", "sweep_tables"),
}

WIDGETS = {"panels", "knobs", "page", "width", "sliders", "explorers", "atlas", "mouse"} | {
    "figure_widget"
}
FIGURES = {
    "figures",
    "theme",
    "pictures",
    "portraits",
    "maps",
    "dashboard",
    "timelines",
    "moving",
    "figure_widget",
} | {"result_figures", "sweep_figures"}


def pyproject():
    return tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]


def test_conda_users_get_the_same_environment():
    project = pyproject()
    wanted = [f"python{project['requires-python']}", "pip"]
    for line in [*project["dependencies"], *project["optional-dependencies"]["dev"]]:
        name, bound = re.fullmatch(r"([\w-]+)(>=[\d.]+)", line).groups()
        wanted.append(CONDA_NAMES.get(name, canonicalize_name(name)) + bound)
    *listed, from_pip = yaml.safe_load((ROOT / "environment.yml").read_text())["dependencies"]
    assert listed == wanted
    assert from_pip == {"pip": ["-e ."]}


def test_every_module_is_core_or_workbench():
    there = {path.stem for path in (ROOT / "facog_lab").glob("*.py")} - {"__init__"}
    assert there == CORE | WORKBENCH


def importing(*packages):
    """The modules with an import of one of these packages anywhere in them."""
    pattern = rf"^\s*(import|from) ({'|'.join(packages)})\b"
    sources = (ROOT / "facog_lab").glob("*.py")
    return {path.stem for path in sources if re.search(pattern, path.read_text(), re.M)}


def test_widgets_and_figures_are_made_where_they_belong():
    assert importing("ipywidgets", "anywidget") == WIDGETS
    assert importing("plotly") == FIGURES | {"demo"}  # which puts figures on a page
    assert importing("umap", "openTSNE") == {"embedding"}


def test_what_takes_seconds_to_import_waits_until_it_is_needed():
    # sampler is for users of imbalanced-learn, demo a command, moving and figure_widget are live
    # figures, and execution is what workers of a sweep import
    later = {"sampler", "demo", "moving", "figure_widget", "execution"}
    modules = sorted((CORE | WORKBENCH) - later)
    slow = {"torchvision", "plotly.io", "nbformat", "scipy.stats", "sklearn", "umap", "openTSNE"}
    script = f"import sys; from facog_lab import {', '.join(modules)}; print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert not slow & set(done.stdout.split())


def closure(names):
    """Distributions by canonical name, and all that they need on this machine."""
    found, open_names = set(), [canonicalize_name(name) for name in names]
    while open_names:
        name = open_names.pop()
        if name not in found:
            found.add(name)
            try:
                needed = [Requirement(line) for line in requires(name) or []]
            except PackageNotFoundError:  # optional on this platform
                continue
            open_names += [
                canonicalize_name(r.name)
                for r in needed
                if r.marker is None or r.marker.evaluate({"extra": ""})
            ]
    return found


IMPORT_THE_CORE = '''
import importlib, json, sys

modules, blocked = json.loads(sys.stdin.read())

class Without:
    """A finder that does not find what is blocked."""

    def __init__(self, finder):
        self.finder = finder

    def __getattr__(self, name):
        return getattr(self.finder, name)

    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] not in blocked:
            return self.finder.find_spec(name, path, target)

sys.meta_path[:] = [Without(finder) for finder in sys.meta_path]
try:
    import tqdm
except ModuleNotFoundError:
    pass
else:
    raise SystemExit("nothing is blocked")
for module in modules:
    importlib.import_module(module)
'''


def test_the_training_core_imports_with_five_packages():
    distributions = closure(CORE_NEEDS)
    blocked = {
        module
        for module, of in packages_distributions().items()
        if not any(canonicalize_name(name) in distributions for name in of)
    } - {"facog_lab", "benchmarks"}
    assert blocked >= {"sklearn", "scipy", "IPython", "ipywidgets", "plotly", "pandas", "tqdm"}
    assert not blocked & {"torch", "torchvision", "numpy", "PIL", "pydantic", "safetensors"}
    modules = [f"facog_lab.{name}" for name in sorted(CORE)] + ["benchmarks.paper_tables"]
    done = subprocess.run(
        [sys.executable, "-c", IMPORT_THE_CORE],
        input=json.dumps([modules, sorted(blocked)]),
        capture_output=True,
        text=True,
        cwd=ROOT,
    )
    assert done.returncode == 0, done.stderr
