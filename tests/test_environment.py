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
PACKAGE = ROOT / "facog_lab"
# Folders that may import the whole workbench, and single files elsewhere that need more than the
# training core: scikit-learn's interface, statistics, and what runs notebooks.
WORKBENCH = {"plots", "ui", "cli", "estimators"}
MORE = {
    *(f"study.{name}" for name in ("arranged", "clusters", "ladder", "literals", "report")),
    "study.run_notebook",
    *(f"study.{name}" for name in ("significance", "sweep", "sweep_points", "sweep_tables")),
}


def modules():
    """Every module of the package, its name after `facog_lab.`."""
    paths = (path.relative_to(PACKAGE).with_suffix("") for path in PACKAGE.rglob("*.py"))
    return {".".join(path.parts) for path in paths if path.name not in ("__init__", "__main__")}


CORE = {name for name in modules() - MORE if name.split(".")[0] not in WORKBENCH}


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


def importing(*packages):
    """The modules with an import of one of these packages anywhere in them."""
    pattern = rf"^\s*(import|from) ({'|'.join(packages)})\b"
    return {
        name
        for name in modules()
        if re.search(pattern, (PACKAGE / f"{name.replace('.', '/')}.py").read_text(), re.M)
    }


def test_widgets_and_figures_are_made_where_they_belong():
    assert {name.split(".")[0] for name in importing("ipywidgets", "anywidget")} == {"ui"}
    # a live figure is a widget, and a page shows figures
    assert {n.split(".")[0] for n in importing("plotly")} == {"plots", "ui", "cli"}
    assert importing("umap", "openTSNE") == {"plots.embedding"}


def test_what_takes_seconds_to_import_waits_until_it_is_needed():
    # oversampler is for users of imbalanced-learn, demo a command, live_scatter and figure_widget
    # are live figures, and run_notebook is what workers of a sweep import
    later = {"estimators.oversampler", "cli.demo", "ui.live_scatter", "ui.figure_widget"}
    later |= {"study.run_notebook"}
    slow = {"torchvision", "plotly.io", "nbformat", "scipy.stats", "sklearn", "umap", "openTSNE"}
    names = [f"facog_lab.{name}" for name in sorted(modules() - later)]
    script = f"import sys, {', '.join(names)}; print(*sys.modules)"
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
    names = [f"facog_lab.{name}" for name in sorted(CORE)] + ["facog_lab.cli.tables"]
    done = subprocess.run(
        [sys.executable, "-c", IMPORT_THE_CORE],
        input=json.dumps([names, sorted(blocked)]),
        capture_output=True,
        text=True,
        cwd=ROOT,
    )
    assert done.returncode == 0, done.stderr
