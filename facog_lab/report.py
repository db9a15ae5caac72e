"""What a notebook reports: one line in it, and whoever executes it finds the figures by name.

report.scores(acsa=0.93, gm=0.92)
"""

from __future__ import annotations

import math
from typing import Any

from IPython.display import display

MIME = "application/vnd.facog.scores+json"


def scores(**values: float | str | None) -> None:
    """Puts figures into the executed notebook, where a sweep finds them; shown as one line.

    Args:
        values: by name. What is no finite number is kept as missing; later ones of the same name
            take the place of earlier ones.
    """
    kept = {
        name: None if isinstance(value, float) and not math.isfinite(value) else value
        for name, value in values.items()
    }
    line = ", ".join(
        f"{k} {v:.4g}" if isinstance(v, float) else f"{k} {v}" for k, v in kept.items()
    )
    display({MIME: kept, "text/plain": line}, raw=True)


def found(notebook: Any) -> dict[str, Any]:
    """All that an executed notebook (nbformat's) reported."""
    reported: dict[str, Any] = {}
    for cell in notebook.cells:
        for output in cell.get("outputs", []):
            reported |= output.get("data", {}).get(MIME, {})
    return reported
