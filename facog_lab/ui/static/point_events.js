// Tells the kernel what a mouse does to the points of the live figure in the same box.
//
// Each event is a message of its own, but a hover waits until the last one was answered, or for a
// second, since an answer may be lost on a slow page; and only the latest does. Rings around the
// hovered point, on every map that has it, are drawn here.

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
