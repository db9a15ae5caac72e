"""Notebook 03: phase 2 steered by keyboard in the page, while it trains."""

import copy
import json
import re
from pathlib import Path

import pytest
from lab import BLANK
from test_notebooks import MOST_BYTES

CELL = "phase2_panel.phase2("
STEPS = "run.history['steps']"
TRAINER = "facog-training"
TAKEN = re.compile(r"step ([\d,]+) of")
# The first time axis of a figure, and where its curve ends.
SPAN = """graph => {
    const [low, high] = graph._fullLayout.xaxis.range;
    return {low, high, last: graph._fullData[0].x.at(-1)};
}"""
LONG = 5000  # epochs: more than a test takes
SMALL = 8  # a batch: 57 steps an epoch, so that most drawings have no new scores
# How many traces of each figure have points, as the kernel has them and as the page has them.
HAS = "[sum(bool(t.x is not None and len(t.x)) for t in f.data) for f in (run.chart, run.board)]"
TRACES = "graph => graph.data.filter(trace => trace.x?.length).length"
THEME = "name => window.jupyterapp.commands.execute('apputils:change-theme', {theme: name})"
# A machine that is slower than anywidget waits for a widget's module.
SLOW = """const timeout = AbortSignal.timeout.bind(AbortSignal);
AbortSignal.timeout = time => timeout(time === 2000 ? 0 : time);"""


@pytest.fixture
def panel(notebook):
    """The panel, which has trained for some steps since a reset."""
    opened = notebook("03_phase2", last=CELL, epochs=LONG, batch_size=SMALL)
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


def graphs(opened):
    """The panel's two figures in the page."""
    return opened.panel.locator(".jp-CodeCell", has_text=CELL).locator(".js-plotly-plot").all()


def missing(opened):
    """What the page does not show of the panel's figures; empty if it shows all."""
    found = [blank for graph in graphs(opened) for blank in graph.evaluate(BLANK)]
    shown, has = [graph.evaluate(TRACES) for graph in graphs(opened)], opened.ask_kernel(HAS)
    return found if shown == has else [*found, f"{shown} traces with points of {has}"]


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
        ("lr_generator", "Generator learning rate", 0.0123),
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


def test_every_subplot_keeps_its_marks_whatever_is_done(panel):
    def press(name):
        panel.button(name).click()
        if name == "Pause":
            panel.page.get_by_text("Paused.").wait_for()

    def choose(control, **option):
        panel.control(control).select_option(**option)

    def step(trains):
        choose("Update", label=trains)
        before = taken(panel)
        press("Step")
        panel.wait(lambda: taken(panel) == before + 1, "a step", 10)

    def wide(width):
        panel.page.set_viewport_size({"width": width, "height": 768})

    actions = {
        "Start": lambda: press("Start"),
        "SMOTE while it runs": lambda: choose("Oversampler", label="SMOTE"),
        "FACoG while it runs": lambda: choose("Oversampler", label="FACoG"),
        "n_s while it runs": lambda: panel.slider("n_s").press("ArrowRight"),
        "a speed limit": lambda: choose("Speed limit", label="10 steps/s"),
        "a dark theme": lambda: panel.page.evaluate(THEME, "JupyterLab Dark"),
        "a light theme": lambda: panel.page.evaluate(THEME, "JupyterLab Light"),
        "a narrow window": lambda: wide(700),
        "a wide window": lambda: wide(1366),
        "no speed limit": lambda: choose("Speed limit", label="as fast as it can"),
        "Pause": lambda: press("Pause"),
        "a step of D": lambda: step("only D"),
        "a step of G": lambda: step("only G"),
        "a step of the classifier": lambda: step("only the classifier"),
        "a step of all": lambda: step("D, G and classifier"),
        "SMOTE in a pause": lambda: choose("Oversampler", label="SMOTE"),
        "a step of SMOTE": lambda: step("D, G and classifier"),
        "FACoG in a pause": lambda: choose("Oversampler", label="FACoG"),
        "n_s in a pause": lambda: panel.slider("n_s").press("ArrowLeft"),
        "Start again": lambda: press("Start"),
        "Reset while it runs": lambda: press("Reset"),
        "a first step": lambda: step("D, G and classifier"),
        "Start after a reset": lambda: press("Start"),
        "Pause after a reset": lambda: press("Pause"),
        "Reset in a pause": lambda: press("Reset"),
    }
    blank = {}
    for name, act in actions.items():
        act()
        for _ in range(2):  # what a drawing took away, the next one may bring back
            panel.page.wait_for_timeout(300)
            if found := [blank for graph in graphs(panel) for blank in graph.evaluate(BLANK)]:
                blank.setdefault(name, found)
        panel.wait(lambda: not missing(panel), f"all that the kernel has, after {name}", 5)
    assert blank == {}


def test_marks_that_went_missing_are_noticed_and_drawn_again(panel):
    panel.button("Pause").click()
    panel.page.get_by_text("Paused.").wait_for()
    panel.wait(lambda: not missing(panel), "all marks", 5)
    panel.page.wait_for_timeout(2500)  # the page has said what it shows
    for graph in graphs(panel):
        graph.evaluate("graph => graph.querySelectorAll('.mlayer').forEach(l => l.remove())")
    assert len(missing(panel)) == 6
    panel.wait(lambda: not missing(panel), "all marks again", 10)
    steps = taken(panel)
    panel.button("Step").click()
    panel.wait(lambda: taken(panel) == steps + 1, "a step", 10)
    panel.wait(lambda: not missing(panel), "all marks after a step", 5)


def test_a_page_that_is_slow_or_loaded_anew_shows_all(panel):
    panel.button("Pause").click()
    panel.page.get_by_text("Paused.").wait_for()
    panel.save()
    again, page = copy.copy(panel), panel.page.context.new_page()
    page.add_init_script(SLOW)
    again.show(page)
    try:
        again.wait(lambda: len(graphs(again)) == 2, "both figures", 20)
        drawn = "graph => Boolean(graph._fullLayout)"
        again.wait(lambda: all(g.evaluate(drawn) for g in graphs(again)), "their axes", 20)
        again.wait(lambda: not missing(again), "all that there was", 15)
        steps = taken(again)
        again.button("Start").click()
        again.wait(lambda: taken(again) > steps + 20, "further steps", 20)
        again.button("Pause").click()
        again.wait(lambda: not missing(again), "all that there is now", 5)
        again.screenshot("03_phase2-slow-page")
    finally:
        page.close()
        panel.page.bring_to_front()


def test_a_slider_on_a_log_axis_says_its_value(panel):
    """To assistive technology: as in the browser's own tree of what is there."""

    def said(name):
        session = panel.page.context.new_cdp_session(panel.page)
        root = session.send("DOM.getDocument")["root"]["nodeId"]
        asked = {"nodeId": root, "role": "slider"}
        nodes = session.send("Accessibility.queryAXTree", asked)["nodes"]
        session.detach()
        (node,) = (node for node in nodes if node["name"]["value"].startswith(f"{name}:"))
        text = panel.slider(name).get_attribute("aria-valuetext")
        value = node["value"]["value"]
        return text if value == pytest.approx(float(text)) else f"{text}, {value} in the tree"

    panel.wait(lambda: said("Generator learning rate") == "0.005", "0.005", 5)
    assert said("τ") == "0.1"
    assert said("λ_adv") == "1"
    panel.slider("Generator learning rate").press("ArrowRight")
    panel.wait(
        lambda: panel.control("Generator learning rate").input_value() != "0.005",
        "another value",
        5,
    )
    value = panel.control("Generator learning rate").input_value()
    panel.wait(lambda: said("Generator learning rate") == value, f"{value} read aloud", 3)
    panel.control("Generator learning rate").fill("0.0123")  # the slider has no mark for it
    panel.control("Generator learning rate").press("Enter")
    panel.wait(lambda: said("Generator learning rate") == "0.0123", "0.0123 read aloud", 5)


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
    """As `facog_lab.ui.heartbeat` says: 15 seconds of silence, 5 of grace, and the thread ends."""
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
