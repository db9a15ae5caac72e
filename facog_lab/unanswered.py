"""A widget without looks that keeps a page from answering what live figures are told."""

from __future__ import annotations

import anywidget
import traitlets

# After each drawing the page tells a FigureWidget, in two messages, all that plotly has filled in:
# the kernel stores it, says it back, and is busy and idle meanwhile, which JupyterLab draws. What a
# model tells the kernel passes through its `save`.
SCRIPT = """
export default {
  async initialize({ model }) {
    for (const id of model.get("figures")) {
      const figure = await model.widget_manager.get_model(id);
      const save = figure.save;
      figure.save = function (changes, options) {
        delete changes._js2py_traceDeltas;
        delete changes._js2py_widget_layoutDelta;
        return Object.keys(changes).length ? save.call(this, changes, options) : false;
      };
    }
  },
  render() {},
};
"""


class Unanswered(anywidget.AnyWidget):
    """To be shown beside figures whose defaults nobody reads; `figures` are their model ids."""

    _esm = SCRIPT
    figures = traitlets.List(traitlets.Unicode()).tag(sync=True)
