"""The maps of notebook 04: what the mouse, the keyboard and the lists make of them."""

import base64
import io
import re

import ipywidgets
import numpy as np
import pytest
import torch
from PIL import Image
from scipy.spatial import ConvexHull
from tiny import dictionary, long_tailed

from facog_lab.generator import Mix
from facog_lab.plots import charts, embedding, maps, theme
from facog_lab.plots.mixture_map import MixtureMap
from facog_lab.ui import embedding_explorer, point_events

EVIL = ("<b>bold</b>", "<img src=x>", "$x$", "%{y}", "a & b")


def world(counts=(40, 20, 9, 3, 1), n_s=4, made=30, every=1, gained=None, names=None):
    """Features on a true PCA map and on two that are made up; every so many real ones are kept."""
    rng = torch.Generator().manual_seed(1)
    features = dictionary(counts)
    if names is not None:
        features = type(features)(**vars(features) | {"class_names": tuple(names)})
    labels = torch.randint(len(counts), (made,), generator=rng)
    rows = features.draw(labels, n_s, rng)
    weights = torch.rand(made, n_s, generator=rng)
    weights /= weights.sum(1, keepdim=True)
    kept = torch.arange(0, len(features.labels), every)
    pca = embedding.fit_map(features.features[kept], "pca")

    def bent(sign):
        flat = sign * pca.coordinates**3
        return embedding.Map("tsne", flat, False, 0.9, 0.0, 6, lambda new: sign * pca.place(new))

    return MixtureMap(
        dictionary=features,
        images=long_tailed(counts).images,
        maps={"t-SNE": bent(1), "UMAP": bent(-1), "PCA": pca},
        kept=kept,
        mixed=Mix((weights[..., None] * features.features[rows]).sum(1), weights, rows),
        labels=labels,
        gained=np.linspace(-0.2, 0.4, len(counts)) if gained is None else gained,
    )


def pixels(uri):
    return np.asarray(Image.open(io.BytesIO(base64.b64decode(uri.split(",")[1]))))


def shown(html):
    """Images with the weights in their descriptions, in the order of the page."""
    found = re.findall(r'<img src="([^"]*)" alt="[^"]*weight ([\d.]+)"', html)
    return [(pixels(uri), float(weight)) for uri, weight in found]


def points_of(figure, column, kind):
    """customdata of the real (1) or generated (2) points of a map."""
    return figure.data[column * maps.TRACES + kind].customdata


def chosen(figure, column):
    trace = figure.data[column * maps.TRACES + maps.TRACES - 1]
    return np.c_[trace.x, trace.y]


def test_a_point_has_the_same_number_on_both_maps_and_its_own_place():
    made = world(every=2)
    live = embedding_explorer.Atlas(made)
    real = len(made.kept)
    for column, title in enumerate(("t-SNE", "UMAP")):
        for kind, rows in ((1, range(real)), (2, range(real, real + 30))):
            assert list(points_of(live.figure, column, kind)) == list(rows)
            trace = live.figure.data[column * maps.TRACES + kind]
            np.testing.assert_allclose(np.c_[trace.x, trace.y], made.places[title][rows])
            assert list(trace.marker.color) == list(made.owner[rows])


def test_hovering_a_real_point_shows_its_training_image():
    made = world(every=2)
    live = embedding_explorer.Atlas(made)
    live.hear("hover", [7])
    (uri,) = re.findall(r'<img src="([^"]*)"', live.hovered.value)
    image = made.images[made.dictionary.image_index[made.kept[7]]]
    np.testing.assert_array_equal(pixels(uri), image.permute(1, 2, 0).expand(-1, -1, 3))
    assert "real, no. 7" in live.hovered.value
    assert made.dictionary.class_names[made.owner[7]] in live.hovered.value


@pytest.mark.parametrize("n_s", [1, 4, 20])
def test_a_generated_point_shows_the_images_and_weights_of_its_mix(n_s):
    made = world(n_s=n_s)
    live = embedding_explorer.Atlas(made)
    first = len(made.kept)
    for i in (0, 29):
        live.hear("hover", [first + i])
        live.hear("click", [first + i])
        weights, order = made.mixed.weights[i].sort(descending=True, stable=True)
        images = made.images[made.dictionary.image_index[made.mixed.rows[i][order]]]
        for html in (live.hovered.value, live.inspector.value):
            assert len(shown(html)) == n_s
            for (image, weight), wanted, expected in zip(shown(html), images, weights, strict=True):
                assert weight == pytest.approx(float(expected), abs=6e-4)
                np.testing.assert_array_equal(image[..., 0], wanted[0])
        assert f"n_s = {n_s}" in live.inspector.value


def test_a_selection_is_ringed_on_both_maps_and_inspected_in_part():
    made = world()
    live = embedding_explorer.Atlas(made)
    first = len(made.kept)
    picked = [3, 5, *range(first, first + 20)]
    live.hear("select", picked[::-1])
    assert live.chosen.tolist() == picked
    for column, title in enumerate(("t-SNE", "UMAP")):
        np.testing.assert_allclose(chosen(live.figure, column), made.places[title][picked])
    assert "2 real and 20 generated features" in live.status.value
    listed = re.findall(r"generated, no. (\d+)", live.inspector.value)
    assert len(listed) <= embedding_explorer.MOST_MIXTURES
    assert set(map(int, listed)) <= set(picked)
    assert f"and {20 - len(listed)} more" in live.inspector.value
    live.hear("select", [])
    assert not len(chosen(live.figure, 0))
    assert live.inspector.value == ""
    assert not live.figure.layout.shapes


def test_the_number_selects_as_a_click_does():
    made = world()
    live = embedding_explorer.Atlas(made)
    point = len(made.kept) + 4
    live.number.value = point
    assert live.chosen.tolist() == [point]
    typed = live.inspector.value, live.hovered.value
    live.hear("select", [1, 2])
    live.hear("click", [point])  # the number has not changed, the selection has
    assert (live.inspector.value, live.hovered.value) == typed
    live.hear("click", [2])
    assert live.number.value == 2
    live.number.value = -1
    assert live.chosen.tolist() == []


def hull_of(figure):
    (path,) = (shape.path for shape in figure.layout.shapes if shape.type == "path")
    return np.array([list(map(float, corner.split(","))) for corner in path[1:-1].split("L")])


def test_the_hull_is_drawn_on_the_linear_map_alone_and_holds_the_mixture():
    made = world(every=3)
    live = embedding_explorer.Atlas(made)
    i = int((made.labels == 0).nonzero()[0])  # a class with many features: they span an area
    point = len(made.kept) + i
    live.hear("click", [point])
    assert not [shape for shape in live.figure.layout.shapes if shape.type == "path"]
    live.pair.value = ("t-SNE", "PCA")
    rows, weights = made.mixed.rows[i], made.mixed.weights[i]
    parents = made.maps["PCA"].place(made.dictionary.features[rows]).astype(float)
    hull = ConvexHull(parents)
    wanted = {tuple(corner) for corner in parents[hull.vertices].round(3)}
    assert {tuple(corner) for corner in hull_of(live.figure).round(3)} == wanted
    inside = hull.equations[:, :2] @ made.places["PCA"][point] + hull.equations[:, 2]
    assert (inside < 1e-4).all()
    lines = [s for s in live.figure.layout.shapes if s.type == "line" and s.xref == "x2"]
    ends = np.array([[line.x1, line.y1] for line in lines])
    order = weights.argsort(descending=True)
    np.testing.assert_allclose(ends, parents[order], rtol=1e-5)
    assert all(np.diff([line.line.width for line in lines]) <= 0)
    # On a bent map there are lines to the parents that are on it, and no others.
    bent = [s for s in live.figure.layout.shapes if s.type == "line" and s.xref == "x"]
    there = int((rows % 3 == 0).sum())
    assert len(bent) == there
    assert f"t-SNE: distorted, so no hull, {there} of 4 parents" in live.inspector.value
    assert "PCA: it lies in their hull, exactly" in live.inspector.value


def turns(corners, points):
    """(K, N) above 0 where a point lies to the left of the way from a corner to the next."""
    ahead = np.roll(corners, -1, 0) - corners
    away = points[None] - corners[:, None]
    return ahead[:, None, 0] * away[..., 1] - ahead[:, None, 1] * away[..., 0]


def test_a_convex_hull_turns_left_around_all_points():
    rng = np.random.default_rng(0)
    for n in range(3, 40):
        for points in (rng.normal(size=(n, 2)), rng.integers(4, size=(n, 2)).astype(float)):
            corners = maps.convex_hull(points)
            assert {tuple(corner) for corner in corners} <= {tuple(point) for point in points}
            assert (turns(corners, points) >= -1e-12).all()
            if len(corners) > 2:
                assert (np.diag(turns(corners, np.roll(corners, -2, 0))) > 0).all()


@pytest.mark.parametrize(
    ("points", "corners"),
    [
        ([[1, 2]], [[1, 2]]),
        ([[1, 2]] * 3, [[1, 2]]),
        ([[3, 1], [1, 2]], [[1, 2], [3, 1]]),
        ([[0, 0], [2, 2], [1, 1]], [[0, 0], [2, 2]]),
        ([[1, 5], [1, -1], [1, 2], [1, 3]], [[1, -1], [1, 5]]),
    ],
    ids=["a point", "a point thrice", "two points", "a line", "an upright line"],
)
def test_what_has_no_area_has_its_ends(points, corners):
    assert maps.convex_hull(points).tolist() == corners


def test_colours_mean_class_or_kind_or_recall_gained():
    live = embedding_explorer.Atlas(world())
    palette, layout = theme.class_colours(5), live.figure.layout

    def colours(axis):
        return [colour for _, colour in layout[axis].colorscale[::2]]

    assert colours("coloraxis") == colours("coloraxis2") == palette
    assert list(layout.coloraxis3.colorbar.ticktext) == [f"class {c}" for c in range(5)]
    live.by.value = "real or generated"
    assert set(colours("coloraxis")) == {theme.BLUE}
    assert set(colours("coloraxis2")) == {theme.ORANGE}
    assert list(layout.coloraxis3.colorbar.ticktext) == ["real", "generated"]
    live.by.value = "recall gained"  # from -0.2 to 0.4: the scale is symmetric
    assert (layout.coloraxis3.cmin, layout.coloraxis3.cmax) == (-0.4, 0.4)
    ends = [colour for _, colour in maps.DIVERGING]
    assert colours("coloraxis")[-1] == ends[-1]
    assert "recall gained" in layout.coloraxis3.colorbar.title.text
    scale = layout.coloraxis3.colorscale
    assert [colour for _, colour in scale] == ends
    live.by.value = "class"
    assert colours("coloraxis") == palette
    assert not layout.coloraxis3.colorbar.tickformat


def test_an_unknown_gain_and_no_gain_have_colours():
    for gained in ([np.nan] * 5, [0.0] * 5, [0.1, np.nan, 0, 0, -0.1]):
        axes = maps.colouring("recall gained", ["a"] * 5, gained)
        assert all(re.fullmatch("#[0-9a-f]{6}", c) for _, c in axes["coloraxis"]["colorscale"])
        assert axes["coloraxis3"]["cmax"] > 0


def test_a_class_alone_keeps_its_numbers_and_the_others_are_ground():
    made = world()
    live = embedding_explorer.Atlas(made)
    live.only.value = 2
    for column in (0, 1):
        own = np.flatnonzero(made.owner == 2)
        seen = np.r_[points_of(live.figure, column, 1), points_of(live.figure, column, 2)]
        assert seen.tolist() == own.tolist()
        ground = live.figure.data[column * maps.TRACES]
        assert len(ground.x) == len(made.owner) - len(own)
        assert ground.hoverinfo == "skip"
    live.only.value = embedding_explorer.ALL
    assert not len(live.figure.data[0].x)


def test_other_maps_show_other_places_of_the_same_selection():
    made = world()
    live = embedding_explorer.Atlas(made)
    live.hear("select", [1, 2, 3])
    live.pair.value = ("UMAP", "PCA")
    for column, title in enumerate(live.pair.value):
        np.testing.assert_allclose(chosen(live.figure, column), made.places[title][[1, 2, 3]])
    heads = [note.text for note in live.figure.layout.annotations]
    assert "distorted: trustworthiness 0.90" in heads[0]
    assert "exact" in heads[1]


@pytest.mark.parametrize(
    "made",
    [world(made=0), world(counts=(30,)), world(n_s=1), world(n_s=20), world(gained=[np.nan] * 5)],
    ids=["nothing generated", "one class", "n_s 1", "n_s 20", "no gains"],
)
def test_what_is_degenerate_is_shown_all_the_same(made):
    live = embedding_explorer.Atlas(made)
    last = len(made.owner) - 1
    live.pair.value = ("t-SNE", "PCA")
    live.by.value = "recall gained"
    live.only.value = 0
    for kind in ("hover", "click", "select"):
        live.hear(kind, [last])
        assert "⚠" not in live.status.value
    assert embedding_explorer.explore(made, "off").data
    assert embedding_explorer.mixtures(made).layout.height


def test_names_of_a_hundred_classes_are_shown_as_they_are():
    names = [*EVIL, *(f"class {c}" for c in range(95))]
    made = world(counts=(3,) * 100, names=names)
    live = embedding_explorer.Atlas(made)
    assert [label for label, _ in live.only.options] == ["all", *names]
    for point in range(0, len(made.owner), 40):
        live.hear("hover", [point])
        live.hear("click", [point])
        pages = live.hovered.value + live.inspector.value
        assert not any(bad in pages for bad in ("<b>bold</b>", "<img src=x", "$x$"))
    assert len(embedding_explorer.explore(made, "off").to_json()) < 150_000


def test_an_error_is_said_in_the_panel():
    live = embedding_explorer.Atlas(world())
    live.hear("hover", [10**6])
    assert "⚠ IndexError" in live.status.value
    live.hear("hover", [0])
    assert "real, no. 0" in live.hovered.value


def test_without_a_kernel_there_are_buttons_and_names_and_no_widget():
    made = world()
    before = set(ipywidgets.widgets.widget._instances)
    figure = embedding_explorer.explore(made, "off")
    assert set(ipywidgets.widgets.widget._instances) == before
    assert type(figure) is type(charts.atlas({}, [], [], [], []))
    assert [button.label for button in figure.layout.updatemenus[0].buttons] == list(
        maps.COLOURINGS
    )
    assert list(figure.data[1].text) == [f"class {c}" for c in made.owner[: len(made.kept)]]
    for button, by in zip(figure.layout.updatemenus[0].buttons, maps.COLOURINGS, strict=True):
        assert button.args[0] == maps.colouring(by, made.dictionary.class_names, made.gained)


def test_a_canvas_is_the_widget_that_is_shown_and_may_be_used_again():
    made = world()
    assert embedding_explorer.prepare("off") is None
    canvas = embedding_explorer.prepare("on")
    assert not canvas.data
    for only in (1, 3):
        live = embedding_explorer.explore(made, "on", canvas)
        assert live.figure is canvas
        assert len(canvas.data) == 2 * maps.TRACES + 1
        live.only.value = only
        seen = np.r_[points_of(canvas, 0, 1), points_of(canvas, 0, 2)]
        assert set(made.owner[seen]) == {only}


def test_the_plain_figure_shows_a_mixture_of_each_of_the_rarest_classes():
    made = world(n_s=4, made=60)
    figure = embedding_explorer.mixtures(made)
    named = [trace.name for trace in figure.data if trace.name]
    assert named == ["class 4", "class 3", "class 2", "class 1"]
    (captions,) = (trace.text for trace in figure.select_traces({"mode": "text"}))
    weights = [float(text.rpartition("= ")[2]) for text in captions]
    for k, label in enumerate((4, 3, 2, 1)):
        i = int((made.labels == label).nonzero()[0])
        expected = made.mixed.weights[i].sort(descending=True).values
        np.testing.assert_allclose(weights[4 * k : 4 * k + 4], expected, atol=6e-4)


def test_what_does_not_fit_is_named():
    made = world()
    with pytest.raises(ValueError, match=r"none is linear: add the one of PCA"):
        embedding_explorer.mixtures(
            MixtureMap(**vars(made) | {"maps": {"UMAP": made.maps["UMAP"]}})
        )
    with pytest.raises(ValueError, match=r"map 't-SNE' has 73 points, but 10 features were kept"):
        MixtureMap(**vars(made) | {"kept": made.kept[:10]})


def test_a_message_of_the_page_is_heard_and_a_hover_answered():
    heard, sent = [], []
    page = point_events.PointEvents(lambda *event: heard.append(event))
    page.send = sent.append
    for kind in ("hover", "select"):
        page._handle_custom_msg({"kind": kind, "points": [3]}, [])
    assert heard == [("hover", [3]), ("select", [3])]
    assert len(sent) == 1  # the page asks for the next hover only when the last was answered
