"""The notebooks from a command line: on a fresh clone, with few epochs, with a bad parameter."""

import os
import re
import shutil
import subprocess
import sys

import nbformat
import pytest
from conftest import ROOT
from executed import outputs_of, papermill

from facog_lab.study import report

pytestmark = pytest.mark.first


@pytest.mark.parametrize(
    ("stem", "epochs"),
    [
        ("01_phase1", "epochs"),
        pytest.param("03_phase2", "phase1_epochs", marks=pytest.mark.long),
    ],
)
def test_a_network_that_stays_underfit_is_called_out(stem, epochs, tmp_path):
    out = tmp_path / "out.ipynb"
    options = ["-p", epochs, "2", *(["-p", "epochs", "2"] if epochs != "epochs" else [])]
    run = papermill(
        str(ROOT / "notebooks" / f"{stem}.ipynb"), str(out), *options,
        cwd=tmp_path, outputs=tmp_path / "outputs",
    )  # fmt: skip
    assert run.returncode == 0, run.stderr[-3000:]
    (alarm,) = report.found_alarms(nbformat.read(out, as_version=4))
    assert re.match(r"Phase 1 is underfit: .* \d+%, as a mean .*guessing gives 10%", alarm)


def test_a_bad_parameter_ends_before_any_work(tmp_path):
    run = papermill(
        str(ROOT / "notebooks" / "03_phase2.ipynb"), "out.ipynb", "-p", "n_s", "99",
        cwd=tmp_path, outputs=tmp_path / "outputs",
    )  # fmt: skip
    assert run.returncode != 0
    assert re.search(r"n_s = 99: .*at least 1, at most 20", run.stderr)
    assert not (tmp_path / "outputs").exists()


def test_the_contract_on_a_fresh_clone(tmp_path):
    """`cd notebooks && papermill 03_phase2.ipynb out.ipynb -p n_s 5`, twice, for two values."""
    if shutil.which("git") is None or not (ROOT / ".git").exists():
        pytest.skip("this is not a git checkout, so there is nothing to clone")
    clone = tmp_path / "clone"
    subprocess.run(["git", "clone", "-q", ROOT.as_uri(), clone], check=True)
    environment = os.environ | {"PYTHONPATH": str(clone), "OMP_NUM_THREADS": "1"}
    environment.pop("FACOG_OUTPUTS", None)
    # Few epochs; test_notebooks.py runs the usual ones.
    command = "papermill 03_phase2.ipynb out.ipynb -p phase1_epochs 2 -p epochs 2 -p n_s"
    printed = []
    for n_s in ("5", "3"):
        subprocess.run(
            [sys.executable, "-m", *command.split(), n_s],
            cwd=clone / "notebooks",
            env=environment,
            check=True,
            capture_output=True,
            timeout=500,
        )
        outputs = outputs_of(clone / "notebooks" / "out.ipynb")
        printed.append("".join(o.get("text", "") for o in outputs))
        shown = "".join(o.get("data", {}).get("text/plain", "") for o in outputs)
        assert f"n_s={n_s}" in shown  # the settings
    assert "Phase 1, digits" in printed[0]  # made, with progress
    assert "Phase 1, digits" not in printed[1]  # reused
    made = clone / "outputs" / "digits"
    assert len(list((made / "phase1").iterdir())) == 1
    assert len(list((made / "phase2").iterdir())) == 10  # FACoG, nulls, one's own: twice
