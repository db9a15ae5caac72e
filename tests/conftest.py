import sys
from pathlib import Path

import pytest
import torch

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(Path(__file__).parent))  # for tests/reference


@pytest.hookimpl(tryfirst=True)  # before -m chooses
def pytest_collection_modifyitems(items):
    """What takes minutes is begun first, so that no process waits for another at the end."""
    for item in items:
        if ROOT / "tests" / "faults" in item.path.parents:
            item.add_marker(pytest.mark.faults)
    items.sort(key=lambda item: item.get_closest_marker("first") is None)


@pytest.fixture(autouse=True)
def _one_thread():
    """Results on a CPU may depend on the number of threads: tests fix it."""
    torch.set_num_threads(1)


@pytest.fixture
def outputs(tmp_path, monkeypatch):
    """A folder of its own for runs."""
    monkeypatch.setenv("FACOG_OUTPUTS", str(tmp_path / "outputs"))
    return tmp_path / "outputs"
