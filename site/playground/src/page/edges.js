// The lines between the cards: each is a stream of data, as thick as what flows in it.
import { shape } from "./dom.js";

/** Draws lines between elements of a diagram, under them. */
export class Edges {
  constructor(svg) {
    this.svg = svg;
    this.all = new Map();
    this.travelled = 0;
  }

  /**
   * A line that is there from now on.
   * @param way "auto" from side to side or down, "over"/"under": along the top or bottom edge.
   * @param onward not drawn where the cards stand so that it would run back to the left.
   */
  set(name, from, to, kind, { way = "auto", lane = 0, thick = 2, flows = true, onward = false } = {}) {
    let edge = this.all.get(name);
    if (!edge) {
      edge = { line: shape("path"), dots: shape("path", { class: "flow" }) };
      this.svg.append(edge.line, edge.dots);
      this.all.set(name, edge);
    }
    Object.assign(edge, { from, to, way, lane, thick, onward });
    edge.line.setAttribute("class", kind);
    edge.dots.style.display = flows ? "" : "none";
  }

  /** Forgets the lines whose names begin so and are not wanted any more. */
  keepOnly(prefix, names) {
    for (const [name, edge] of this.all) {
      if (name.startsWith(prefix) && !names.has(name)) {
        edge.line.remove();
        edge.dots.remove();
        this.all.delete(name);
      }
    }
  }

  /** Whether anything flows along a line at present. */
  show(name, on) {
    const edge = this.all.get(name);
    edge.line.style.display = on ? "" : "none";
    edge.dots.style.visibility = on ? "" : "hidden";
  }

  /** How thick a line is, in pixels. */
  thicken(name, thick) {
    const edge = this.all.get(name);
    if (edge) edge.line.style.strokeWidth = `${thick.toFixed(1)}px`;
  }

  /** Where the lines run, after the cards have moved. */
  place() {
    const frame = this.svg.getBoundingClientRect();
    const box = (node) => {
      const { left, right, top, bottom } = node.getBoundingClientRect();
      return {
        left: left - frame.left,
        right: right - frame.left,
        top: top - frame.top,
        bottom: bottom - frame.top,
      };
    };
    for (const edge of this.all.values()) {
      const d = this.route(box(edge.from), box(edge.to), edge, frame.height);
      edge.line.setAttribute("d", d);
      edge.dots.setAttribute("d", d);
      edge.line.style.strokeWidth ||= `${edge.thick}px`;
    }
  }

  route(a, b, { way, lane, onward }, height) {
    const middle = (one) => (one.top + one.bottom) / 2,
      centre = (one) => (one.left + one.right) / 2;
    if (way !== "auto") {
      if (b.left <= a.left + 10) return ""; // the cards stand below each other: no room for a lane
      const y = way === "over" ? 5 + 6 * lane : height - 5 - 6 * lane,
        end = way === "over" ? "top" : "bottom";
      const out = centre(a) + 8 * lane,
        into = centre(b) - 10 + 20 * lane;
      return `M${out} ${a[end]}V${y}H${into}V${b[end]}`;
    }
    if (b.left >= a.right - 2) {
      const reach = (b.left - a.right) / 2,
        y = Math.max(b.top + 8, Math.min(b.bottom - 8, middle(a)));
      return `M${a.right} ${middle(a)}C${a.right + reach} ${middle(a)} ${b.left - reach} ${y} ${b.left} ${y}`;
    }
    if (b.right <= a.left + 2) {
      if (onward) return "";
      const reach = (a.left - b.right) / 2,
        y = Math.max(b.top + 8, Math.min(b.bottom - 8, middle(a)));
      return `M${a.left} ${middle(a)}C${a.left - reach} ${middle(a)} ${b.right + reach} ${y} ${b.right} ${y}`;
    }
    const x = (Math.max(a.left, b.left) + Math.min(a.right, b.right)) / 2;
    if (b.top >= a.bottom - 2) return b.top - a.bottom < 60 ? `M${x} ${a.bottom}V${b.top}` : "";
    return a.top - b.bottom < 60 && b.bottom <= a.top + 2 ? `M${x} ${a.top}V${b.bottom}` : "";
  }

  /** Moves the dots along by some steps of training. */
  flow(steps) {
    this.travelled = (this.travelled + 2.5 * steps) % 11000;
    this.svg.style.setProperty("--flow", -this.travelled);
  }
}
