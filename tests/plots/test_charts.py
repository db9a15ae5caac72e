import base64
import io
import json
import math
import re
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from facog_lab import metrics
from facog_lab.names import as_text, label
from facog_lab.plots import charts, images, theme
from facog_lab.ui.live_figure import live_widget

PACKAGE = Path(charts.__file__).parent
NAMES = ("T-shirt/top", "Trouser", "Pullover", "Dress", "Coat", "Sandal", "Shirt", "Sneaker",
         "Bag", "Ankle boot")  # fmt: skip
COUNTS = (4000, 2000, 1000, 750, 500, 350, 200, 100, 60, 40)
EVIL = [
    "<b>bold",
    "%{y}",
    "$x^2$",
    "<a href='https://example.org'>link</a>",
    "&lt;",
    "100",
    "é" * 90,
]


def strings(value):
    """All texts in a figure's JSON, keys left out."""
    if isinstance(value, dict):
        return [text for part in value.values() for text in strings(part)]
    if isinstance(value, list):
        return [text for part in value for text in strings(part)]
    return [value] if isinstance(value, str) else []


def written(figure):
    """The figure as a browser gets it."""
    return json.loads(figure.to_json())


def traces(figure, kind):
    return [trace for trace in figure.data if trace.type == kind]


def every_figure(names, seed=0):
    """One of each, for C classes, from random numbers."""
    rng, c = np.random.default_rng(seed), len(names)
    labels = np.r_[np.arange(c), rng.integers(c, size=30)]
    points = rng.normal(size=(len(labels), 2))
    kind = ["real", "generated"] * (len(labels) // 2) + ["real"] * (len(labels) % 2)
    images = rng.integers(256, size=(12, 1, 8, 8), dtype=np.uint8)
    shown = [names[i % c] for i in range(12)]
    history = {"loss_d": rng.random(300), "entropy": rng.random(300)}
    rows = [{"method": str(n), "acsa": 0.5, "gm": 0.4, "entropy": 0.1} for n in names[:5]]
    counts = rng.integers(1, 500, size=c)
    return {
        "class_counts": charts.class_counts(counts, names),
        "profiles": charts.profiles({str(n): counts for n in names[:5]}),
        "image_grid": charts.image_grid(images, shown),
        "curves": charts.curves(history, {str(n): ["loss_d", "entropy"] for n in names[:5]}),
        "recall_bars": charts.recall_bars({str(names[0]): rng.random(c)}, names, counts),
        "entropy": charts.entropy(history["entropy"], n_s=5),
        "comparison": charts.comparison(rows),
        "overlay": charts.overlay({str(n): history for n in names[:5]}, 100),
        "distances": charts.distances(rng.random((c, c)), names),
        "norms": charts.norms(rng.random(len(labels)), labels, names),
        "neighbours": charts.neighbours(
            images.reshape(3, 4, 1, 8, 8), [shown[:4], shown[4:8], shown[8:]], rng.random((3, 4))
        ),
        "portrait": charts.portrait(
            images[:6],
            [c % 9, *range(5)],
            rng.random(6),
            points,
            points[0],
            labels,
            names,
            "a",
            "b",
        ),
        "scatter": charts.scatter(points, labels, names, kind, title="PCA", badge="exact"),
        "atlas": charts.atlas(
            {"a": points, "b": -points},
            labels,
            np.array(kind) == "generated",
            names,
            rng.random(c) - 0.3,
            {"b": "distorted"},
            alone=True,
        ),
        "mixtures": charts.mixtures(
            images.reshape(3, 4, 1, 8, 8),
            rng.random((3, 4)),
            labels[:3],
            points[:3],
            rng.normal(size=(3, 4, 2)),
            points,
            names,
        ),
    }


@pytest.mark.parametrize(
    "names",
    [NAMES, EVIL, ["alone"], [f"class {i}" for i in range(100)], ["twin"] * 12],
    ids=["ten", "evil", "one", "hundred", "twins"],
)
def test_every_figure_is_light_transparent_and_takes_names_as_they_are(names):
    made = every_figure(names)
    assert set(made) | {"class_colours"} == set(charts.__all__)
    for name, figure in made.items():
        look = figure.layout.template.layout
        assert look.paper_bgcolor == look.plot_bgcolor == "rgba(0,0,0,0)", name
        text = figure.to_json()
        assert len(text) < 150_000, name
        if names is EVIL:
            for shown in strings(json.loads(text)):
                assert not any(bad in shown for bad in ("<b>bold", "$x^2$", "<a "))
                # Ours are followed by what plotly fills in, never by the whole of a name.
                assert shown != "%{y}", name


@pytest.mark.parametrize(
    ("name", "shown"),
    [
        ("<b>x", "&lt;b&gt;x"),
        ("a & b", "a &amp; b"),
        ("%{x}", "&#37;{x}"),
        ("$x$", "&#36;x&#36;"),
        ("two\nlines", "two lines"),
        ("x" * 50, "x" * 39 + "…"),
        (7, "7"),
    ],
)
def test_names_are_text(name, shown):
    assert as_text(name) == shown
    assert label(str(name)) == shown


def test_classes_are_told_apart_by_colour_and_by_name():
    for count in (1, 10, 11, 100, 1000):
        colours = charts.class_colours(count)
        assert len(colours) == count
        assert all(re.fullmatch("#[0-9a-f]{6}", colour) for colour in colours)
    assert len(set(charts.class_colours(100))) == 100
    assert charts.class_colours(4) == charts.class_colours(10)[:4]
    long = ["great white shark, " * 3 + end for end in "ab"]
    assert len(set(theme.class_labels(long))) == 2
    assert theme.class_labels(["cat", "dog"]) == ["cat", "dog"]


def luminance(colour):
    parts = np.array([int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)])
    linear = np.where(parts <= 0.04045, parts / 12.92, ((parts + 0.055) / 1.055) ** 2.4)
    return linear @ (0.2126, 0.7152, 0.0722)


def test_ink_reads_on_light_and_dark_pages_and_the_sequence_grows_lighter():
    ink = luminance(theme.INK)
    assert 1.05 / (ink + 0.05) > 4.2
    assert (ink + 0.05) / (luminance("#111111") + 0.05) > 4.2
    lightness = [luminance(colour) for colour in theme.class_colours(50)]
    assert np.all(np.diff(lightness) > 0)


def test_a_class_has_one_colour_in_every_figure():
    made = every_figure(NAMES)
    colours = charts.class_colours(10)
    assert list(made["class_counts"].data[0].marker.color) == colours
    assert [box.marker.color for box in traces(made["norms"], "box")] == colours
    for trace in made["scatter"].data:
        assert trace.marker.color == colours[NAMES.index(trace.name)]
    for axis in ("coloraxis", "coloraxis2", "coloraxis3"):
        bands = made["atlas"].layout[axis].colorscale
        assert [colour for _, colour in bands[::2]] == colours


def test_class_counts_shows_the_counts_and_both_bounds():
    figure = charts.class_counts(torch.tensor(COUNTS), NAMES)
    assert list(figure.data[0].x) == list(NAMES)
    assert list(figure.data[0].y) == list(COUNTS)
    assert [line.y0 for line in figure.layout.shapes] == [20, 100]
    assert (
        "imbalance ratio 100; classes: 7 many, 3 medium, 0 few" in figure.layout.title.subtitle.text
    )
    low, high = figure.layout.yaxis.range
    assert 10**low < 1
    assert 10**high > 4000
    assert not charts.class_counts(COUNTS, NAMES, log=False).layout.shapes
    assert not charts.class_counts([0, 3], ["a", "b"]).layout.shapes  # nothing reaches 20


def test_profiles_are_sorted_from_large_to_small():
    figure = charts.profiles({"a": [1, 30, 20], "b": torch.tensor([5, 6])})
    assert [list(trace.y) for trace in figure.data] == [[30, 20, 1], [6, 5]]


def picture(figure):
    uri = traces(figure, "image")[0].source
    assert uri.startswith("data:image/png;base64,")
    return np.asarray(Image.open(io.BytesIO(base64.b64decode(uri.split(",")[1]))))


@pytest.mark.parametrize("channels", [1, 3])
def test_images_are_on_the_sheet_pixel_by_pixel_and_nothing_else_is(channels):
    rng = np.random.default_rng(0)
    images = rng.integers(256, size=(7, channels, 6, 9), dtype=np.uint8)
    sheet = theme.sheet(images, 3, lines=1)
    canvas = picture(charts.image_grid(torch.from_numpy(images), ["x"] * 7, columns=3))
    for image, (x, y) in zip(images, np.rint(sheet.corners / sheet.pixel).astype(int), strict=True):
        cut = canvas[y : y + 6, x : x + 9]
        np.testing.assert_array_equal(
            cut[..., :3], np.broadcast_to(image.transpose(1, 2, 0), (6, 9, 3))
        )
        assert (cut[..., 3] == 255).all()
    assert (canvas[..., 3] > 0).sum() == 7 * 6 * 9
    assert canvas.shape[1] * sheet.pixel == pytest.approx(sheet.width)
    assert canvas.shape[0] * sheet.pixel == pytest.approx(sheet.height)


def test_large_images_are_averaged_down():
    image = np.kron(np.array([[0, 200], [100, 40]]), np.ones((100, 100))).astype(np.uint8)
    canvas = picture(charts.image_grid(image[None, None], ["x"]))
    side = 200 // math.ceil(200 / theme.LARGEST)
    assert [canvas[y, x, 0] for y, x in ((0, 0), (0, side - 1), (side - 1, 0))] == [0, 200, 100]
    assert canvas[side - 1, side - 1, 0] == 40


def test_neighbours_are_framed_by_whether_they_share_the_querys_class():
    images = np.zeros((2, 4, 1, 8, 8), np.uint8)
    names = [["cat", "cat", "dog", "cat"], ["dog", "cat", "cat", "dog"]]
    figure = charts.neighbours(images, names, np.arange(8).reshape(2, 4) / 8)
    texts = [trace for trace in traces(figure, "scatter") if trace.mode == "text"]
    lines = [trace for trace in traces(figure, "scatter") if trace.mode == "lines"]
    frames = {trace.name: len(trace.x) // 6 for trace in lines}
    assert frames == {"same class": 3, "other class": 3}
    assert list(texts[0].text[:3]) == ["cat<br>query", "cat<br>0.125", "dog<br>0.250"]


def test_curves_leave_out_what_is_absent_and_keep_the_raw_curve_behind_the_smooth_one():
    rng = np.random.default_rng(0)
    history = {"loss_d": rng.random(1400), "loss_adv": [0.1, np.nan, 0.3]}
    groups = {"D": ["loss_d", "no such"], "G": ["loss_adv"], "Nothing": ["nor this"]}
    figure = charts.curves(history, groups, x_title="step")
    raw, smooth, short = figure.data
    np.testing.assert_array_equal(raw.y, history["loss_d"].astype(np.float32))
    assert raw.opacity < 0.5
    assert np.std(smooth.y) < np.std(raw.y) / 3
    assert list(smooth.x) == list(range(1, 1401))
    assert len(short.y) == 3
    assert "Nothing" in figure.layout.annotations[2].text
    assert len(charts.curves(history, groups, smooth=0).data) == 2
    at = charts.curves({"loss": [3, 2]}, {"a": ["loss"]}, x=[10, 20]).data[0]
    assert list(at.x) == [10, 20]
    long = charts.curves({"loss": np.arange(50_000.0)}, {"a": ["loss"]})
    assert len(long.to_json()) < 60_000


def test_the_moving_average_is_that_of_a_loop():
    rng = np.random.default_rng(0)
    values = rng.normal(size=40)
    values[[3, 4, 20, 39]] = np.nan
    values[11] = np.inf
    got = theme.moving_average(values, 5)
    for i in range(40):
        near = [v for v in values[max(0, i - 2) : i + 3] if np.isfinite(v)]
        assert got[i] == pytest.approx(np.mean(near))
    assert np.isnan(theme.moving_average([np.nan] * 3, 2)).all()
    assert len(theme.moving_average([1.0, 2.0], 100)) == 2


def test_entropy_stands_beside_its_references():
    steps = np.arange(1, 101)
    n_s = np.where(steps <= 60, 5, 8)
    figure = charts.entropy({"facog": np.zeros(100)}, n_s, x=steps * 10)
    uniform, dirichlet, one_hot, curve = figure.data
    assert list(uniform.x) == [10, 600, 610, 1000]
    np.testing.assert_allclose(uniform.y, np.log([5, 5, 8, 8]))
    rng = np.random.default_rng(0)
    for n, expected in ((5, dirichlet.y[0]), (8, dirichlet.y[-1])):
        w = rng.dirichlet(np.ones(n), 20_000)
        assert -(w * np.log(w)).sum(1).mean() == pytest.approx(expected, abs=0.01)
    assert not np.any(one_hot.y)
    assert len(curve.y) == 100
    said = " ".join(note.text for note in figure.layout.annotations)
    assert "log n_s = 2.08" in said
    alone = charts.entropy([0.0, 0.0], n_s=1).layout.annotations
    assert len(alone) == 1  # one weight leaves nothing to choose: the references coincide


def test_recall_goes_from_most_to_fewest_and_shows_the_tail_of_many():
    counts, recall = torch.tensor([10, 30, 20]), {"phase1": [0.1, 0.3, np.nan], "mine": (0.2,) * 3}
    figure = charts.recall_bars(recall, ["a", "b", "c"], counts)
    assert list(figure.data[0].x) == ["b<br>(30)", "c<br>(20)", "a<br>(10)"]
    np.testing.assert_array_equal(figure.data[0].y, [0.3, np.nan, 0.1])
    assert [bar.name for bar in figure.data] == [
        "Phase 1 alone (mean 0.200)",
        "mine (mean 0.200)",
    ]
    counts = torch.randperm(100, generator=torch.Generator().manual_seed(0)) + 1
    values = np.arange(100) / 100
    names = [f"class {i}" for i in range(100)]
    tail = charts.recall_bars({"facog": values}, names, counts).data[0]
    np.testing.assert_array_equal(tail.y, values[metrics.rarest_classes(counts)])
    assert len(charts.recall_bars({"facog": values}, names, counts, rarest=1.0).data[0].x) == 100


def test_comparison_shows_every_row_and_names_the_methods():
    rows = [
        {"method": "phase1", "acsa": 0.8, "gm": 0.7, "entropy": None, "top1": 0.8},
        {"method": "facog", "acsa": 0.86, "gm": float("nan"), "entropy": 0.02, "tail20": 0.5},
        {"method": "random_oversampling", "acsa": 0.87, "gm": 0.0, "entropy": float("nan")},
    ]
    figure = charts.comparison(rows)
    acsa, gm = figure.data
    assert list(acsa.x) == [0.8, 0.86, 0.87]
    assert list(acsa.y) == list(gm.y) == [0, 1, 2]
    heads = figure.layout.yaxis.ticktext
    assert heads[0] == "Phase 1 alone"
    assert "entropy of w 0.02" in heads[1]
    assert heads[2] == "Random oversampling"
    assert list(acsa.hovertext) == ["top-1 0.800", "rarest 20% 0.500", ""]
    seeds = charts.comparison(rows * 3)
    assert len(seeds.data[0].x) == 9
    assert len(seeds.layout.yaxis.ticktext) == 3


def test_norms_are_the_quantiles_of_each_class():
    values, labels = np.r_[np.arange(101.0), 5, np.nan], np.r_[np.zeros(101, int), 2, 2]
    boxes = traces(charts.norms(torch.tensor(values), labels, ["a", "none", "b"]), "box")
    assert [list(box.x) for box in boxes] == [["a"], ["b"]]
    first = boxes[0]
    got = [first.lowerfence[0], first.q1[0], first.median[0], first.q3[0], first.upperfence[0]]
    assert got == [5, 25, 50, 75, 95]


def test_a_thousand_classes_make_a_heat_map_that_can_be_saved():
    figure = charts.distances(np.random.default_rng(0).random((1000, 1000)), list(range(1000)))
    assert len(figure.to_json()) < 400_000
    assert "one in 5 classes" in figure.layout.title.subtitle.text
    assert list(figure.data[0].x[:3]) == ["0", "5", "10"]


@pytest.mark.parametrize("classes", [10, 40])
def test_a_map_draws_every_point_once_and_generated_ones_on_top(classes):
    rng = np.random.default_rng(0)
    labels, points = rng.integers(classes, size=200), rng.normal(size=(200, 2))
    made = rng.random(200) < 0.2
    names = [f"class {i}" for i in range(classes)]
    kind = np.where(made, "generated", "real")
    figure = charts.scatter([*points], torch.tensor(labels), names, kind)
    seen = np.concatenate(
        [trace.customdata for trace in figure.data if trace.customdata is not None]
    )
    assert sorted(seen) == list(range(200))
    order = []
    for trace in figure.data:
        if trace.customdata is None:
            continue
        rows = np.asarray(trace.customdata)
        np.testing.assert_allclose(np.c_[trace.x, trace.y], points[rows], rtol=1e-6)
        generated = trace.marker.symbol == "diamond"
        assert (made[rows] == generated).all()
        order.append(generated)
        shown = trace.text if classes > 20 else [trace.name] * len(rows)
        assert [names[c] for c in labels[rows]] == list(shown)
    assert order == sorted(order)
    assert figure.layout.yaxis.scaleanchor == "x"


def test_maps_beyond_some_thousand_points_go_to_webgl():
    for count, kind in ((images.SVG_POINTS, "scatter"), (images.SVG_POINTS + 1, "scattergl")):
        figure = charts.scatter(np.zeros((count, 2)), np.zeros(count, int), ["a"])
        assert figure.data[0].type == kind


def test_a_map_carries_its_badge():
    for badge, colour in (("exact", theme.BLUE), ("distorted: trustworthiness 0.9", theme.ORANGE)):
        figure = charts.scatter(np.eye(3)[:, :2], [0, 1, 1], ["a", "b"], title="x", badge=badge)
        assert [trace.name for trace in figure.data if trace.showlegend is not False] == ["a", "b"]
        (head,) = figure.layout.annotations
        assert badge in head.text
        assert colour in head.text


def test_nothing_to_show_is_no_error():
    nothing = np.zeros((0, 2))
    for figure in (
        charts.image_grid(np.zeros((0, 1, 8, 8), np.uint8), []),
        charts.neighbours(np.zeros((0, 5, 1, 8, 8), np.uint8), []),
        charts.curves({}, {"Losses": ["loss"]}),
        charts.curves({}, {}),
        charts.curves({"loss": []}, {"Losses": ["loss"]}),
        charts.curves({"loss": [1.0]}, {"Losses": ["loss"]}),
        charts.curves({"loss": [np.nan] * 300}, {"Losses": ["loss"]}),
        charts.entropy([], n_s=5),
        charts.entropy([1.2], n_s=5),
        charts.entropy({}, n_s=5),
        charts.comparison([]),
        charts.profiles({}),
        charts.scatter(nothing, [], NAMES),
        charts.scatter(np.full((2, 2), np.nan), [0, 1], NAMES, ["generated"] * 2),
        charts.scatter([], [], []),
        charts.atlas({"PCA": nothing}, [], [], NAMES, [np.nan] * 10),
        charts.atlas({"PCA": np.full((2, 2), np.nan)}, [0, 1], [False, True], NAMES, COUNTS),
        charts.atlas({}, [], [], [], []),
        charts.norms([], [], NAMES),
        charts.distances(np.full((2, 2), np.nan), ["a", "b"]),
        charts.recall_bars({}, NAMES, COUNTS),
        charts.recall_bars({"facog": [np.nan] * 10}, NAMES, COUNTS),
        charts.class_counts([0], ["a"]),
    ):
        assert written(figure)


def test_a_live_figure_offers_no_upload_either():
    assert live_widget(charts.profiles({"a": [2, 1]}))._config["showSendToCloud"] is False
