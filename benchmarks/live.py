"""Notebook 03's panel in a real browser: how soon it answers, how often it draws, what it costs.

    python -m benchmarks.live --out live.json

Digits, JupyterLab, headless Chromium that draws by software; the training thread runs as fast as it
can. Needs `pip install -e '.[browser]'` and Chromium. Figures of the headless loop and of the panel
are taken by turns in one kernel, while the page is open.
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path
from typing import Any

from benchmarks.browser import desk
from benchmarks.rows import row, write

MOVES, DOWN, BETWEEN = 50, 20, 400  # keys pressed, the first of them down, ms between them
TURNS, TURN_SECONDS = 7, 4.0
MEMORY_STEPS = 10_000
MEMORY_FROM = 1_000  # steps after which nothing should grow but the history
RESIDENT = "int(open('/proc/self/statm').read().split()[1]) * 4096 / 1e6"

CELLS = (
    """import sys, time
sys.path.insert(0, "{root}")
from facog_lab import runs
from facog_lab.runs import presets, replay
from facog_lab.ui import phase2_panel
settings = presets.experiment(phase2={"epochs": 10_000})
alone = replay.start(runs.open(settings))
def headless(seconds):
    began, first = time.perf_counter(), alone.step
    while time.perf_counter() - began < seconds:
        next(alone)
    return (alone.step - first) / (time.perf_counter() - began)""",
    """panel = phase2_panel.Phase2Panel(runs.open(settings))
stamps, after = [], panel.worker.after
def noting(step):
    used = panel.history["steps"]["lambda_adv"][-1]
    if not stamps or stamps[-1][1] != used:
        stamps.append((time.time(), used))
    after(step)
panel.worker.after = noting""",
)
# Every press of a key, in seconds since 1970, as the kernel's clock has it; and how often
# the curves were moved to where new data are.
PRESSES = """() => {
    window.presses = [];
    document.addEventListener("keydown", event =>
        window.presses.push((performance.timeOrigin + event.timeStamp) / 1000), {capture: true});
    window.redraws = 0;
    const chart = document.querySelector(".js-plotly-plot");
    chart.on("plotly_transitioned", () => { window.redraws += 1; });
}"""


class Panel:
    """The panel in a page, and a look into its kernel."""

    def __init__(self, opened: Any) -> None:
        self.opened, self.page = opened, opened.page
        opened.run_all(300)
        self.page.locator(".js-plotly-plot .main-svg").first.wait_for()
        self.page.evaluate(PRESSES)

    def ask(self, expression: str) -> Any:
        """The value of an expression in the kernel."""
        return self.opened.ask_kernel(expression)

    def press(self, name: str) -> None:
        """Presses a button of the panel."""
        self.page.locator("button.widget-button", has_text=name).click()

    def turn(self) -> tuple[float, float, float]:
        """Steps a second of the bare loop and under the panel, and redraws a second.

        The bare loop runs before and after, half of the time each: a machine's speed drifts.
        """
        bare = self.ask(f"headless({TURN_SECONDS / 2})")
        self.press("Start")
        self.page.wait_for_timeout(1500)
        steps, seen, began = self.ask("panel.loop.step"), self.redraws(), time.monotonic()
        self.page.wait_for_timeout(1000 * TURN_SECONDS)
        took = time.monotonic() - began
        rate = (self.ask("panel.loop.step") - steps) / took
        drawn = (self.redraws() - seen) / took
        self.press("Pause")
        self.opened.wait(lambda: not self.ask("panel.worker.running"), "the pause", 20)
        self.page.wait_for_timeout(1000)  # the page draws the last state
        bare += self.ask(f"headless({TURN_SECONDS / 2})")
        return bare / 2, rate, drawn

    def redraws(self) -> float:
        """How often the page has drawn the charts."""
        return self.page.evaluate("window.redraws")

    def latencies(self) -> list[float]:
        """Milliseconds from a key on the slider of λ_adv to the end of the first step with it."""
        self.press("Start")
        self.opened.slider("λ_adv").focus()
        self.page.evaluate("window.presses = []")
        first, values = self.ask("len(stamps)"), []
        for move in range(MOVES):  # from 1.00 down to 0, and up again: each value is met once
            down = move < DOWN
            values.append(round(1 - 0.05 * (move + 1 if down else 2 * DOWN - move - 1), 2))
            self.page.keyboard.press("ArrowLeft" if down else "ArrowRight")
            self.page.wait_for_timeout(BETWEEN)
        self.press("Pause")
        pressed = self.page.evaluate("window.presses")
        order = iter(values)
        used = []  # a step that used a later value answers the moves before it, too
        for time_used, value in self.ask("stamps")[first:]:
            for expected in order:
                used.append(time_used)
                if expected == value:
                    break
        assert len(pressed) == len(used) == MOVES, (len(pressed), len(used))
        return [1000 * (b - a) for a, b in zip(pressed, used, strict=True)]

    def memory(self) -> tuple[float, float]:
        """MB that kernel and page grow by in MEMORY_STEPS steps."""
        self.press("Start")
        sizes = []
        for steps in (MEMORY_FROM, MEMORY_STEPS):
            until = self.ask("panel.loop.step") + steps
            while self.ask("panel.loop.step") < until:
                self.page.wait_for_timeout(5000)  # each question costs the kernel some memory, too
            sizes.append((self.ask(RESIDENT), self._heap()))
        self.press("Pause")
        return sizes[1][0] - sizes[0][0], sizes[1][1] - sizes[0][1]

    def _heap(self) -> float:
        session = self.page.context.new_cdp_session(self.page)
        session.send("HeapProfiler.collectGarbage")
        return session.send("Runtime.getHeapUsage")["usedSize"] / 1e6


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument(
        "--out", type=Path, help="a JSON file for the rows, e.g. results/speed.json"
    )
    parser.add_argument("--no-memory", action="store_true", help="leave the 10,000 steps out")
    options = parser.parse_args()
    with desk() as at:
        panel = Panel(at.open(CELLS))
        turns = [panel.turn() for _ in range(TURNS)]
        print(
            "steps/s alone, with the panel; redraws/s:", *([f"{x:.1f}" for x in t] for t in turns)
        )
        waits = panel.latencies()
        grown = None if options.no_memory else panel.memory()
    rows = [
        row("03: slider to the first step with it, median", waits, "ms", 100, most=True),
        row("03: slider to the first step with it, worst", waits, "ms", 300, most=True, of=max),
        row("03: redraws of the charts", [t[2] for t in turns], "1/s", 4, most=False),
        row("03: steps/s with the panel, of those without", [t[1] / t[0] for t in turns], "×", 0.85,
            most=False),
    ]  # fmt: skip
    if grown is not None:
        rows += [
            row(f"03: kernel grows in {MEMORY_STEPS:,} steps", [grown[0]], "MB", 20, most=True),
            row(f"03: page grows in {MEMORY_STEPS:,} steps", [grown[1]], "MB", 5, most=True),
        ]
    write(rows, options.out, "python -m benchmarks.live")


if __name__ == "__main__":
    main()
