"""Interactive controls: the long tail of notebook 00, the features of notebook 02.

Here are the widgets alone; what they show is computed and drawn elsewhere. Without a live front
end each function gives a plain figure and makes no widget.
"""

from __future__ import annotations

import html
from collections.abc import Callable, Sequence
from typing import Any

import ipywidgets as w
import numpy as np

from facog_lab.config import DataError
from facog_lab.data.long_tail import long_tail_counts
from facog_lab.dataset import LongTailed
from facog_lab.dictionary import FeatureDictionary
from facog_lab.names import VALUES
from facog_lab.plots import charts, theme
from facog_lab.plots.embedding import Map, fit_map
from facog_lab.runs.progress import Live, is_live
from facog_lab.settings import DataConfig
from facog_lab.ui.live_figure import live_widget
from facog_lab.ui.resize_observer import ResizeObserver
from facog_lab.ui.sliders import NumberWithSlider, Sliders

NEIGHBOURS = 5  # of a feature
NAMED = {"description_width": "initial"}  # room for the whole of a control's name


def long_tail(data: LongTailed, config: DataConfig, live: Live = "auto") -> Any:
    """The class counts, with controls for the profile and the imbalance ratio in a live front end.

    Args:
        data: the data set; of its images none is touched.
        config: what it was made with, where the controls start.
        live: whether a live front end shows it, see progress.is_live.

    Returns:
        A `LongTail`, or a plain figure.
    """
    if is_live(live):
        return LongTail(data, config)
    return charts.class_counts(data.class_counts, data.class_names)


def feature(dictionary: FeatureDictionary, data: LongTailed, live: Live = "auto") -> Any:
    """A feature with its neighbours and its place, any of them in a live front end.

    Otherwise, and to begin with, it is the rarest class's feature farthest from the class's mean.

    Args:
        dictionary: the features.
        data: the data set they were made from.
        live: whether a live front end shows it, see progress.is_live.

    Returns:
        A `Feature`, or a plain figure.

    Raises:
        ValueError: if there are too few features for a map, or all are the same.
    """
    fitted = fit_map(dictionary.features, "pca")
    if is_live(live):
        return Feature(dictionary, data, fitted)
    rarest = int(dictionary.class_counts.argmin())
    return _portrait(dictionary, data, fitted, rarest, len(dictionary.outwards(rarest)) - 1)


class Explorer(w.VBox):
    """Controls, a line that says in words what is shown, and a live figure.

    What goes wrong is said in the line, and the figure stays as it was.

    Args:
        controls: in a row, which may wrap.
        above: what else is between the line and the figure.
        below: what else is below the figure.
        canvas: an earlier widget to show the figure on, see live_figure.live_widget.

    Attributes:
        row: the controls.
        figure: the live figure.
        status: the line.
    """

    def __init__(
        self,
        controls: Sequence[w.Widget],
        above: Sequence[w.Widget] = (),
        below: Sequence[w.Widget] = (),
        canvas: Any = None,
    ) -> None:
        self.status = w.HTML()
        figure, text = self.drawn()
        self.figure = live_widget(figure, canvas)
        self._say(text)
        self.row = w.HBox(controls, layout=w.Layout(flex_flow="row wrap"))
        around = [self.row, self.status, Sliders(), *above, ResizeObserver()]
        super().__init__([*around, self.figure, *below])

    def drawn(self) -> tuple[Any, str]:
        """The figure of what the controls say, and the line."""
        raise NotImplementedError

    def follow(self, change: Any = None) -> None:
        """Shows what the controls say now."""
        self.attempt(self._follow)

    def attempt(self, act: Callable[..., None], *values: Any) -> None:
        """Does what a callback is for; what goes wrong there is said, or nobody would see it."""
        try:
            act(*values)
        except Exception as error:
            kind = "" if isinstance(error, DataError) else f"{type(error).__name__}: "
            self._say(f"⚠ {kind}{error}")

    def _follow(self) -> None:
        figure, text = self.drawn()
        layout = figure.layout.to_plotly_json()
        layout.pop("template")  # always the same, and long
        # There may be fewer of these than before, even none.
        counted = {name: layout.pop(name, ()) for name in ("annotations", "shapes")}
        with self.figure.batch_update():  # what is the same is not sent again
            for shown, new in zip(self.figure.data, figure.data, strict=True):
                shown.update(new.to_plotly_json())
            self.figure.layout.update(layout)
            self.figure.layout.update(counted, overwrite=True)
        self.figure.describe()
        self._say(text)

    def _say(self, text: str) -> None:
        self.status.value = f'<span role="status">{html.escape(text)}</span>'


class LongTail(Explorer):
    """The class counts that a profile and an imbalance ratio would give.

    Attributes:
        profile: the choice of the profile.
        ratio: the imbalance ratio.
    """

    def __init__(self, data: LongTailed, config: DataConfig) -> None:
        self.data = data
        self.profile = w.Dropdown(
            options=[(name, value) for value, name in VALUES["profile"].items()],
            value=config.profile,
            description="Profile",
            tooltip="exponential: a straight line on this axis",
        )
        digits = min(4, len(str(max(data.available))))  # up to where no class could follow
        named = {"value": config.imbalance_ratio, "style": NAMED}
        named["tooltip"] = "largest class / smallest class, of the exponential profile"
        self.ratio = NumberWithSlider(
            w.BoundedFloatText(
                min=1, max=10**digits, description="Imbalance ratio",
                layout=w.Layout(width="210px"), **named,
            ),
            w.FloatLogSlider(
                min=0, max=digits, step=0.02, description=f"1 to {10**digits:,}",
                layout=w.Layout(width="380px"), **named,
            ),
        )  # fmt: skip
        super().__init__([self.profile, self.ratio])
        self.profile.observe(self.follow, "value")
        self.ratio.box.observe(self.follow, "value")

    def drawn(self) -> tuple[Any, str]:
        """The counts beside the data set's own."""
        profile, ratio = self.profile.value, self.ratio.box.value
        for control in (self.ratio.box, self.ratio.slider):
            control.disabled = profile != "exponential"
        names, present = self.data.class_names, self.data.class_counts
        counts = long_tail_counts(profile, self.data.available, ratio, names)
        figure = charts.class_counts(counts, names, reference=present)
        if counts == present.tolist():
            return figure, "This is the data set of this notebook."
        values = f"profile = {profile!r}" + f", imbalance_ratio = {ratio:g}" * (
            profile == "exponential"
        )
        return figure, f"To work with these, set {values} in the parameters cell."


class Feature(Explorer):
    """A feature of a class, the features counted from the class's mean outwards.

    Attributes:
        of_class: the choice of the class.
        number: of the feature, 0 the nearest to the mean.
    """

    def __init__(self, dictionary: FeatureDictionary, data: LongTailed, fitted: Map) -> None:
        self.dictionary, self.data, self.fitted = dictionary, data, fitted
        counts = dictionary.starts.diff()
        named = enumerate(theme.class_labels(dictionary.class_names))
        self.of_class = w.Dropdown(
            options=[(f"{html.unescape(name)} ({counts[c]:,})", c) for c, name in named],
            value=int(dictionary.class_counts.argmin()),
            description="Class",
            tooltip="in brackets: its features",
        )
        self.number = self._numbered()
        self.number.box.value = self.number.box.max
        super().__init__([self.of_class, self.number])
        self.number.box.observe(self.follow, "value")
        self.of_class.observe(lambda _: self.attempt(self._enter), "value")

    def drawn(self) -> tuple[Any, str]:
        """The portrait of the chosen feature."""
        label, number = self.of_class.value, self.number.box.value
        figure = _portrait(self.dictionary, self.data, self.fitted, label, number)
        return figure, "Features are counted from the mean of their class outwards: 0 is nearest."

    def _enter(self) -> None:
        """Begins in the middle of the class."""
        before, self.number = self.number, self._numbered()
        self.number.box.observe(self.follow, "value")
        self.row.children = [self.of_class, self.number]
        for gone in (*before.children, before):
            gone.close()
        self._follow()

    def _numbered(self) -> NumberWithSlider:
        """A number for each feature of the class; a slider's End key would keep an older end."""
        last = int(self.dictionary.starts.diff()[self.of_class.value]) - 1
        named = {"tooltip": "0 is the nearest to the mean of its class, the last is the farthest"}
        box = w.BoundedIntText(
            max=last, description="Feature", style=NAMED, layout=w.Layout(width="150px"), **named
        )
        slider = w.IntSlider(
            max=max(1, last),  # one without a length cannot be drawn
            disabled=last == 0,
            description=f"0 to {last:,}",
            style=NAMED,
            **named,
        )
        return NumberWithSlider(box, slider)


def _portrait(
    dictionary: FeatureDictionary, data: LongTailed, fitted: Map, label: int, number: int
) -> Any:
    """The figure of one feature: of a class the one that lies so far out, 0 the nearest."""
    outwards = dictionary.outwards(label)
    row, name = int(outwards[number]), dictionary.class_names[label][:40]
    mean = (own := dictionary.gather(outwards)).mean(0)
    rows, distances = dictionary.nearest(row, NEIGHBOURS)
    same = int((dictionary.labels[rows] == label).sum())
    far = (own[[number, -1]] - mean).norm(dim=1).tolist()
    title = f"{name}: feature {number:,} of 0 to {len(outwards) - 1:,}, from the mean outwards"
    text = (
        f"{far[0]:.3g} from the mean of its class (the farthest: {far[1]:.3g}); {same} of its "
        f"{len(rows)} nearest neighbours share its class"
    )
    shown = np.r_[row, rows]
    return charts.portrait(
        data.images[dictionary.image_index[shown]],
        shown,
        np.r_[0, distances],
        fitted.coordinates,
        fitted.place(mean[None])[0],
        dictionary.labels,
        dictionary.class_names,
        title,
        text,
    )
