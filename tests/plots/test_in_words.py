import html
import json
import math
import re
from html.parser import HTMLParser

import numpy as np
import plotly.graph_objects as go
import pytest
from test_charts import EVIL, NAMES, every_figure

from facog_lab.plots import charts, theme
from facog_lab.plots.in_words import LISTED, LONGEST, alternative, describe


def label(markup):
    """What a browser reads of it."""
    found = []
    parser = HTMLParser()
    parser.handle_starttag = lambda tag, attrs: found.append(dict(attrs))
    parser.feed(markup)
    (only,) = found
    assert only["role"] == "img"
    return only["aria-label"]


@pytest.mark.parametrize("name", sorted(every_figure(NAMES)))
def test_every_figure_has_words_with_numbers_in_them(name):
    figure = every_figure(NAMES)[name]
    said = describe(figure)
    assert len(said) > 20
    assert re.search(r"\d", said)
    assert not re.search(r"<[a-z/]|&[a-z]+;|nan|None|%\{", said)
    assert label(alternative(figure)) == said


@pytest.mark.parametrize("name", sorted(every_figure(NAMES)))
def test_the_words_are_the_same_of_a_figure_in_a_notebooks_file(name):
    figure = every_figure(NAMES)[name]
    assert describe(json.loads(figure.to_json())) == describe(figure)


@pytest.mark.parametrize("name", sorted(every_figure(EVIL)))
def test_names_are_text_and_nothing_else(name):
    figure = every_figure(EVIL)[name]
    assert label(alternative(figure)) == describe(figure)
    assert len(describe(figure)) <= LONGEST


def test_a_curve_says_its_ends_and_its_extremes():
    figure = charts.profiles({"a": [9, 100, 1]}, title="Three")
    assert describe(figure) == (
        "Three. By class, from the largest to the smallest. "
        "a: from 100 at 1 to 1 at 3, lowest 1, highest 100. Upwards: images."
    )


def test_what_is_not_a_number_is_left_out():
    figure = theme.blank("Gaps")
    figure.add_scatter(x=[1, 2, 3, 4], y=[math.nan, 2.0, None, 5.5], name="a")
    figure.add_scatter(x=[1, 2], y=[math.nan, math.inf], name="none")
    assert describe(figure) == "Gaps. a: from 2 at 2 to 5.5 at 4, lowest 2, highest 5.5."


def test_few_bars_are_said_one_by_one_and_many_summed_up():
    for count in (LISTED, LISTED + 1):
        names, values = [f"class {c}" for c in range(count)], np.arange(count) / 8
        said = describe(charts.recall_bars({"facog": values}, names, np.arange(count, 0, -1)))
        assert ("class 3 (" in said) == (count == LISTED)
        assert f"class {count - 1} (1)" in said  # the highest, at any rate
        assert f"{values[-1]:.3g}" in said


def test_panels_are_told_apart_by_their_titles():
    figure = charts.curves({"loss_d": [3.0, 1.0], "entropy": [0.5]}, {"D": ["loss_d"],
                            "w": ["entropy"]}, x_title="epoch")  # fmt: skip
    assert describe(figure) == (
        "D, by epoch. D, adversarial: from 3 at 1 to 1 at 2, lowest 1, highest 3. "
        "w, by epoch. entropy of w: 0.5 at 1."
    )


def test_a_map_says_how_many_points_it_has():
    points = np.arange(12.0).reshape(6, 2)
    labels, made = [0, 0, 1, 1, 1, 1], [False, False, False, False, True, True]
    figure = charts.atlas({"PCA": points}, labels, made, ["a", "b"], [0.0, 0.0])
    assert describe(figure) == "PCA. real: 4 points; generated: 2 points."


def test_scores_of_methods_have_the_methods_names():
    rows = [{"method": "phase1", "acsa": 0.5, "gm": 0.25}, {"method": "facog", "acsa": 1, "gm": 0}]
    said = describe(charts.comparison(rows))
    assert "ACSA: Phase 1 alone at 0.5, FACoG at 1;" in said
    assert "GM: Phase 1 alone at 0.25, FACoG at 0." in said


def test_marked_steps_are_said():
    figure = theme.subplots(1, 1, subplot_titles=["<b>Loss</b>  ━ D"])
    figure.add_scatter(x=[1, 9], y=[2, 3], name="D")
    mark = {"type": "line", "x0": 4, "x1": 4, "y0": 0, "y1": 1, "xref": "x", "yref": "y domain"}
    figure.add_shape(mark | {"label": {"text": "1,2"}})
    assert describe(figure) == (
        "Loss. D: from 2 at 1 to 3 at 9, lowest 2, highest 3; a vertical line at 4 (1,2)."
    )


@pytest.mark.parametrize("figure", [go.Figure(), {"data": [], "layout": {}}, {}])
def test_a_figure_without_data_says_so(figure):
    assert describe(figure) == "A figure without data."


def test_a_long_text_is_cut():
    figure = theme.blank("x" * 150)
    for k in range(12):
        figure.add_bar(x=[f"{'y' * 30}{c}" for c in range(12)], y=np.arange(12), name=f"a{k}")
    assert len(describe(figure)) == LONGEST
    assert html.unescape(alternative(figure)).count("…") == 1
