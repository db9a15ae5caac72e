import numpy as np
import plotly.graph_objects as go
import pytest
from plotly.subplots import make_subplots

from facog_lab.ui.live_scatter import LEAST, MovingFigure


def figure(y=(1.0, 2.0, 4.0), **layout):
    made = go.Figure(layout={"xaxis": {"rangemode": "tozero"}} | layout)
    made.add_scatter(x=[10.0, 20.0, 40.0], y=list(y), mode="lines")
    return MovingFigure(made)


def move(shown, x, y):
    with shown.batch_animate(0):
        shown.data[0].x, shown.data[0].y = np.array(x, np.float32), np.array(y, np.float32)


def messages(shown, trait):
    """What the page is told by a trait from now on."""
    said = []
    shown.observe(lambda change: said.append(change.new), trait)
    return said


def test_moving_is_one_message_that_draws_traces_alone():
    shown = figure()
    moves, updates = messages(shown, "_py2js_animate"), messages(shown, "_py2js_update")
    move(shown, [1, 2, 39], [1, 2, 3])
    (told,) = moves
    assert told["animation_opts"]["frame"] == {"duration": 0, "redraw": False}
    assert told["animation_opts"]["mode"] == "immediate"
    assert told["style_traces"] == [0]
    assert told["style_data"][0]["x"].tolist() == shown.data[0].x.tolist() == [1, 2, 39]
    assert updates == []  # all within the ranges


@pytest.mark.parametrize("moved", [(0,), (1, 2), ()], ids=["one", "others", "none"])
def test_a_move_names_every_trace(moved):
    """Plotly takes all marks out of a subplot of which no trace is named."""
    made = make_subplots(2, 2)
    for k in range(3):
        made.add_scatter(x=[1, 2, 3], y=[1, 2, 4], row=1 + k // 2, col=1 + k % 2)
    made.add_scatter(x=[], y=[], row=2, col=2)
    shown = MovingFigure(made)
    moves = messages(shown, "_py2js_animate")
    with shown.batch_animate(0):
        for k in moved:
            shown.data[k].x, shown.data[k].y = [1, 2, 4], [3, 2, 1]
    (told,) = moves
    assert told["style_traces"] == [0, 1, 2, 3]
    for trace, style in zip(shown.data, told["style_data"], strict=True):
        assert list(style["x"]) == list(trace.x)
        assert list(style["y"]) == list(trace.y)


def test_an_axis_is_set_anew_when_its_data_outgrow_it():
    shown = figure()
    first = shown.layout.xaxis.range
    assert first[0] == 0
    assert 40 < first[1] < 80
    end = (first[1] + 40) / 2
    move(shown, [10, 20, end], [1, 2, 4])
    assert shown.layout.xaxis.range == first
    move(shown, [10, 20, 2 * end], [1, 2, 4])
    assert shown.layout.xaxis.range[0] == 0
    assert 2 * end < shown.layout.xaxis.range[1] < 4 * end


def test_an_axis_is_set_anew_when_its_data_fill_little_of_it():
    shown = figure()
    low, high = shown.layout.yaxis.range
    assert low < 1
    assert high > 4
    span = 0.9 * LEAST * (high - low)
    move(shown, [10, 20, 40], [2, 2.1, 2 + span])
    low, high = shown.layout.yaxis.range
    assert low < 2 < 2 + span < high
    assert span > LEAST * (high - low)


def test_a_range_set_by_hand_stays_until_the_axis_is_given_back():
    shown = figure()
    shown.layout.xaxis.range = (15, 25)
    move(shown, [10, 20, 4000], [1, 2, 4])
    assert shown.layout.xaxis.range == (15, 25)
    shown.layout.xaxis.autorange = True  # as a double click says
    move(shown, [10, 20, 5000], [1, 2, 4])
    assert shown.layout.xaxis.range[1] > 5000
    assert shown.layout.xaxis.autorange is False


def test_a_log_axis_has_its_range_in_powers_of_ten():
    shown = figure(y=(0.0, 0.01, 100.0), yaxis={"type": "log"})
    low, high = shown.layout.yaxis.range
    assert -3 < low < -2
    assert 2 < high < 3


@pytest.mark.parametrize("y", [(), (None, np.nan, np.nan), (3.0, 3.0, 3.0)])
def test_without_a_span_there_is_a_range(y):
    low, high = figure(y=y).layout.yaxis.range
    assert np.isfinite([low, high]).all()
    assert low < high


def test_axes_with_ranges_and_categories_are_left_alone():
    made = go.Figure(layout={"xaxis": {"type": "category"}, "yaxis": {"range": [0, 1]}})
    made.add_bar(x=["a", "b"], y=[0.5, 3.0])
    shown = MovingFigure(made)
    move(shown, [0, 1], [5, 6])
    assert shown.layout.yaxis.range == (0, 1)
    assert shown.layout.xaxis.range is None
