import numpy as np
import plotly.graph_objects as go
import pytest
from ipywidgets.widgets import widget as ipywidgets_widget

from facog_lab.plots import charts
from facog_lab.ui import figure_widget
from facog_lab.ui.figure_widget import Code, FigureWidget
from facog_lab.ui.live_figure import live_widget


def figure():
    made = go.Figure()
    made.add_scatter(x=[1.0, 2.0], y=[3.0, 4.0])
    made.add_bar(x=["a"], y=[0.0])
    return made.add_scatter(x=[], y=[])


@pytest.fixture
def opened(monkeypatch):
    """The states that the page gets with the first message of each widget."""
    states, create = [], ipywidgets_widget.comm.create_comm

    def keep(**message):
        states.append(message["data"]["state"] | {"id": message.get("comm_id")})
        return create(**message)

    monkeypatch.setattr(ipywidgets_widget.comm, "create_comm", keep)
    return states


@pytest.fixture
def heard(monkeypatch):
    """A widget and what the page is told from then on."""
    shown, said = FigureWidget(figure()), []
    monkeypatch.setattr(shown, "send", lambda content, *_: said.append(content["kind"]))
    monkeypatch.setattr(shown, "send_state", lambda key=None: said.append(key))
    return shown, said


def test_a_figure_is_whole_in_its_first_message(opened):
    shown = FigureWidget(figure())
    (state,) = (state for state in opened if "_widget_data" in state)
    assert [trace["type"] for trace in state["_widget_data"]] == ["scatter", "bar", "scatter"]
    assert state["_widget_layout"] == shown._layout_obj._props
    assert state["description"] == shown.description
    assert state["_own"] == state["id"] == shown.model_id


def test_a_pages_module_is_small_and_plotly_comes_once(opened):
    one, two = FigureWidget(figure()), live_widget(figure())
    for state in (state for state in opened if "_widget_data" in state):
        assert len(state["_esm"]) < 10_000
    assert one._code == two._code == Code._shown.model_id
    assert Code._shown.source == str(go.FigureWidget._esm)
    assert "FigureView" in Code._shown.source  # what the page's module needs of it
    assert "_sendTraceDeltas" in Code._shown.source
    Code._shown.close()  # as ipywidgets' close_all does
    three = FigureWidget(figure())
    assert three._code == Code._shown.model_id != one._code


def test_a_page_that_shows_all_is_left_in_peace(heard):
    shown, said = heard
    shown._hear(shown, {"kind": "shown", "traces": 2}, [])  # the third has no points
    assert said == ["well"]
    shown._hear(shown, {"event": "something else"}, [])
    assert said == ["well"]


@pytest.mark.parametrize("traces", [0, 1])
def test_a_page_that_shows_less_gets_all_again(heard, traces):
    shown, said = heard
    shown.data[0].y = [5.0, 6.0]
    said.clear()
    shown._hear(shown, {"kind": "shown", "traces": traces}, [])
    assert said[-2:] == [["_widget_data", "_widget_layout"], "again"]
    assert list(shown._widget_data[0]["y"]) == [5.0, 6.0]


@pytest.mark.parametrize(
    ("trace", "drawn"),
    [
        (go.Scatter(x=[1], y=[1]), True),
        (go.Scatter(x=[], y=[]), False),
        (go.Scatter(x=[1], y=[1], visible=False), False),
        (go.Scattergl(x=np.ones(3), y=np.ones(3)), True),
        (go.Bar(x=["a"], y=[1]), True),
        (go.Heatmap(z=[[1]]), False),
        (go.Scatter(y=[1]), False),
    ],
    ids=["points", "no points", "invisible", "WebGL", "bar", "other kinds", "no x"],
)
def test_which_traces_a_page_must_show(trace, drawn):
    assert figure_widget._drawn(go.Figure(trace).data[0]) == drawn


def test_its_words_follow_its_data():
    shown = live_widget(charts.profiles({"a": [2, 1]}))
    assert "from 2 at 1 to 1 at 2" in shown.description
    shown.data[0].y = [8, 7]
    shown.describe()
    assert "from 8 at 1 to 7 at 2" in shown.description
    live_widget(charts.profiles({"b": [6, 5]}), canvas=shown)
    assert "b: from 6 at 1 to 5 at 2" in shown.description
