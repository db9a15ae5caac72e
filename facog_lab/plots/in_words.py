"""A figure in words, for those who cannot see it: its titles, and the main numbers of each curve.

The words follow from the figure itself, so they are true of any of them.
"""

from __future__ import annotations

import base64
import html
import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

LISTED = 12  # values of a trace that are named one by one; more are summed up
TRACES = 12  # of a panel that are described
LONGEST = 2000  # characters
ALTERNATIVE = "facog-in-words"  # class of what `alternative` gives
SIGNS = re.compile(r"[━┅╍■▪◆●▲⚠]+")
Numbers = NDArray[np.float64]


def describe(figure: Any) -> str:
    """What a figure shows, in plain English.

    Args:
        figure: a plotly figure, or what its JSON holds: a mapping with "data" and "layout".
    """
    made = figure if isinstance(figure, Mapping) else figure.to_dict()
    layout = made.get("layout") or {}
    title = layout.get("title") or {}
    title = {"text": title} if isinstance(title, str) else title
    sentences = [_plain(title.get("text")), _plain((title.get("subtitle") or {}).get("text"))]
    panels: dict[tuple[str, str], list[Mapping[str, Any]]] = {}
    for trace in made.get("data") or ():
        axes = trace.get("xaxis", "x"), trace.get("yaxis", "y")
        panels.setdefault(axes, []).append(trace)
    for axes, traces in panels.items():
        sentences.append(Panel(layout, *axes).describe(traces))
    if not any(sentences):
        return "A figure without data."
    text = " ".join(words if words[-1] in ".?!" else f"{words}." for words in sentences if words)
    return text if len(text) <= LONGEST else text[: LONGEST - 1] + "…"


def alternative(figure: Any) -> str:
    """The words as HTML that is not seen but read aloud, as a picture's text is."""
    text = html.escape(describe(figure))
    return f'<div class="{ALTERNATIVE}" role="img" aria-label="{text}" style="height:1px"></div>'


class Panel:
    """A part of a figure that has axes of its own.

    Args:
        layout: of the figure, as in plotly's JSON.
        x: its horizontal axis, "x", "x2", ...
        y: its vertical axis, "y", "y2", ...
    """

    def __init__(self, layout: Mapping[str, Any], x: str, y: str) -> None:
        self.layout, self.x, self.y = layout, x, y
        self.across, self.up = (layout.get(f"{a[0]}axis{a[1:]}") or {} for a in (x, y))

    def describe(self, traces: Sequence[Mapping[str, Any]]) -> str:
        """Its title, and each of its traces in words; empty if there is nothing to say."""
        named: dict[str, list[Mapping[str, Any]]] = {}
        for trace in traces:
            if trace.get("hoverinfo") != "skip" and trace.get("visible", True) is True:
                named.setdefault(_plain(trace.get("name")), []).append(trace)
        parts = [
            f"{name}: {words}" if name else words
            for name, group in named.items()
            if (words := self._words(group))
        ]
        if len(parts) > TRACES:
            parts[TRACES:] = [f"and {len(parts) - TRACES} more"]
        title = self._title()
        if not parts:
            return title and f"{title}: nothing yet"
        if lines := self._lines():
            parts.append(lines)
        across, up = self._name(self.across, "x"), self._name(self.up, "y")
        head = ", by ".join(filter(None, (title, across))) if title else across and f"By {across}"
        return (f"{head}. " if head else "") + "; ".join(parts) + (f". Upwards: {up}" if up else "")

    def _title(self) -> str:
        """The text right above it."""
        low, high = self.across.get("domain") or (0.0, 1.0)
        top = (self.up.get("domain") or (0.0, 1.0))[1]
        for note in self.layout.get("annotations") or ():
            over = note.get("yref") == "paper" and abs(note.get("y", 0) - top) < 0.02
            if over and note.get("xref") == "paper" and low - 0.02 <= note.get("x", 0) <= high:
                bold = re.search(r"<b>(.*?)</b>", note["text"])
                return _plain(bold[1] if bold else note["text"])
        return ""

    def _name(self, axis: Mapping[str, Any], letter: str) -> str:
        """What an axis counts; the lowest of a column may say it for those above."""
        own = _plain((axis.get("title") or {}).get("text"))
        if not self._labelled(axis):
            return ""
        others = {
            _plain((other.get("title") or {}).get("text"))
            for name, other in self.layout.items()
            if name.startswith(f"{letter}axis") and axis.get("type") != "category"
        } - {""}
        return own or (others.pop() if len(others) == 1 and letter == "x" else "")

    def _words(self, group: Sequence[Mapping[str, Any]]) -> str:
        """Traces of one name."""
        kind = group[0].get("type", "scatter")
        if kind == "bar":
            return "; ".join(filter(None, map(self._bars, group)))
        if kind == "heatmap":
            return _spread(_numbers(group[0].get("z")))
        if kind not in ("scatter", "scattergl"):
            return kind
        bare = not (self._labelled(self.across) or self._labelled(self.up))
        unseen = [t for t in group if bare or t.get("opacity") == 0]  # drawn for their words alone
        if hidden := [_plain(text) for t in unseen for text in _listed(t.get("hovertext"))]:
            pictured = self.across.get("visible") is False
            return f"{len(hidden)} pictures: " * pictured + _some(hidden, "; ")
        if bare or len(group) > LISTED:
            count = sum(map(_marks, group))
            return f"{count:,} point{'s' * (count > 1)}" if count else ""
        return "; ".join(filter(None, map(self._curve, group)))

    def _bars(self, trace: Mapping[str, Any]) -> str:
        lying = trace.get("orientation") == "h"
        names, heights = (trace.get(k) for k in (("y", "x") if lying else ("x", "y")))
        values = _numbers(heights)
        labels = [_plain(name) for name in _listed(names)] or [str(k) for k in range(len(values))]
        return _named(labels, values)

    def _curve(self, trace: Mapping[str, Any]) -> str:
        x, y = _listed(trace.get("x")), _listed(trace.get("y"))
        ticks = self.up.get("ticktext")
        if ticks is not None:
            named = dict(zip(self.up.get("tickvals", ()), ticks, strict=False))
            y = [named.get(value, value) for value in y]
        if y and isinstance(y[0], str):  # names on the vertical axis, with a value for each
            values = _numbers(x)
            if len(y) > 1 and len(set(y)) == 1:
                return f"{_plain(y[0])}: {_spread(values)}"
            return _named(map(_plain, y), values)
        if x and isinstance(x[0], str):
            return _named(map(_plain, x), _numbers(y))
        at, up = _numbers(x), _numbers(y)
        known = np.isfinite(at) & np.isfinite(up) if len(at) == len(up) else np.zeros(0, bool)
        if not known.any():
            return ""
        at, up = at[known], up[known]
        if len(up) == 1:
            return f"{_number(up[0])} at {_number(at[0])}"
        if "lines" not in trace.get("mode", "lines"):
            return f"{_spread(up)}, from {_number(at.min())} to {_number(at.max())}"
        return (
            f"from {_number(up[0])} at {_number(at[0])} to {_number(up[-1])} at {_number(at[-1])}, "
            f"lowest {_number(up.min())}, highest {_number(up.max())}"
        )

    def _lines(self) -> str:
        """Where vertical lines mark something."""
        marks: dict[float, str] = {}
        for shape in self.layout.get("shapes") or ():
            upright = shape.get("type") == "line" and shape.get("x0") == shape.get("x1")
            if upright and shape.get("xref") == self.x:
                label = _plain((shape.get("label") or {}).get("text"))
                marks[shape["x0"]] = f" ({label})" if label else ""
        if not marks:
            return ""
        places = [f"{_number(x)}{label}" for x, label in list(marks.items())[-LISTED:]]
        word = "a vertical line" if len(places) == 1 else "vertical lines"
        return f"{word} at {', '.join(places)}"

    @staticmethod
    def _labelled(axis: Mapping[str, Any]) -> bool:
        return axis.get("showticklabels") is not False and axis.get("visible") is not False


def _plain(text: Any) -> str:
    """Text of a figure without its marks and signs."""
    lines = re.sub(r"<br */?>(?! *\()", ", ", "" if text is None else str(text))
    words = html.unescape(re.sub(r"<[^>]*>", " ", lines))
    return " ".join(SIGNS.sub(" ", words).split()).replace(" ,", ",")


def _listed(values: Any) -> list[Any]:
    """The values of a trace, as plotly's JSON has them or as they are."""
    if isinstance(values, Mapping) and "bdata" in values:
        return np.frombuffer(base64.b64decode(values["bdata"]), values["dtype"]).tolist()
    return [] if values is None else list(np.asarray(values, object).ravel())


def _numbers(values: Any) -> Numbers:
    """The same as numbers; NaN for what is none."""
    listed = _listed(values)
    try:
        return np.array(listed, float)  # None becomes NaN
    except (TypeError, ValueError):  # names
        return np.full(len(listed), np.nan)


def _marks(trace: Mapping[str, Any]) -> int:
    """Points of a map; a short line between gaps is one, too."""
    seen = np.isfinite(_numbers(trace.get("x")))
    if "markers" in trace.get("mode", "lines"):
        return int(seen.sum())
    return int((seen & ~np.r_[False, seen[:-1]]).sum())


def _named(names: Iterable[str], values: Numbers) -> str:
    """Values with their names, or the range of many."""
    known = [(name, v) for name, v in zip(names, values, strict=False) if np.isfinite(v)]
    if len(known) <= LISTED:
        return _some([f"{name} at {_number(v)}" for name, v in known])
    (least, low), (most, high) = min(known, key=_value), max(known, key=_value)
    mean = np.mean([v for _, v in known])
    return (
        f"{len(known)} values, {_number(mean)} on average, "
        f"lowest {_number(low)} ({least}), highest {_number(high)} ({most})"
    )


def _some(texts: Sequence[str], between: str = ", ") -> str:
    more = f"{between}and {len(texts) - LISTED:,} more" if len(texts) > LISTED else ""
    return between.join(texts[:LISTED]) + more


def _value(pair: tuple[str, float]) -> float:
    return pair[1]


def _spread(values: Numbers) -> str:
    known = values[np.isfinite(values)]
    if not len(known):
        return ""
    return f"{len(known):,} values between {_number(known.min())} and {_number(known.max())}"


def _number(value: float) -> str:
    whole = float(value).is_integer() and abs(value) < 1e15
    return f"{value:,.0f}" if whole else f"{value:.3g}"
