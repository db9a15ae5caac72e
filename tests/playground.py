"""The playground's two scripts, which lie beside it and not in a package."""

import importlib.util
import sys
from pathlib import Path

FOLDER = Path(__file__).parents[1] / "site" / "playground"


def script(name):
    """site/playground/NAME.py as a module."""
    full = f"playground_{name}"
    if full not in sys.modules:
        spec = importlib.util.spec_from_file_location(full, FOLDER / f"{name}.py")
        sys.modules[full] = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(sys.modules[full])
    return sys.modules[full]
