// A figure of plotly that hears all its kernel says, however late plotly's own code comes.
//
// What the kernel says before plotly's code is there is kept, and told to plotly then. What plotly
// has filled in by itself is not told to the kernel: nobody there asks for it, and each answer makes
// a kernel busy and idle, which JupyterLab draws. The drawing has the role of an image with a text;
// the buttons beside it stay what they are.

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
