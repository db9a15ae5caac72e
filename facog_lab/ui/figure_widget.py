"""Plotly's widget as a page can rely on it; it belongs to `figures`.

Plotly's own FigureWidget is a module of 5 MB in every figure. A widget whose module is not there
within two seconds hears nothing of its kernel any more (anywidget gives up), so that on a busy
machine figures came up as empty axes and stayed so. Here the module is a few lines, and hears all
whenever it comes; plotly's code comes to the page once, for all figures of a notebook.

A page may still show less than the kernel has: it was loaded anew, words were lost, or a drawing
took marks away. So it says what it shows, and what is missing is sent and drawn again.
"""

from __future__ import annotations

import uuid
from copy import deepcopy
from typing import Any, ClassVar

import anywidget
import plotly.graph_objects as go
import traitlets

from facog_lab.plots import theme
from facog_lab.plots.in_words import describe

# What the kernel says before plotly's code is there is kept, and told to plotly then. What plotly
# has filled in by itself is not told to the kernel: nobody there asks for it, and each answer makes
# a kernel busy and idle, which JupyterLab draws. The drawing has the role of an image with a text;
# the buttons beside it stay what they are.
SCRIPT = """
const EVENTS = ["addTraces", "deleteTraces", "moveTraces", "restyle", "relayout", "update",
  "animate", "removeLayoutProps", "removeTraceProps"].map(name => `change:_py2js_${name}`);
const LOOK = 1000, PATIENCE = 5000, MOST = 3;

async function load(model) {
  const code = await model.widget_manager.get_model(model.get("_code"));
  code.plotly ??= (async () => {
    const url = URL.createObjectURL(new Blob([code.get("source")], { type: "text/javascript" }));
    const plotly = await import(url);
    URL.revokeObjectURL(url);
    const answers = { _sendTraceDeltas() {}, _sendLayoutDelta() {} };
    Object.assign(plotly.FigureView.prototype, answers);
    return plotly;
  })();
  return code.plotly;
}

// What anywidget hands on only if the page was quick, the model gets in any case.
async function listen(model) {
  const own = await model.widget_manager.get_model(model.get("_own"));
  const hear = Object.getPrototypeOf(Object.getPrototypeOf(own))._handle_comm_msg;
  if (hear) own.comm?.on_msg(message => hear.call(own, message));
}

// Traces that can be seen. A subplot that lost its layer of lines has none of them.
function shown(el) {
  const inGl = (el._fullData ?? []).filter(t => t.type === "scattergl" && t.visible === true);
  return el.querySelectorAll(".scatterlayer > .trace, .barlayer > .trace").length + inGl.length;
}

function describe(el, text) {
  const [drawing, ...rest] = el.querySelectorAll(".main-svg");
  if (!drawing || drawing.getAttribute("aria-label") === text) return;
  drawing.setAttribute("role", "img");
  drawing.setAttribute("aria-label", text);
  for (const other of rest) other.setAttribute("aria-hidden", "true");
}

export default () => {
  let plotly, listeners = [], now = null;
  // The model as plotly's code sees it.
  const seen = model => ({
    get: name => (now?.name === name ? now.value : model.get(name)),
    set: (name, value) => model.set(name, value),
    save_changes: () => model.save_changes(),
    on(event, act) {
      listeners.push({ event, act, off: () => model.off(event, act) });
      model.on(event, act);
    },
  });

  return {
    initialize({ model }) {
      const early = [];
      const keep = EVENTS.map(event => {
        const name = event.slice("change:".length);
        return [event, () => early.push({ event, name, value: model.get(name) })];
      });
      for (const [event, act] of keep) model.on(event, act);
      listen(model);
      plotly = load(model).then(code => {
        for (const [event, act] of keep) model.off(event, act);
        const figure = code.default();
        figure.initialize({ model: seen(model) });
        for (now of early) for (const { event, act } of listeners) if (event === now.event) act();
        now = null;
        return figure;
      });
    },

    async render({ model, el }) {
      const figure = await plotly;
      let clear = () => {};
      const draw = async () => {
        clear();
        const own = listeners = [];
        const remove = await figure.render({ model: seen(model), el });
        clear = () => {
          for (const { off } of own) off();
          remove();
        };
      };
      await draw();

      let told = null, at = 0, again = 0;
      const look = setInterval(() => {
        if (!el.isConnected || !el._fullLayout) return;
        describe(el, model.get("description"));
        const traces = shown(el), waits = told?.open && Date.now() - at > PATIENCE;
        if (told?.traces === traces && !waits) return;
        told = { traces, open: true };
        at = Date.now();
        model.send({ kind: "shown", traces });
      }, LOOK);
      const hear = async ({ kind }) => {
        if (kind !== "well" && kind !== "again") return;
        if (told) told.open = false;
        if (kind === "well") again = 0;
        else if (again++ < MOST) {
          await draw();
          told = null;
        }
      };
      model.on("msg:custom", hear);
      return () => {
        clearInterval(look);
        model.off("msg:custom", hear);
        clear();
      };
    },
  };
};
"""
NOTHING = "export default {};"


class Code(anywidget.AnyWidget):
    """Plotly's code for a page, once in a kernel."""

    _esm = NOTHING
    source = traitlets.Unicode().tag(sync=True)
    _shown: Code | None = None

    @classmethod
    def shared(cls) -> str:
        """The model id of the one that the page has."""
        if cls._shown is None or cls._shown.comm is None:
            cls._shown = cls(source=str(go.FigureWidget._esm))
        return cls._shown.model_id


class FigureWidget(go.FigureWidget):
    """A FigureWidget that is there as a whole from its first message on, and stays there.

    Attributes:
        description: what it shows, in words, for those who cannot see it.
    """

    _esm = SCRIPT
    _code = traitlets.Unicode().tag(sync=True)
    _own = traitlets.Unicode().tag(sync=True)
    description = traitlets.Unicode().tag(sync=True)

    CONFIG: ClassVar[dict[str, Any]] = theme.CONFIG | {"responsive": True}  # see width.Width

    def __init__(self, figure: go.Figure | None = None) -> None:
        self._whole = False
        super().__init__(figure)
        self._config: dict[str, Any] = self._config | self.CONFIG
        if self.layout.height is None:  # a widget does not look for it in the template
            self.layout.height = theme.TEMPLATE.layout.height
        self._code, self._whole = Code.shared(), True
        self.describe()
        self.open()
        self.on_msg(self._hear)

    def open(self) -> None:
        """Tells the page of it; not before it has its traces, so that they come with it."""
        if self._whole:
            self._own = self._model_id = uuid.uuid4().hex
            self._gather()
            super().open()

    def describe(self) -> None:
        """Puts in words what it shows now."""
        self.description = describe(self)

    def _hear(self, _: Any, content: Any, __: Any) -> None:
        """What the page says that it shows."""
        if content.get("kind") != "shown":
            return
        if content["traces"] >= sum(map(_drawn, self.data)):
            self.send({"kind": "well"})
            return
        self._gather()
        self.send_state(["_widget_data", "_widget_layout"])  # though they may be what they were
        self.send({"kind": "again"})

    def _gather(self) -> None:
        """Puts the present traces and layout where a page gets them from."""
        self._widget_data = deepcopy(self._data)
        self._widget_layout = deepcopy(self._layout_obj._props)


def _drawn(trace: Any) -> bool:
    """Whether a page draws something for a trace."""
    if trace.type not in ("scatter", "scattergl", "bar") or trace.visible is False:
        return False
    return all(values is not None and len(values) for values in (trace.x, trace.y))
