"""Notebook 03, all cells, again and again in a real browser: how often a figure is blank.

    python -m benchmarks.all_cells --runs 20 --out all_cells.json

Each run has a kernel, a page and a cache of its own, since what made figures blank was how a page
came up. The panel is looked at while the cells below it run, and all figures at the end: a subplot
is blank if it shows fewer traces than have points. `--slow 6` gives the page a sixth of its
processor. Needs `pip install -e '.[browser]'` and Chromium.
"""

from __future__ import annotations

import argparse
import sys
import time
from pathlib import Path
from typing import Any

from benchmarks.browser import desk
from benchmarks.rows import row, write

SETTLED = 15.0  # seconds in which a page has drawn all, after the last cell
# Traces with points of the panel's figures, as the kernel has them and as a page has them.
HAS = "[sum(bool(t.x is not None and len(t.x)) for t in f.data) for f in (run.chart, run.board)]"
TRACES = "graph => graph.data.filter(trace => trace.x?.length).length"


def blank(opened: Any, looks: Any) -> list[str]:
    """What is not shown of the figures that are in the page; empty if all is."""
    graphs = opened.panel.locator(".js-plotly-plot")
    shown = [graphs.nth(k) for k in range(graphs.count())]
    found = [f"figure {k + 1}: {name}" for k, g in enumerate(shown) for name in g.evaluate(looks)]
    has = opened.ask_kernel(HAS)
    there = [graph.evaluate(TRACES) for graph in shown[:2]]
    return found if there == has else [*found, f"the panel: {there} of {has} traces with points"]


def once(at: Any, slow: float) -> tuple[list[str], float]:
    """Runs all cells in a new kernel and page; what stayed blank, and seconds."""
    context = at.browser.new_context(viewport={"width": 1366, "height": 768})
    context.set_default_timeout(60_000)
    opened = at.lab.open(context.new_page(), "03_phase2")
    try:
        if slow > 1:
            session = context.new_cdp_session(opened.page)
            session.send("Emulation.setCPUThrottlingRate", {"rate": slow})
        began = time.monotonic()
        opened.run_all(900)
        took = time.monotonic() - began
        until = time.monotonic() + SETTLED * slow
        while (found := blank(opened, at.tests.BLANK)) and time.monotonic() < until:
            opened.page.wait_for_timeout(500)
        for name in ("Step", "Step", "Start", "Pause"):
            opened.button(name).click()
            opened.page.wait_for_timeout(2000 * slow)
            found += [f"after {name}: {text}" for text in blank(opened, at.tests.BLANK)]
        return found, took
    finally:
        for kernel in opened.kernels():
            at.lab.ask("DELETE", f"kernels/{kernel['id']}")
        context.close()


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--runs", type=int, default=20)
    parser.add_argument("--slow", type=float, default=1.0, help="share of a processor, inverted")
    parser.add_argument("--out", type=Path, help="a JSON file for the row")
    options = parser.parse_args()
    counts = []
    with desk() as at:
        for run in range(1, options.runs + 1):
            found, took = once(at, options.slow)
            counts.append(len(found))
            print(f"run {run}: {took:.0f} s, blank: {found or 'nothing'}", flush=True)
    name = f"03: blank figures in {options.runs} runs of all cells"
    name += f", the page on 1/{options.slow:g} of a processor" if options.slow > 1 else ""
    rows = [row(name, counts, "", 0, most=True, of=sum)]
    sys.exit(not write(rows, options.out, "python -m benchmarks.all_cells"))


if __name__ == "__main__":
    main()
