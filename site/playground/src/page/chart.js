// Curves over steps as SVG: as many points as there are pixels, axes that grow in jumps.
import { element, fixed, mark, say, shape, whole } from "./dom.js";

const RIGHT = 8,
  TOP = 8;

/** The next of 1, 2, 5 times a power of ten that is at least `value`. */
export function roundUp(value) {
  const power = 10 ** Math.floor(Math.log10(value));
  return [1, 2, 5, 10].map((factor) => factor * power).find((one) => one >= value * 0.999999);
}

/** A chart of some series over steps. */
export class Chart {
  /** @param series {name: {label, colour, dash}}. @param options {log, low, high}. */
  constructor(host, legend, series, options) {
    Object.assign(this, { host, series, options });
    this.svg = shape("svg", { role: "img" });
    this.back = shape("g");
    this.paths = {};
    this.svg.append(this.back);
    for (const [name, { label, colour, dash }] of Object.entries(series)) {
      this.paths[name] = shape("path", { stroke: `var(${colour})`, "stroke-dasharray": dash ?? "none" });
      this.svg.append(this.paths[name]);
      const sign = element("i");
      sign.style.borderColor = `var(${colour})`;
      if (dash) sign.style.borderTopStyle = "dashed";
      legend.append(element("span", {}, sign, label));
    }
    host.append(this.svg);
    new ResizeObserver(() => this.resize()).observe(host);
    this.drawn = null;
  }

  resize() {
    this.width = this.host.clientWidth;
    this.height = this.host.clientHeight;
    this.size = 0.75 * parseFloat(getComputedStyle(document.documentElement).fontSize); // of its text
    this.left = 3.4 * this.size;
    this.bottom = 1.8 * this.size;
    this.key = "";
    if (this.drawn) this.draw(...this.drawn);
  }

  y(value) {
    const { log, low } = this.options,
      { high } = this;
    const share = log
      ? (Math.log10(Math.max(value, low)) - Math.log10(low)) / (Math.log10(high) - Math.log10(low))
      : (value - low) / (high - low);
    return TOP + (1 - Math.max(0, Math.min(1, share))) * (this.height - TOP - this.bottom);
  }

  x(step) {
    return this.left + (step / this.last) * (this.width - this.left - RIGHT);
  }

  /** @param rows of steps. @param high of the axis. @param notes {lines, marks, ghosts}. @param said in words. */
  draw(rows, high, notes = {}, said = "") {
    this.drawn = [rows, high, notes, said];
    if (!this.width) return;
    const ghosts = notes.ghosts ?? [];
    this.last = roundUp(Math.max(100, rows.length, ...ghosts.map(({ values }) => values.length)));
    this.high = high;
    const key = [
      this.last,
      high,
      this.width,
      this.height,
      JSON.stringify(notes.lines),
      JSON.stringify(notes.marks),
      ghosts.map((one) => one.label + one.values.length).join(),
    ].join("|");
    if (key !== this.key) this.frame(notes, ghosts);
    this.key = key;
    for (const name of Object.keys(this.series))
      this.paths[name].setAttribute(
        "d",
        this.path(rows, (row) => row[name]),
      );
    if (said) mark(this.svg, "aria-label", said);
  }

  path(rows, value) {
    const bins = Math.max(50, Math.floor((this.width - this.left) / 2)),
      size = Math.max(1, Math.ceil(this.last / bins));
    let d = "",
      open = false;
    for (let first = 0; first < rows.length; first += size) {
      const end = Math.min(rows.length, first + size);
      let sum = 0,
        count = 0;
      for (let i = first; i < end; i++) {
        const one = value(rows[i]);
        if (one !== undefined && Number.isFinite(one)) {
          sum += one;
          count++;
        }
      }
      if (!count) open = false;
      else {
        d += `${open ? "L" : "M"}${this.x((first + 1 + end) / 2).toFixed(1)} ${this.y(sum / count).toFixed(1)}`;
        open = true;
      }
    }
    return d;
  }

  /** Grid, ticks, lines and marks: what changes seldom. */
  frame({ lines = [], marks = [] }, ghosts) {
    const { log, low } = this.options,
      parts = [],
      bottom = this.height - this.bottom,
      { size, left } = this;
    const text = (x, y, words, anchor, kind = "") => {
      const made = shape("text", { x, y, "text-anchor": anchor, class: kind });
      say(made, words);
      parts.push(made);
    };
    const line = (kind, x1, y1, x2, y2) => parts.push(shape("line", { class: kind, x1, y1, x2, y2 }));
    const ticks = [];
    if (log) for (let tick = low; tick <= this.high * 1.001; tick *= 10) ticks.push(tick);
    else
      for (let tick = low, by = roundUp((this.high - low) / 4); tick <= this.high * 1.001; tick += by)
        ticks.push(tick);
    for (const tick of ticks) {
      const y = this.y(tick);
      line("grid", left, y, this.width - RIGHT, y);
      if (y < bottom - size * 0.2 || tick === ticks[0])
        text(
          left - 4,
          Math.max(y + size * 0.35, size * 0.8),
          log ? String(Number(tick.toPrecision(1))) : fixed(tick),
          "end",
        );
    }
    line("axis", left, bottom, this.width - RIGHT, bottom);
    text(left, this.height - 4, "0", "middle");
    text(this.width - RIGHT, this.height - 4, `step ${whole(this.last)}`, "end");
    for (const ghost of ghosts)
      parts.push(
        shape("path", {
          class: "ghost",
          stroke: `var(${ghost.colour})`,
          d: this.path(ghost.values, (one) => one),
        }),
      );
    for (const { value, words } of lines) {
      const y = this.y(value);
      line("mark", left, y, this.width - RIGHT, y);
      text(left + 4, y - 4, words, "start");
    }
    for (const step of new Set(marks)) line("mark", this.x(step), TOP, this.x(step), bottom);
    this.back.replaceChildren(...parts);
  }
}
