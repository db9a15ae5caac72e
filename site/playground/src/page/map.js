// The map: two directions of most variance, real and generated features, the hull of one's parents.
import { classColour, mark, say, shape } from "./dom.js";

const EDGE = 14,
  SHOWN = 1500,
  NAMED = 20;

/** The corners of the convex hull of points [[x, y], ...], in order (Andrew's monotone chain). */
export function hull(points) {
  const sorted = [...points].sort((a, b) => a[0] - b[0] || a[1] - b[1]);
  const turn = (o, a, b) => (a[0] - o[0]) * (b[1] - o[1]) - (a[1] - o[1]) * (b[0] - o[0]);
  const half = (list) => {
    const chain = [];
    for (const point of list) {
      while (chain.length > 1 && turn(chain.at(-2), chain.at(-1), point) <= 0) chain.pop();
      chain.push(point);
    }
    return chain.slice(0, -1);
  };
  const corners = [...half(sorted), ...half(sorted.reverse())];
  return corners.length ? corners : points.slice(0, 1);
}

/** A map of features, which follows the generated ones. */
export class FeatureMap {
  /** @param choose told which generated feature was pressed. */
  constructor(host, choose) {
    this.host = host;
    this.choose = choose;
    this.svg = shape("svg", { role: "img" });
    this.real = shape("g");
    this.hull = shape("path", { class: "hull" });
    this.rays = shape("g", { class: "rays" });
    this.made = shape("g", { class: "diamonds" });
    this.names = shape("g");
    this.chosen = shape("path", { class: "chosen" });
    this.svg.append(this.real, this.hull, this.rays, this.made, this.chosen, this.names);
    host.append(this.svg);
    this.svg.addEventListener("click", (event) => this.press(event));
    new ResizeObserver(() => this.resize()).observe(host);
  }

  /** Another set of features. */
  open(fixed) {
    this.fixed = fixed;
    this.now = null;
    const { points } = fixed,
      xs = [],
      ys = [];
    for (let i = 0; i < points.length; i += 2) {
      xs.push(points[i]);
      ys.push(points[i + 1]);
    }
    const low = (list) => list.reduce((a, b) => Math.min(a, b)),
      high = (list) => list.reduce((a, b) => Math.max(a, b));
    this.whole = [low(xs), high(xs), low(ys), high(ys)];
    this.near = null;
    this.resize();
  }

  /** Shows all, or what is around one generated feature and its parents. */
  closer(on) {
    this.close = on;
    if (this.fixed) this.resize();
  }

  /** The part of the map that is shown: [left, right, bottom, top]. */
  frame() {
    const { now, pick, fixed } = this;
    if (!this.close || !now) return this.whole;
    const rows = [...now.rows.subarray(pick * now.n, (pick + 1) * now.n)];
    const side = (axis) => rows.map((row) => fixed.points[2 * row + axis]);
    const xs = side(0),
      ys = side(1),
      reach = Math.max(Math.max(...xs) - Math.min(...xs), Math.max(...ys) - Math.min(...ys), 1e-3) * 0.15;
    return [
      Math.min(...xs) - reach,
      Math.max(...xs) + reach,
      Math.min(...ys) - reach,
      Math.max(...ys) + reach,
    ];
  }

  resize() {
    this.width = this.host.clientWidth;
    this.height = this.host.clientHeight;
    if (!this.fixed || !this.width) return;
    this.box = this.frame();
    this.shown = this.box.join();
    const { points, labels, counts, names, starts } = this.fixed,
      classes = counts.length;
    const every = Math.max(1, Math.ceil(labels.length / SHOWN));
    const dots = counts.map(() => "");
    labels.forEach((label, i) => {
      // few of a class are all shown
      if (counts[label] < 30 || i % every === 0) dots[label] += `M${this.at(points, i).join(" ")}h0`;
    });
    this.real.replaceChildren(
      ...dots.map((d, c) => shape("path", { class: "dots", stroke: classColour(c, classes), d })),
    );
    this.paths = counts.map(() => shape("path"));
    this.made.replaceChildren(...this.paths);
    this.paths.forEach((path, c) => (path.style.fill = classColour(c, classes)));
    this.names.replaceChildren();
    if (classes <= NAMED) this.nameClasses(points, starts, names);
    if (this.now) this.draw(this.now, this.pick, this.said);
  }

  at(points, i) {
    const [x0, x1, y0, y1] = this.box;
    const x = EDGE + ((points[2 * i] - x0) / (x1 - x0 || 1)) * (this.width - 2 * EDGE);
    const y = this.height - EDGE - ((points[2 * i + 1] - y0) / (y1 - y0 || 1)) * (this.height - 2 * EDGE);
    return [x, y].map((value) => (Number.isFinite(value) ? Math.round(value * 10) / 10 : -99)); // out of sight
  }

  /** Each class's name at the middle of its points, moved up or down past those that are there. */
  nameClasses(points, starts, names) {
    const boxes = [],
      size = parseFloat(getComputedStyle(document.documentElement).fontSize) * 0.75;
    names.forEach((name, c) => {
      let x = 0,
        y = 0;
      for (let i = starts[c]; i < starts[c + 1]; i++) {
        const [px, py] = this.at(points, i);
        x += px / (starts[c + 1] - starts[c]);
        y += py / (starts[c + 1] - starts[c]);
      }
      if (x < 0 || y < 0 || x > this.width || y > this.height) return; // of a part that is not shown
      const text = shape("text", { class: "strong", "text-anchor": "middle" });
      say(text, name.length > 12 ? `${name.slice(0, 11)}…` : name);
      this.names.append(text);
      const half = text.getComputedTextLength() / 2 + 2;
      x = Math.max(half, Math.min(this.width - half, x));
      for (const shift of [0, -1, 1, -2, 2, -3, 3]) {
        const top = Math.max(size, Math.min(this.height - 4, y + shift * size * 1.15));
        const box = [x - half, x + half, top - size, top + 3];
        if (boxes.every((one) => one[1] < box[0] || one[0] > box[1] || one[3] < box[2] || one[2] > box[3])) {
          boxes.push(box);
          text.setAttribute("x", x);
          text.setAttribute("y", top);
          return;
        }
      }
      text.remove();
    });
  }

  /** @param now a frame's generated features. @param pick which one is followed. @param said in words. */
  draw(now, pick, said) {
    Object.assign(this, { now, pick, said });
    if (!this.width || !this.fixed) return;
    if (this.frame().join() !== this.shown) return this.resize();
    const { wanted, points } = this.fixed,
      ds = this.paths.map(() => "");
    wanted.forEach((label, i) => {
      const [x, y] = this.at(now.place, i);
      ds[label] += `M${x} ${y - 4.5}l4.5 4.5l-4.5 4.5l-4.5 -4.5z`;
    });
    ds.forEach((d, c) => this.paths[c].setAttribute("d", d));
    const parents = Array.from({ length: now.n }, (_, j) => this.at(points, now.rows[pick * now.n + j]));
    const [x, y] = this.at(now.place, pick);
    const corners = hull(parents);
    this.hull.setAttribute("d", `M${corners.map((one) => one.join(" ")).join("L")}Z`);
    while (this.rays.childNodes.length < parents.length) this.rays.append(shape("path"));
    while (this.rays.childNodes.length > parents.length) this.rays.lastChild.remove();
    parents.forEach(([px, py], j) => {
      const ray = this.rays.childNodes[j],
        share = now.w[pick * now.n + j];
      ray.setAttribute("d", `M${px} ${py}L${x} ${y}`);
      ray.setAttribute("stroke-width", (0.4 + 4 * share).toFixed(2));
    });
    this.chosen.setAttribute("d", `M${x} ${y - 8}l8 8l-8 8l-8 -8z`);
    if (said) mark(this.svg, "aria-label", said);
  }

  /** The generated feature nearest to where the map was pressed. */
  press(event) {
    if (!this.now) return;
    const frame = this.svg.getBoundingClientRect(),
      x = event.clientX - frame.left,
      y = event.clientY - frame.top;
    let best = 0,
      least = Infinity;
    for (let i = 0; i < this.fixed.wanted.length; i++) {
      const [px, py] = this.at(this.now.place, i),
        far = (px - x) ** 2 + (py - y) ** 2;
      if (far < least) [least, best] = [far, i];
    }
    this.choose(best);
  }
}
