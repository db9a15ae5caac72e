"""A widget without looks that tells the kernel what a mouse does to the points of a live figure.

FigureWidget has callbacks of its own, but they will not do. It sends events through one traitlet,
where a later one replaces one that waits, so that a lasso is lost behind the next hover; and any
change of a layout that comes from the kernel makes plotly compute all points anew (it carries a
private key, which plotly.js does not know): 0.2 s for 20,000, on every hover.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import anywidget

# Each event is a message of its own, but a hover waits until the last one was answered, or for a
# second, since an answer may be lost on a slow page; and only the latest does. Rings around the
# hovered point, on every map that has it, are drawn here.
SCRIPT = """
function listen(graph, model) {
  const rings = [];
  const unring = () => { for (const ring of rings.splice(0)) ring.remove(); };
  const ring = row => {
    unring();
    for (const trace of graph._fullData) {
      const k = trace.customdata?.indexOf(row) ?? -1;
      if (k < 0) continue;
      const x = graph._fullLayout["xaxis" + trace.xaxis.slice(1)];
      const y = graph._fullLayout["yaxis" + trace.yaxis.slice(1)];
      const at = document.createElement("div");
      at.className = "facog-ring";
      at.style.left = `${x._offset + x.d2p(trace.x[k])}px`;
      at.style.top = `${y._offset + y.d2p(trace.y[k])}px`;
      graph.querySelector(".svg-container").append(at);
      rings.push(at);
    }
  };
  let asked = 0, next = null;
  const ask = row => {
    if (Date.now() - asked < 1000) { next = row; return; }
    asked = Date.now();
    model.send({ kind: "hover", points: [row] });
  };
  model.on("msg:custom", () => {
    asked = 0;
    if (next === null) return;
    ask(next);
    next = null;
  });
  const rows = event => event.points.map(point => point.customdata).filter(Number.isInteger);
  graph.on("plotly_hover", event => { ring(rows(event)[0]); ask(rows(event)[0]); });
  graph.on("plotly_unhover", unring);
  graph.on("plotly_afterplot", unring);
  graph.on("plotly_click", event => model.send({ kind: "click", points: rows(event) }));
  graph.on("plotly_selected", event => {
    if (event) model.send({ kind: "select", points: rows(event) });
  });
  graph.on("plotly_deselect", () => model.send({ kind: "select", points: [] }));
}
export default {
  render({ model, el }) {
    const search = setInterval(() => {
      const graph = el.closest(".facog-mouse")?.querySelector(".js-plotly-plot");
      if (!graph?.on || !graph._fullLayout) return;
      clearInterval(search);
      listen(graph, model);
    }, 50);
    return () => clearInterval(search);
  },
};
"""

# The outline that a lasso leaves would keep the mouse from the points inside, and stay where it is
# when the map changes; what is selected is said otherwise.
LOOK = """
.facog-mouse .selectionlayer { display: none; }
.facog-ring {
  position: absolute; width: 18px; height: 18px; margin: -11px; pointer-events: none;
  border: 2px solid black; outline: 2px solid white; border-radius: 50%;
}
"""


class Mouse(anywidget.AnyWidget):
    """To be shown in a box of the class `facog-mouse` that has a figure.

    A point is known by its `customdata`, a whole number; others are not heard of.

    Args:
        hear: called with what was done, "hover", "click" or "select", and the points' numbers.
    """

    _esm = SCRIPT
    _css = LOOK

    def __init__(self, hear: Callable[[str, list[int]], None]) -> None:
        super().__init__()
        self._hear = hear
        self.on_msg(self._message)

    def _message(self, _: Any, content: Any, __: Any) -> None:
        self._hear(content["kind"], content["points"])
        if content["kind"] == "hover":
            self.send({})  # ready for the next one
