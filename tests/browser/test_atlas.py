"""The linked maps of notebook 04, under a mouse and a keyboard in the page."""

import contextlib
import re

from test_notebooks import MOST_BYTES

CELL = "embedding_explorer.explore("
# Where in the page the k-th point of the first trace with points is.
POINT = """(graph, k) => {
    const trace = graph._fullData.find(trace => trace.customdata?.length > 3);
    const [x, y] = ["xaxis", "yaxis"].map(name => graph._fullLayout[name]);
    const box = graph.getBoundingClientRect();
    return {x: box.x + x._offset + x.d2p(trace.x[k]), y: box.y + y._offset + y.d2p(trace.y[k])};
}"""
COLOURS = """graph => JSON.stringify(graph._fullData.map(trace => trace.marker?.color)
    .concat(graph._fullLayout.coloraxis?.colorscale))"""


def lasso(page, graph):
    """Draws one around the whole map."""
    around = graph.evaluate("graph => graph.querySelector('.nsewdrag').getBoundingClientRect()")
    left, top, wide, high = (around[key] for key in ("x", "y", "width", "height"))
    page.mouse.move(left + 2, top + 2)
    page.mouse.down()
    for x, y in ((1, 0), (1, 1), (0, 1), (0, 0)):
        page.mouse.move(left + 2 + x * (wide - 4), top + 2 + y * (high - 4), steps=5)
    page.mouse.up()


def test_04_points_show_their_images_and_what_they_were_mixed_from(notebook):
    from playwright.sync_api import TimeoutError as Late  # without it, the fixture skips the test

    opened = notebook("04_embeddings")
    page = opened.page
    output = opened.panel.locator(".jp-CodeCell", has_text=CELL).locator(".jp-OutputArea").first
    graph = output.locator(".js-plotly-plot")
    graph.scroll_into_view_if_needed()
    hovered = output.locator(".facog-hovered")
    opened.wait(lambda: graph.evaluate("graph => graph._fullData.length > 2"), "maps", 20)

    at = graph.evaluate(POINT, 0)
    page.mouse.move(at["x"], at["y"])
    hovered.locator("img").first.wait_for()
    assert re.search(r"no\. \d+", hovered.text_content())
    opened.screenshot("04_embeddings-hover")

    page.mouse.click(at["x"], at["y"])
    number = opened.control("Point no.")
    opened.wait(lambda: int(number.input_value()) >= 0, "the number of the point", 10)

    made = opened.ask_kernel("int(world.generated.nonzero()[0][0])")
    number.fill(str(made))
    number.press("Enter")
    output.get_by_text("0 real and 1 generated features are selected.").wait_for()
    n_s = opened.ask_kernel("settings.phase2.n_s")
    inspected = output.locator(".widget-html").last.get_by_alt_text(re.compile("parent of class"))
    weights = [float(image.get_attribute("alt").split()[-1]) for image in inspected.all()]
    assert len(weights) == n_s
    assert abs(sum(weights) - 1) < 0.01
    opened.screenshot("04_embeddings-mixed-from")

    chosen = output.get_by_text(re.compile(r"[\d,]{2,} real and [\d,]{2,} generated features"))
    for _ in range(4):  # a lasso that begins while the map is drawn anew is lost
        lasso(page, graph)
        with contextlib.suppress(Late):
            chosen.wait_for(timeout=10_000)
            break
    assert chosen.count()
    opened.screenshot("04_embeddings-lasso")

    before = graph.evaluate(COLOURS)
    opened.control("Colour by").select_option(index=1)
    opened.wait(lambda: graph.evaluate(COLOURS) != before, "other colours", 10)
    opened.screenshot("04_embeddings-colours")
    assert opened.save() < MOST_BYTES
