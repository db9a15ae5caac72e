"""The controls of notebooks 00 and 02, driven from Python; tests/browser drives them in a page."""

import base64
import html
import io
from dataclasses import replace

import ipywidgets
import numpy as np
import plotly.graph_objects as go
import pytest
import tiny
import torch
from PIL import Image

from facog_lab.data.long_tail import long_tail_counts
from facog_lab.dictionary import FeatureDictionary
from facog_lab.plots import charts
from facog_lab.settings import DataConfig
from facog_lab.ui import explorers

AVAILABLE = (5000, 6000, 5500)


def tail(available=AVAILABLE, live="on", **config):
    """An explorer over a data set that has these images of each class, and a few of them."""
    config = DataConfig(**({"imbalance_ratio": 10} | config))
    counts = range(30, 30 - len(available), -1)
    data = replace(tiny.long_tailed(counts), available=tuple(available))
    return explorers.long_tail(data, config, live)


def said(explorer):
    """The line of status as a person reads it."""
    return html.unescape(explorer.status.value.partition(">")[2].rpartition("<")[0])


def assert_drawn(explorer, counts):
    """The live figure is what a new one of these counts is, in every part."""
    data = explorer.data
    wanted = charts.class_counts(counts, data.class_names, reference=data.class_counts)
    shown = explorer.figure
    for trace, other in zip(shown.data, wanted.data, strict=True):
        assert list(trace.x) == list(other.x)
        assert list(trace.y) == list(other.y)
    assert list(shown.data[0].y) == list(counts)
    assert list(shown.data[1].y) == data.class_counts.tolist()
    for part in ("title", "annotations", "shapes", "xaxis", "yaxis"):
        assert shown.layout[part] == wanted.layout[part], part


def test_ratio_and_profile_redraw_counts_totals_bounds_and_axis():
    explorer = tail()
    assert_drawn(explorer, long_tail_counts("exponential", AVAILABLE, 10))
    explorer.ratio.slider.value = 100
    assert explorer.ratio.box.value == 100
    counts = long_tail_counts("exponential", AVAILABLE, 100)
    assert_drawn(explorer, counts)
    assert (
        f"{sum(counts):,} images, imbalance ratio 100" in explorer.figure.layout.title.subtitle.text
    )
    assert "imbalance_ratio = 100 in the parameters cell" in said(explorer)
    explorer.profile.value = "as_found"
    assert_drawn(explorer, AVAILABLE)
    assert explorer.ratio.box.disabled
    assert explorer.ratio.slider.disabled
    explorer.profile.value = "exponential"
    assert not explorer.ratio.box.disabled
    assert_drawn(explorer, counts)


def test_the_gamo_profile_is_drawn_where_it_fits():
    explorer = tail([6000] * 10)
    explorer.profile.value = "gamo"
    assert_drawn(explorer, long_tail_counts("gamo", [6000] * 10, 1))


def test_bounds_that_nothing_reaches_any_more_are_not_drawn():
    data = replace(tiny.long_tailed((2, 2)), available=(200, 200))
    explorer = explorers.long_tail(data, DataConfig(profile="as_found"), "on")
    assert len(explorer.figure.layout.shapes) == 2
    explorer.data = replace(data, available=(9, 9))
    explorer.follow()
    assert explorer.figure.layout.shapes == ()
    assert [note.text for note in explorer.figure.layout.annotations] == ["<b>few</b><br>< 20"]
    assert_drawn(explorer, (9, 9))


def test_the_present_data_set_is_recognised():
    data = tiny.long_tailed((40, 20, 9))
    explorer = explorers.long_tail(data, DataConfig(profile="as_found"), "on")
    assert said(explorer) == "This is the data set of this notebook."


@pytest.mark.parametrize(
    ("profile", "ratio", "words"),
    [
        ("exponential", 9000, "asks for 0: take an imbalance_ratio of at most 6,000"),
        ("gamo", 10, "made for ten classes, and there are 3: use 'exponential' or 'as_found'"),
    ],
)
def test_the_impossible_is_said_with_its_remedy_and_the_figure_stays(profile, ratio, words):
    explorer = tail()
    explorer.ratio.box.value = 30
    before = explorer.figure.to_json()
    explorer.profile.value = profile
    explorer.ratio.box.value = ratio
    assert words in said(explorer)
    assert explorer.figure.to_json() == before
    explorer.profile.value = "exponential"
    explorer.ratio.box.value = 30
    assert "⚠" not in said(explorer)


def test_any_error_of_a_callback_is_said(monkeypatch):
    explorer = tail()
    monkeypatch.setattr(explorers, "long_tail_counts", lambda *_: 1 / 0)
    explorer.ratio.slider.value = 50
    assert said(explorer) == "⚠ ZeroDivisionError: division by zero"


def test_what_the_page_makes_of_a_typed_ratio_leaves_it_alone():
    """A slider is at the nearest of its marks, which the page may compute in another way."""
    ratio = tail().ratio
    ratio.box.value = 500
    assert ratio.slider.value == pytest.approx(10**2.7)
    ratio.slider.value = 10**2.7 * (1 + 1e-9)
    assert ratio.box.value == 500
    ratio.slider.value = 10**2.72  # one step on: a hand
    assert ratio.box.value == 525
    ratio.box.value = 7
    assert ratio.slider.value == pytest.approx(10**0.84)
    assert ratio.box.value == 7


EVIL = ("<b>bold", "$x^2$ %{y}", "a & b")


def dictionary(counts=(40, 20, 9, 3, 1), names=None, views=1):
    """Features with their images' data set; every image stands `views` times."""
    made = tiny.dictionary(counts)
    data = tiny.long_tailed(counts)
    rows = torch.arange(len(made.features)).repeat(views)
    noise = torch.linspace(0, 1, len(rows))[:, None] ** 2  # no two views alike far from a mean
    built = FeatureDictionary.build(
        features=made.features[rows] + noise,
        labels=made.labels[rows],
        image_index=rows,  # the images of tiny data sets lie in the order of classes
        class_names=tuple(names or made.class_names),
        test_features=made.test_features,
        test_labels=made.test_labels,
    )
    return built, data


def feature(*args, live="on", **kwargs):
    return explorers.feature(*dictionary(*args, **kwargs), live)


def by_hand(of, label, number, k=5):
    """The row of a class that lies so far out, and its nearest of other images."""
    features, labels = of.features.double().numpy(), of.labels.numpy()
    own = np.flatnonzero(labels == label)
    mean = features[own].mean(0)
    row = sorted(own, key=lambda i: np.linalg.norm(features[i] - mean))[number]
    others = [i for i in range(len(labels)) if of.image_index[i] != of.image_index[row]]
    far = {i: np.linalg.norm(features[i] - features[row]) for i in others}
    nearest = sorted(others, key=far.get)[:k]
    return row, np.linalg.norm(features[row] - mean), nearest, [far[i] for i in nearest]


def shown(figure):
    """What a portrait shows: captions, places on the map, and the numbers of frames."""
    sheet = [trace for trace in figure.data if trace.type == "scatter"]
    words = next(trace for trace in sheet if trace.mode == "text")
    ground, own, near, mean, star = figure.data[-5:]
    frames = {t.name: len(t.x) // 6 for t in sheet if t.mode == "lines"}
    return list(words.text), ground, own, near, mean, star, frames


def assert_portrait(explorer, figure, label, number):
    of, coordinates = explorer.dictionary, explorer.fitted.coordinates
    row, to_mean, nearest, distances = by_hand(of, label, number)
    captions, ground, own, near, mean, star, frames = shown(figure)
    assert captions[0] == f"{of.class_names[label]}<br>this feature"
    for caption, i, distance in zip(captions[1:], nearest, distances, strict=True):
        assert caption == f"{of.class_names[of.labels[i]]}<br>{distance:#.3g}"
    same = sum(int(of.labels[i]) == label for i in nearest)
    assert frames == {"same class": same, "other class": len(nearest) - same}
    inside = coordinates[of.labels == label]
    for trace, wanted in (
        (ground, coordinates),
        (own, inside),
        (near, coordinates[nearest]),
        (mean, inside.mean(0)[None]),
        (star, coordinates[row : row + 1]),
    ):
        np.testing.assert_allclose(np.c_[trace.x, trace.y], wanted, atol=1e-4)
    colours = charts.class_colours(of.num_classes)
    assert own.marker.color == colours[label]
    assert list(near.marker.color) == [colours[of.labels[i]] for i in nearest]
    words = figure.layout.title.subtitle.text
    assert words.startswith(f"{to_mean:.3g} from the mean of its class")
    assert f"{same} of its {len(nearest)} nearest neighbours share its class" in words
    assert f"feature {number} of 0 to {len(inside) - 1}" in figure.layout.title.text


@pytest.mark.parametrize("views", [1, 3])
def test_any_feature_is_shown_with_its_neighbours_and_its_place(views):
    explorer = feature(views=views)
    assert explorer.of_class.value == 4  # the rarest, the farthest out
    assert_portrait(explorer, explorer.figure, 4, views - 1)
    explorer.of_class.value = 1
    assert explorer.number.box.value == 0
    assert_portrait(explorer, explorer.figure, 1, 0)
    explorer.number.slider.value = explorer.number.slider.max
    assert explorer.number.box.value == 20 * views - 1
    assert_portrait(explorer, explorer.figure, 1, 20 * views - 1)
    explorer.number.box.value = 7
    assert explorer.number.slider.value == 7
    assert_portrait(explorer, explorer.figure, 1, 7)
    assert said(explorer).startswith("Features are counted from the mean")


def test_the_pictures_are_the_features_and_its_neighbours():
    explorer = feature()
    explorer.of_class.value = 0
    for number in (3, 4):
        explorer.number.box.value = number
        row, _, nearest, _ = by_hand(explorer.dictionary, 0, number)
        (sheet,) = (trace for trace in explorer.figure.data if trace.type == "image")
        canvas = np.asarray(Image.open(io.BytesIO(base64.b64decode(sheet.source.split(",")[1]))))
        down, right = canvas.shape[0] // 2, canvas.shape[1] // 3
        for place, i in enumerate((row, *nearest)):
            y, x = place // 3 * down, place % 3 * right
            image = explorer.data.images[explorer.dictionary.image_index[i]]
            np.testing.assert_array_equal(canvas[y : y + 8, x : x + 8, 0], image[0])


def test_a_class_of_one_feature_has_no_slider_to_move():
    explorer = feature((6, 1))
    assert explorer.of_class.value == 1
    assert explorer.number.slider.disabled
    assert explorer.number.box.max == 0
    assert_portrait(explorer, explorer.figure, 1, 0)
    explorer.of_class.value = 0
    assert not explorer.number.slider.disabled


def test_fewer_features_than_neighbours():
    explorer = feature((3, 2))
    assert "of its 4 nearest neighbours" in explorer.figure.layout.title.subtitle.text


def test_names_are_shown_as_they_are():
    explorer = feature((9, 4, 2), names=EVIL)
    assert [name for name, _ in explorer.of_class.options] == [
        f"{name} ({n})" for name, n in zip(EVIL, (9, 4, 2), strict=True)
    ]  # a list shows text, never HTML
    for label in range(3):
        explorer.of_class.value = label
        text = explorer.figure.to_json()
        assert not any(bad in text for bad in ("<b>bold", "$x^2$", "%{y}"))
    evil = tail((60, 50, 40))
    evil.data = replace(evil.data, class_names=EVIL)
    evil.ratio.box.value = 70
    assert "Class 'a & b' has 40" in said(evil)
    assert "&amp;" in evil.status.value


def test_a_hundred_classes_with_long_names():
    names = [f"<i>a rather long name of a class, number {c}" for c in range(100)]
    explorer = feature([3] * 99 + [1], names=names)
    options = [name for name, _ in explorer.of_class.options]
    assert len(set(options)) == 100
    explorer.of_class.value = 50
    assert len(explorer.figure.to_json()) < 150_000


def test_the_map_stays_small_with_very_many_features():
    rng = np.random.default_rng(0)
    labels = np.sort(rng.integers(3, size=25_000))
    figure = charts.portrait(
        np.zeros((3, 1, 8, 8), np.uint8), [1, 2, 3], [0, 1, 2], rng.random((25_000, 2)),
        rng.random(2), labels, ["a", "b", "c"],
    )  # fmt: skip
    *_, ground, _, _, _, star = figure.data
    assert {trace.type for trace in figure.data[-5:]} == {"scattergl"}  # none is hidden by another
    assert len(star.x) == 1
    assert len(ground.x) == pytest.approx(25_000 / 3, abs=1)
    assert len(figure.to_json()) < 500_000


@pytest.mark.parametrize("explorer", [tail, feature], ids=["tail", "feature"])
def test_every_control_has_a_name_and_a_tooltip_and_there_is_one_figure(explorer):
    made = explorer()
    controls = made.row.children
    flat = [c for box in controls for c in (getattr(box, "children", None) or [box])]
    assert len(flat) == 3
    assert all(control.description and control.tooltip for control in flat)
    figures_shown = [c for c in made.children if isinstance(c, go.FigureWidget)]
    assert figures_shown == [made.figure]
    assert isinstance(made.figure.layout.height, int | float)


@pytest.mark.parametrize("explorer", [tail, feature], ids=["tail", "feature"])
def test_where_nobody_looks_on_there_is_a_plain_figure_and_no_widget(explorer, monkeypatch):
    def refuse(self, *args, **kwargs):
        raise AssertionError("a widget was made")

    monkeypatch.setattr(ipywidgets.Widget, "__init__", refuse)
    figure = explorer(live="off")
    assert type(figure) is go.Figure
    assert isinstance(explorer(live="auto"), go.Figure)  # under pytest nobody does


def test_headless_counts_are_those_of_the_data_set():
    data = tiny.long_tailed((40, 20, 9))
    figure = explorers.long_tail(data, DataConfig(), "off")
    assert figure == charts.class_counts(data.class_counts, data.class_names)


def test_headless_shows_the_feature_that_the_controls_begin_with():
    static, live = feature((9, 4, 2), live="off"), feature((9, 4, 2))
    assert static.layout.title == live.figure.layout.title
    assert shown(static)[0] == shown(live.figure)[0]
