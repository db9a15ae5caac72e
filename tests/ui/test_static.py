"""The pages' JavaScript and CSS: files that are packaged, used, and can be read by a browser."""

import re
import shutil
import subprocess
import tomllib

import pytest
from conftest import ROOT

from facog_lab.ui import STATIC

SCRIPTS = sorted(STATIC.glob("*.js"))
NODE = shutil.which("node")


@pytest.mark.skipif(NODE is None, reason="needs node, which reads JavaScript; no package has it")
@pytest.mark.parametrize("script", SCRIPTS, ids=lambda script: script.name)
def test_a_script_is_a_module_without_errors(script, tmp_path):
    module = tmp_path / f"{script.stem}.mjs"  # by this ending node knows what it is
    shutil.copyfile(script, module)
    done = subprocess.run([NODE, "--check", module], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def test_every_file_is_used_and_every_file_that_is_used_is_there():
    sources = "".join(path.read_text() for path in STATIC.parent.glob("*.py"))
    used = re.findall(r'STATIC / "([^"]+)"', sources)
    assert sorted(used) == sorted(path.name for path in STATIC.iterdir())


def test_what_is_no_python_is_packaged():
    """Setuptools leaves out all files but Python's that no pattern names."""
    settings = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["setuptools"]
    packaged = {
        path
        for package, patterns in settings["package-data"].items()
        for pattern in patterns
        for path in ROOT.joinpath(*package.split(".")).glob(pattern)
    }
    listed = subprocess.run(
        ["git", "ls-files", "--cached", "--others", "--exclude-standard", "facog_lab"],
        cwd=ROOT, capture_output=True, text=True,
    )  # fmt: skip
    if listed.returncode:
        pytest.skip("needs git, which tells the package's files from others beside them")
    others = {path for name in listed.stdout.split() if (path := ROOT / name).suffix != ".py"}
    assert packaged == {path for path in others if path.is_file()}


def test_no_widget_has_javascript_in_a_string():
    for path in STATIC.parent.glob("*.py"):
        assert not re.search(r"=>|\bconst \w+ =|document\.", path.read_text()), path.name
