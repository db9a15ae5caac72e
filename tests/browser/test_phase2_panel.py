"""Notebook 03: phase 2 steered by keyboard in the page, while it trains."""

import json
import re
from pathlib import Path

import pytest
from test_notebooks import MOST_BYTES

CELL = "panels.phase2("
STEPS = "run.history['steps']"
TRAINER = "facog-training"
TAKEN = re.compile(r"step ([\d,]+) of")
# The first time axis of a figure, and where its curve ends.
SPAN = """graph => {
    const [low, high] = graph._fullLayout.xaxis.range;
    return {low, high, last: graph._fullData[0].x.at(-1)};
}"""
LONG = 5000  # epochs: more than a test takes


@pytest.fixture
def panel(notebook):
    """The panel, which has trained for some steps since a reset."""
    opened = notebook("03_phase2", last=CELL, epochs=LONG)
    opened.button("Reset").click()
    opened.wait(lambda: taken(opened) == 0, "the first step", 10)
    opened.button("Start").click()
    opened.wait(lambda: taken(opened) > 20, "steps", 20)
    yield opened
    opened.panel.locator(".jp-CodeCell", has_text=CELL).evaluate("cell => cell.scrollIntoView()")
    opened.button("Pause").click()


def taken(opened):
    """Steps taken so far, as the page says."""
    said = opened.panel.get_by_text(TAKEN).first.text_content()
    return int(TAKEN.search(said)[1].replace(",", ""))


@pytest.mark.parametrize(
    ("control", "label", "old"), [("lambda_adv", "λ_adv", 1.0), ("n_s", "n_s", 5)]
)
def test_the_next_step_uses_what_a_hand_moved(panel, control, label, old):
    before = taken(panel)
    panel.slider(label).press("ArrowLeft")
    panel.wait(lambda: float(panel.control(label).input_value()) < old, "the number", 20)
    new = float(panel.control(label).input_value())
    panel.wait(lambda: panel.ask_kernel(f"{STEPS}['{control}'][-1]") == new, "its use", 5)
    first = panel.ask_kernel(f"{STEPS}['{control}'].index({new})")
    assert first >= before
    panel.wait(lambda: taken(panel) > first + 20, "steps after it", 20)
    used = panel.ask_kernel(f"{STEPS}['{control}']")
    assert set(used[:first]) == {old}
    assert set(used[first:]) == {new}
    panel.page.get_by_text(f"step {first + 1:,}: {label}").wait_for()  # the list of changes


@pytest.mark.parametrize(
    ("control", "label", "typed"),
    [
        ("temperature", "τ", 0.07),
        ("lr_generator", "lr of G", 0.0123),
        ("lambda_asc", "λ_asc", 0.33),
    ],
)
def test_a_typed_number_is_used_to_the_digit(panel, control, label, typed):
    """Though the slider beside it has no such step, and rounds in the page."""
    panel.control(label).fill(str(typed))
    panel.control(label).press("Enter")
    panel.wait(lambda: panel.ask_kernel(f"{STEPS}['{control}'][-1]") == typed, "its use", 5)
    first = panel.ask_kernel(f"{STEPS}['{control}'].index({typed})")
    panel.wait(lambda: taken(panel) > first + 50, "steps after it", 20)
    assert set(panel.ask_kernel(f"{STEPS}['{control}'][{first}:]")) == {typed}


def test_curves_move_within_axes_that_a_hand_may_set(panel):
    graph = panel.panel.locator(".jp-CodeCell", has_text=CELL).locator(".js-plotly-plot").first
    panel.wait(lambda: graph.evaluate(SPAN)["last"] > 100, "curves of 100 steps", 20)
    panel.wait(lambda: fits(graph.evaluate(SPAN)), "an axis with room", 5)

    box = graph.locator(".nsewdrag").first.bounding_box()
    x, y = box["x"], box["y"] + box["height"] / 2

    def zoom():
        panel.page.mouse.move(x + 0.2 * box["width"], y)
        panel.page.mouse.down()
        panel.page.mouse.move(x + 0.6 * box["width"], y, steps=5)
        panel.page.mouse.up()
        panel.page.wait_for_timeout(500)
        return graph.evaluate(SPAN)["low"] > 0

    panel.wait(zoom, "a zoom", 15)  # again where an axis grew, which ends a drag
    zoomed = graph.evaluate(SPAN)
    panel.wait(lambda: graph.evaluate(SPAN)["last"] > 2 * zoomed["last"], "twice the steps", 60)
    assert graph.evaluate(SPAN) | {"last": 0} == zoomed | {"last": 0}

    panel.page.mouse.dblclick(x + box["width"] / 2, y)
    panel.wait(lambda: fits(graph.evaluate(SPAN)), "an axis that follows", 5)
    seen = graph.evaluate(SPAN)["last"]
    panel.wait(lambda: graph.evaluate(SPAN)["last"] > 1.5 * seen, "further steps", 60)
    panel.wait(lambda: fits(graph.evaluate(SPAN)), "an axis that still follows", 5)


def fits(span):
    """Whether an axis shows all of its curve, and the curve fills a good part of it."""
    return span["low"] == 0 and 0.4 * span["high"] < span["last"] <= span["high"]


def test_recall_has_all_its_bars_and_the_map_its_diamonds_while_it_trains(panel):
    graph = panel.panel.locator(".jp-CodeCell", has_text=CELL).locator(".js-plotly-plot").nth(1)
    panel.wait(lambda: graph.locator(".bars .point path").count() == 20, "20 bars", 5)
    heights = graph.evaluate(
        "graph => [...graph.querySelectorAll('.bars .point path')].map(p => p.getBBox().height)"
    )
    assert sum(height > 5 for height in heights) >= 18  # a class may have no recall
    classes = (
        "graph => [...graph.querySelectorAll('.xaxislayer-above text')].map(t => t.textContent)"
    )
    assert graph.evaluate(classes) == panel.ask_kernel("list(run.board.data[0].x)")
    place = "graph => graph.querySelector('path.point').getAttribute('transform')"
    before = graph.evaluate(place)
    panel.wait(lambda: graph.evaluate(place) != before, "a diamond that moves", 60)


def test_the_page_does_not_answer_drawings(panel):
    panel.button("Pause").click()
    panel.page.get_by_text("Paused.").wait_for()
    panel.page.wait_for_timeout(1000)  # time for an answer, which would end the edit
    assert panel.ask_kernel("run.chart._trace_edit_in_process")


def test_pause_step_and_reset(panel):
    panel.button("Pause").click()
    panel.page.get_by_text("Paused.").wait_for()
    paused = taken(panel)
    assert panel.ask_kernel("run.loop.step") == paused
    panel.button("Step").press("Enter")
    panel.wait(lambda: taken(panel) == paused + 1, "one more step", 10)
    panel.wait(lambda: TRAINER not in panel.threads(), "the end of the thread", 10)
    panel.button("Reset").press("Enter")
    panel.wait(lambda: taken(panel) == 0, "the start", 10)
    assert panel.ask_kernel(STEPS) == {}


def test_a_cell_that_runs_again_leaves_one_trainer(panel):
    panel.run_again(CELL)
    panel.wait(lambda: taken(panel) == 0, "a new panel", 20)
    assert TRAINER not in panel.threads()
    panel.button("Start").click()
    panel.wait(lambda: taken(panel) > 20, "steps", 20)
    assert panel.threads().count(TRAINER) == 1


def test_a_closed_tab_ends_the_thread_and_loses_nothing(panel):
    """As `facog_lab.page` says: 15 seconds of silence, 5 of grace, and the thread ends."""
    panel.slider("n_s").press("ArrowLeft")
    panel.wait(lambda: panel.ask_kernel(f"{STEPS}['n_s'][-1]") == 4, "the use of n_s", 5)
    assert panel.save() < MOST_BYTES
    context = panel.page.context
    panel.page.close()
    panel.wait(lambda: TRAINER not in panel.threads(), "the end of the thread", 30)
    panel.wait(lambda: panel.kernels()[0]["execution_state"] == "idle", "an idle kernel", 5)
    steps = panel.ask_kernel("run.loop.step")
    folder = Path(panel.ask_kernel("str(run.run.folder)"))
    files = json.loads((folder / "manifest.json").read_text())["files"]
    (kept,) = (folder / name for name in files if name.startswith("history"))
    assert len(json.loads(kept.read_text())["steps"]["n_s"]) == steps

    panel.show(context.new_page())
    panel.page.get_by_text("its page was closed").wait_for()
    assert taken(panel) == steps
    panel.button("Start").click()
    panel.wait(lambda: taken(panel) > steps, "further steps", 20)
