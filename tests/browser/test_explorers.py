"""The controls of notebooks 00 and 02, moved by keyboard in the page."""

import re

from test_notebooks import MOST_BYTES

GRAPH = ".jupyter-widgets .js-plotly-plot"
HEIGHTS = "graph => [...graph.querySelectorAll('.bars .point path')].map(p => p.getBBox().height)"
IMAGES = "graph => [...graph.querySelectorAll('image')].map(image => image.href.baseVal)"


def changes(opened, look, do):
    """What `look` finds in the live figure after `do`, which must be another thing than before."""
    graph = opened.panel.locator(GRAPH)
    before = graph.evaluate(look)
    assert before, "nothing is drawn"
    do()
    opened.wait(lambda: graph.evaluate(look) != before, "another picture", 20)
    return before, graph.evaluate(look)


def test_00_profile_and_ratio_redraw_the_bars(notebook):
    opened = notebook("00_lt_datasets")
    ratio, slider = opened.control("Imbalance ratio"), opened.slider("Imbalance ratio")
    at_first = float(ratio.input_value())

    before, after = changes(opened, HEIGHTS, lambda: slider.press("ArrowRight"))
    assert float(ratio.input_value()) > at_first
    assert sum(after) < sum(before)  # a longer tail has fewer images
    changes(opened, HEIGHTS, lambda: (ratio.fill("3"), ratio.press("Enter")))
    opened.page.wait_for_timeout(500)  # time for the slider to answer, which has no step at 3
    assert ratio.input_value() == "3"
    changes(opened, HEIGHTS, lambda: opened.control("Profile").select_option("all images"))
    assert ratio.is_disabled()
    opened.screenshot("00_lt_datasets-as-found")

    opened.control("Profile").select_option("GAMO: 4,000 to 40")  # more than digits has
    opened.panel.get_by_role("status").filter(has_text="4,000").wait_for()
    assert opened.save() < MOST_BYTES


def test_02_any_feature_can_be_looked_at(notebook):
    opened = notebook("02_dictionary")
    classes, number = opened.control("Class"), opened.control("Feature")
    names = classes.locator("option").all_inner_texts()
    assert len(names) == 10
    largest = max(names, key=lambda name: int(re.search(r"\((\d+)\)", name)[1]))

    changes(opened, IMAGES, lambda: classes.select_option(largest))
    assert number.input_value() == "0"  # the nearest to the mean
    changes(opened, IMAGES, lambda: opened.slider("Feature").press("ArrowRight"))
    assert number.input_value() == "1"
    changes(opened, IMAGES, lambda: (number.fill("7"), number.press("Enter")))
    opened.screenshot("02_dictionary-feature-7")
    assert opened.save() < MOST_BYTES
