"""Interactive maps: notebook 04's generated features, and what each was mixed from.

Here are the widgets alone; what they show is drawn in `maps`. Without a live front end `explore`
gives a plain figure and makes no widget.
"""

from __future__ import annotations

import html
from collections.abc import Sequence
from itertools import combinations
from typing import Any

import ipywidgets as w
import numpy as np
from numpy.typing import ArrayLike, NDArray

from facog_lab.names import as_text
from facog_lab.plots import charts, maps, theme
from facog_lab.plots.mixture_map import MixtureMap
from facog_lab.runs.progress import Live, is_live
from facog_lab.ui.explorers import NAMED, Explorer
from facog_lab.ui.live_figure import live_widget
from facog_lab.ui.point_events import PointEvents
from facog_lab.ui.strips import note, parent, picture, strip

MOST_ROWS, MOST_COLUMNS = 4, 6  # of the plain figure: mixtures, and parents of each
ALL = -1  # classes
MOST_MIXTURES = 6  # of a selection that are shown with their parents
HOVERED, PARENT, BESIDE = 96, 64, 56  # pixels of an image's side: hovered, inspected, as a parent


def prepare(live: Live = "auto") -> Any:
    """An empty canvas, for which a page loads plotly while the maps are computed.

    Args:
        live: whether a live front end shows it, see progress.is_live.

    Returns:
        A widget, or None.
    """
    return live_widget() if is_live(live) else None


def explore(world: MixtureMap, live: Live = "auto", canvas: Any = None) -> Any:
    """The first two maps, side by side and linked; with controls in a live front end.

    Args:
        world: what is on the maps.
        live: whether a live front end shows it, see progress.is_live.
        canvas: what `prepare` gave; then the maps are there a second earlier.

    Returns:
        An `Atlas`, or a plain figure with a button for each colouring.
    """
    if is_live(live):
        return Atlas(world, canvas)
    return _maps(world, list(world.maps)[:2], alone=True)


def mixtures(world: MixtureMap) -> Any:
    """The first generated feature of each of the rarest classes, with its parents: a plain figure.

    Args:
        world: one of its maps is linear.

    Raises:
        ValueError: if none is, since only there the hull of the parents means something.
    """
    linear = [title for title, fitted in world.maps.items() if fitted.exact]
    if not linear:
        raise ValueError(f"of the maps {list(world.maps)} none is linear: add the one of PCA.")
    made = np.flatnonzero(world.generated)
    rarest = np.argsort(world.dictionary.class_counts.numpy(), kind="stable")
    firsts = [made[world.owner[made] == c][:1] for c in rarest]
    points = np.concatenate([*firsts, made[:0]])[:MOST_ROWS]
    parents = [world.parents(point) for point in points]
    n = len(parents[0].rows) if parents else 0
    rows = np.array([p.rows for p in parents], int).reshape(len(points), n)
    heaviest = rows[:, :MOST_COLUMNS]
    images = np.asarray(world.images[world.dictionary.image_index[heaviest.ravel()]])
    title = linear[0]
    return charts.mixtures(
        images.reshape(*heaviest.shape, *images.shape[1:]),
        [p.weights[:MOST_COLUMNS] for p in parents],
        world.owner[points],
        world.places[title][points],
        world.places_of(rows.ravel(), title).reshape(*rows.shape, 2),
        world.maps[title].coordinates,
        world.dictionary.class_names,
    )


def _maps(world: MixtureMap, titles: Sequence[str], **options: Any) -> Any:
    """The figure of some of the maps."""
    return charts.atlas(
        {title: world.places[title] for title in titles},
        world.owner,
        world.generated,
        world.dictionary.class_names,
        world.gained,
        {title: world.maps[title].badge for title in titles},
        **options,
    )


class Atlas(Explorer):
    """Two maps side by side: hover to see an image, select to see what was mixed.

    Attributes:
        pair: the choice of the maps.
        by: the choice of what colours mean.
        only: the choice of a class.
        number: the point that was clicked or typed, -1 for none.
        hovered: the image of the point under the mouse.
        inspector: selected generated features with their parents.
        chosen: the selected points.
    """

    def __init__(self, world: MixtureMap, canvas: Any = None) -> None:
        self.world, self.chosen = world, np.empty(0, np.int64)
        pairs = list(combinations(world.maps, min(2, len(world.maps))))
        self.pair = w.Dropdown(
            options=[(" and ".join(pair), pair) for pair in pairs], description="Maps", style=NAMED
        )
        self.by = w.Dropdown(
            options=maps.COLOURINGS,
            description="Colour by",
            tooltip="recall gained: by the class of a feature, in phase 2",
            style=NAMED,
        )
        names = map(html.unescape, theme.class_labels(world.dictionary.class_names))
        self.only = w.Dropdown(
            options=[("all", ALL), *((name, c) for c, name in enumerate(names))],
            description="Class",
            tooltip="the other classes become a faint ground",
            style=NAMED,
        )
        self.number = w.BoundedIntText(
            value=-1,
            min=-1,
            max=len(world.owner) - 1,
            description="Point no.",
            tooltip="selects a point as a click on it does; -1 is none",
            style=NAMED,
        )
        controls = [self.pair, self.by, self.only, self.number]
        for control, width in zip(controls, (190, 230, 190, 150), strict=True):
            control.layout.width = f"{width}px"
        self.hovered, self.inspector = w.HTML(), w.HTML()
        self.hovered.add_class("facog-hovered")
        above, below = [self.hovered], [self.inspector, PointEvents(self.hear)]
        super().__init__(controls, above, below, canvas)
        self.add_class("facog-mouse")
        self.pair.observe(self.follow, "value")
        self.only.observe(self.follow, "value")
        self.by.observe(lambda _: self.attempt(self._recolour), "value")
        self.number.observe(lambda change: self.attempt(self._pick, change.new), "value")
        self.hovered.value = strip([note("Hover over a point to see its image.")])
        self._inspect()

    def drawn(self) -> tuple[Any, str]:
        """The maps as the controls and the selection say."""
        figure = _maps(
            self.world,
            self.pair.value,
            by=self.by.value,
            only=None if self.only.value == ALL else self.only.value,
            chosen=self.chosen,
        )
        figure.update_layout(shapes=self._shapes(), dragmode="lasso", hovermode="closest")
        return figure, self._summary()

    def hear(self, kind: str, points: list[int]) -> None:
        """Does what the mouse asks for.

        Args:
            kind: "hover", "click" or "select".
            points: the point, or all that are selected; on both maps they have the same numbers.
        """
        if kind == "hover":
            self.attempt(self._hover, *points[:1])
        elif kind == "select":
            self.attempt(self._choose, np.unique(np.array(points, np.int64)))
        elif points and self.number.value == points[0]:
            self.attempt(self._pick, points[0])  # again, after something else was selected
        elif points:
            self.number.value = points[0]

    def _hover(self, point: int) -> None:
        self.hovered.value = strip(self._portrait(point))

    def _pick(self, point: int) -> None:
        """Selects one point alone, or none."""
        self._choose([point] if point >= 0 else [])
        if point >= 0:
            self._hover(point)

    def _choose(self, points: ArrayLike) -> None:
        """Rings the selected points on both maps and shows what generated ones were mixed from."""
        self.chosen = np.asarray(points, np.int64)
        with self.figure.batch_update():
            for column, title in enumerate(self.pair.value):
                rings = self.figure.data[column * maps.TRACES + maps.TRACES - 1]
                rings.x, rings.y = self.world.places[title][self.chosen].T
                rings.marker = maps.rings(len(self.chosen))
            self.figure.layout.shapes = self._shapes()
        self._inspect()

    def _follow(self) -> None:
        """Other maps, or another class: all points are drawn again, and whole maps are in view."""
        super()._follow()
        with self.figure.batch_update():
            self.figure.update_xaxes(autorange=True)
            self.figure.update_yaxes(autorange=True)
        self._inspect()

    def _recolour(self) -> None:
        names = self.world.dictionary.class_names
        self.figure.update_layout(maps.colouring(self.by.value, names, self.world.gained))

    def _mixtures(self) -> NDArray[np.int64]:
        """The selected points that are generated, class by class."""
        return self.chosen[self.world.generated[self.chosen]]

    def _shapes(self) -> list[dict[str, Any]]:
        """How the first of the selected mixtures came about, on both maps."""
        shapes: list[dict[str, Any]] = []
        for point in self._mixtures()[:1]:
            parents = self.world.parents(point)
            for column, title in enumerate(self.pair.value, 1):
                ends = self.world.places_of(parents.rows, title)
                place, exact = self.world.places[title][point], self.world.maps[title].exact
                shapes += maps.mixing(column, place, ends, parents.weights, exact)
        return shapes

    def _summary(self) -> str:
        """The selection in words."""
        mixtures = len(self._mixtures())
        real = len(self.chosen) - mixtures
        if not len(self.chosen):
            return "Nothing is selected: click a point, or draw a lasso or a box around some."
        return f"{real:,} real and {mixtures:,} generated features are selected."

    def _inspect(self) -> None:
        """Shows the parents of some of the selected mixtures."""
        self._say(self._summary())
        mixtures = self._mixtures()
        shown = mixtures[:: max(1, -(-len(mixtures) // MOST_MIXTURES))]  # of all parts: by class
        rows = [strip(self._portrait(point, PARENT)) for point in shown]
        if len(mixtures) > len(shown):
            rows.append(note(f"and {len(mixtures) - len(shown):,} more generated features"))
        if rows:
            rows.insert(0, note(self._legend(int(mixtures[0]))))
        self.inspector.value = "".join(rows)

    def _legend(self, first: int) -> str:
        """What the lines on the maps mean, map by map."""
        rows = self.world.parents(first).rows
        if not len(rows):
            return f"No. {first} was not mixed from real features, so it has no parents."
        sentences = [f"On the maps: no. {first} and lines to its parents, thicker with larger w."]
        for title in self.pair.value:
            there = int(np.isfinite(self.world.places_of(rows, title)).all(1).sum())
            name = as_text(title)
            if self.world.maps[title].exact:
                inside = self.world.mixed.added is None
                where = "in their hull, exactly" if inside else "where the mix was moved to"
                sentences.append(f"{name}: it lies {where}.")
            else:
                missing = (
                    "" if there == len(rows) else f", {there} of {len(rows)} parents are on it"
                )
                sentences.append(f"{name}: distorted, so no hull{missing}.")
        return " ".join(sentences)

    def _portrait(self, point: int, side: int = BESIDE) -> list[str]:
        """A real point's image, or a generated one's parents with their weights."""
        name = as_text(self.world.dictionary.class_names[self.world.owner[point]])
        if not self.world.generated[point]:
            row = self.world.kept[[point]].numpy()
            image = picture(self.world.pictures(row)[0], HOVERED, f"training image, {name}")
            return [image, note(f"<b>{name}</b><br>real, no. {point}")]
        rows, weights = self.world.parents(point)
        text = f"<b>{name}</b><br>generated, no. {point}<br>{self.world.mixture}"
        shown = zip(self.world.pictures(rows), weights, strict=True)
        return [
            note(text),
            *(parent(uri, weight, side, name) for uri, weight in shown),
        ]
