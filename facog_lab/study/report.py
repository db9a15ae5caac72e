"""What a notebook reports: shown in it, and read by what executes it.

report.scores(acsa=0.93, gm=0.92)
report.alarms(["Phase 1 is underfit: ..."])
"""

from __future__ import annotations

import html
import math
from collections.abc import Sequence
from typing import Any

from IPython.display import display

MIME = "application/vnd.facog.scores+json"
ALARMS = "application/vnd.facog.alarms+json"
ALARM = "border-left:4px solid #e76300;padding:2px 10px;margin:6px 0;line-height:1.4"


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


def alarms(texts: Sequence[str]) -> None:
    """Shows warnings, where the demo's first page finds them; nothing if there are none.

    Args:
        texts: of `plots.diagnostics`.
    """
    if texts:
        marked = [f"⚠ {text}" for text in texts]
        page = "".join(f'<p role="alert" style="{ALARM}">{html.escape(t)}</p>' for t in marked)
        display({ALARMS: list(texts), "text/html": page, "text/plain": "\n".join(marked)}, raw=True)


def found_alarms(notebook: Any) -> list[str]:
    """All alarms of an executed notebook (nbformat's), each once."""
    outputs = (output for cell in notebook.cells for output in cell.get("outputs", []))
    texts = (text for output in outputs for text in output.get("data", {}).get(ALARMS, []))
    return list(dict.fromkeys(map(str, texts)))
