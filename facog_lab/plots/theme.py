"""What the figures share: colours, readable names, the page, a sheet of images.

Every figure is legible on a laptop and projected, on a light and on a dark page (transparent
ground, mid-tone ink), and to colour-blind readers; a class has the same colour in all of them.
"""

from __future__ import annotations

import base64
import functools
import io
import math
from collections.abc import Iterable
from typing import Any, NamedTuple

import numpy as np
import plotly.graph_objects as go
from IPython import get_ipython
from IPython.display import HTML, display
from numpy.typing import ArrayLike, NDArray
from PIL import Image
from plotly.subplots import make_subplots

from facog_lab.names import as_text
from facog_lab.plots import in_words

# Petroff (2021), "Accessible color sequences for data visualization": ten colours.
PALETTE = [
    *("#3f90da", "#ffa90e", "#bd1f01", "#94a4a2", "#832db6"),
    *("#a96b59", "#e76300", "#b9ac70", "#717581", "#92dadd"),
]
BLUE, ORANGE, GREY = PALETTE[0], PALETTE[6], PALETTE[3]
INK = "#7a7a7a"  # its contrast is 4.3 against white and 4.4 against JupyterLab's dark #111
FAINT = "rgba(122,122,122,0.25)"
# From dark to light in steps of equal lightness; both ends stand out on any page.
SEQUENCE = ((65, 68, 135), (42, 120, 142), (34, 168, 132), (122, 209, 81), (210, 226, 27))
LARGEST = 64  # pixels of an image's side on a sheet; larger images are averaged down

# Beside the palette's, colours found by search, as far apart as they come for every kind of eye; a
# test measures it.
METHOD_COLOURS = {
    "phase1": GREY,
    "facog": BLUE, "facog_attention": "#7824fc",
    "random_oversampling": PALETTE[1],
    "uniform_weights": PALETTE[2],
    "dirichlet_weights": PALETTE[4],
    "smote": "#e4d884", "borderline_smote": "#b48424", "dos": "#c0c090",
    "cgan": "#6cf0d8", "gamo_without_d": "#3c78a8", "gamo": "#30606c",
    "safa": "#788478", "tailcalib": "#9cc0fc", "lent_spread": "#900024",
    "imagined": "#690f78",
}  # fmt: skip

_AXIS = {
    "gridcolor": FAINT,
    "linecolor": INK,
    "zeroline": False,
    "automargin": True,
    "ticks": "outside",
    "tickcolor": "rgba(0,0,0,0)",
    "autotickangles": [0, -40, -90],
    "title": {"standoff": 10},
}
TEMPLATE = go.layout.Template(
    layout={
        "paper_bgcolor": "rgba(0,0,0,0)",
        "plot_bgcolor": "rgba(0,0,0,0)",
        "font": {"color": INK, "size": 15},
        "title": {
            "font": {"size": 19},
            "subtitle": {"font": {"size": 14}},
            **{"x": 0.01, "y": 1, "yanchor": "top", "pad": {"t": 20}},
        },
        "colorway": PALETTE,
        "xaxis": _AXIS,
        "yaxis": _AXIS,
        "hoverlabel": {"bgcolor": "#333", "font": {"color": "white", "size": 15}, "namelength": -1},
        "margin": {"l": 70, "r": 30, "t": 90, "b": 50},
        "height": 480,
    }
)
# Plotly's toolbar offers to upload a chart, with all that is in it, to its makers: not from here.
CONFIG = {"showSendToCloud": False, "displaylogo": False}
ABOVE = {"orientation": "h", "x": 1, "xanchor": "right", "y": 1.01, "yanchor": "bottom"}


def blank(title: str, subtitle: str = "", **layout: Any) -> go.Figure:
    """A figure of our look without data; `title` is shown as it is."""
    _prepare()
    head = {"text": as_text(title, 200), "subtitle": {"text": subtitle}}
    return go.Figure(layout={"template": TEMPLATE, "title": head} | layout)


def subplots(rows: int, columns: int, **layout: Any) -> go.Figure:
    """Plotly's `make_subplots`."""
    _prepare()
    return make_subplots(rows, columns, **layout)


@functools.cache
def _prepare() -> None:
    """How notebooks show plain figures: with our CONFIG, and with their text."""
    import plotly.io  # seconds to import, and needed with the first figure

    plotly.io.renderers["plotly_mimetype"].config.update(CONFIG)
    if (shell := get_ipython()) is not None:
        shell.display_formatter.ipython_display_formatter.for_type(go.Figure, _show)


def _show(figure: go.Figure) -> None:
    figure._ipython_display_()
    display(HTML(in_words.alternative(figure)))


def beside(figure: go.Figure, y: float | str, text: str) -> None:
    """Writes to the right of the plot, at a height in the units of its (log) axis, or a name."""
    figure.add_annotation(x=1, xref="paper", xanchor="left", xshift=8, y=y, yref="y", text=text)
    figure.update_annotations(align="left", showarrow=False, font_size=14)
    figure.update_layout(margin_r=150)


def small(text: str) -> str:
    """A second line in smaller letters, for a tick or a caption."""
    return text and f'<br><span style="font-size:13px">{text}</span>'


def badge(text: str) -> str:
    """A map's badge behind its title; colour and sign say whether the map is exact."""
    colour, sign = (BLUE, "●") if text.startswith("exact") else (ORANGE, "▲")
    return text and f'   <span style="color:{colour}">{sign}</span> {as_text(text)}'


def class_colours(num_classes: int) -> list[str]:
    """A colour for each class, as #rrggbb: ten distinct ones, or for more a sequence by order."""
    if num_classes <= len(PALETTE):
        return PALETTE[:num_classes]
    at, anchors = np.linspace(0, len(SEQUENCE) - 1, num_classes), np.arange(len(SEQUENCE))
    parts = [
        np.interp(at, anchors, part).round().astype(int) for part in zip(*SEQUENCE, strict=True)
    ]
    return [f"#{r:02x}{g:02x}{b:02x}" for r, g, b in zip(*parts, strict=True)]


def class_labels(class_names: Iterable[object], width: int = 24) -> list[str]:
    """Class names as text, told apart by their number where two look the same."""
    names = [as_text(name, width) for name in class_names]
    return [f"{k} ({c})" if names.count(k) > 1 else k for c, k in enumerate(names)]


def moving_average(values: ArrayLike, window: int) -> NDArray[np.float64]:
    """The mean over `window` points around each one; NaN and infinite ones are left out."""
    y, ones = np.asarray(values, float), np.ones(max(1, min(window, np.size(values))))
    finite = np.isfinite(y)
    seen = np.convolve(finite, ones, "same")
    sums = np.convolve(np.where(finite, y, 0), ones, "same")
    return np.divide(sums, seen, out=np.full(len(y), np.nan), where=seen > 0)


class Sheet(NamedTuple):
    """Images side by side in one picture; the unit of length is an image's width.

    Attributes:
        uri: the picture, a PNG as a data URI.
        corners: (K, 2) places (x, y) of the images' upper left corners, y downwards.
        pixel: the side of a pixel.
        width: of the picture.
        height: of the picture.
    """

    uri: str
    corners: NDArray[np.float64]
    pixel: float
    width: float
    height: float


def sheet(images: NDArray[np.uint8], columns: int, lines: int) -> Sheet:
    """All images in rows on one transparent sheet, with room for captions below each.

    Args:
        images: (K, C, H, W) uint8, C 1 or 3, K at least 1.
        columns: images in a row.
        lines: lines of caption below each image.
    """
    small = _averaged(images)
    k, _, h, w = small.shape
    right, below = math.ceil(0.1 * w), math.ceil((0.16 + 0.2 * lines) * w)
    row, column = np.divmod(np.arange(k), columns)
    canvas = np.zeros((row[-1] + 1, h + below, min(columns, k), w + right, 4), np.uint8)
    canvas[row, :h, column, :w, :3] = small.transpose(0, 2, 3, 1)  # (K, H, W, C), grey repeated
    canvas[row, :h, column, :w, 3] = 255
    picture = canvas.reshape(len(canvas) * (h + below), -1, 4)
    corners = np.stack([column * (w + right), row * (h + below)], 1) / w
    return Sheet(_png(picture), corners, 1 / w, picture.shape[1] / w, picture.shape[0] / w)


def thumbnails(images: NDArray[np.uint8]) -> list[str]:
    """Each of (K, C, H, W) uint8 images, C 1 or 3, as a PNG in a data URI."""
    small = _averaged(images).astype(np.uint8).transpose(0, 2, 3, 1)  # (K, H, W, C)
    return [_png(image.repeat(4 - image.shape[2], 2)[..., :3]) for image in small]


def _averaged(images: NDArray[np.uint8]) -> NDArray[np.float64]:
    """(K, C, h, w): images whose sides are at most LARGEST, blocks of pixels averaged."""
    step = math.ceil(max(images.shape[2:]) / LARGEST)
    k, c, h, w = np.array(images.shape) // (1, 1, step, step)
    return images[:, :, : h * step, : w * step].reshape(k, c, h, step, w, step).mean((3, 5))


def _png(picture: NDArray[np.uint8]) -> str:
    """An (H, W, 3 or 4) picture as a data URI."""
    file = io.BytesIO()
    Image.fromarray(picture).save(file, "PNG")
    return "data:image/png;base64," + base64.b64encode(file.getvalue()).decode()
