// The method as a diagram: cards that show what they do in this step, lines that are the data.
import { byId, element, fixed, mark, paint, say, whole } from "./dom.js";
import { Edges } from "./edges.js";
import { Gauges } from "./gauges.js";

const LISTED = 12; // classes in the classifier's card: the rarest, where there are more
const MANY = 8; // shares in one column

/** The diagram. */
export class Diagram {
  /** @param choose told which class is wanted. */
  constructor(choose) {
    this.choose = choose;
    this.edges = new Edges(byId("edges"));
    this.gauges = new Gauges(this.edges);
    new ResizeObserver(() => this.place()).observe(byId("edges").parentElement);
    byId("classes").addEventListener("keydown", (event) => this.key(event));
  }

  /** Another set of features. */
  open(fixedPart) {
    this.fixed = fixedPart;
    const { counts, names, features } = fixedPart,
      most = Math.max(...counts);
    const sorted = Float32Array.from(
      features.filter((_, i) => i % Math.ceil(features.length / 5000) === 0),
    ).sort();
    this.low = sorted[Math.floor(0.02 * sorted.length)];
    this.high = sorted[Math.floor(0.98 * (sorted.length - 1))];
    const narrow = names.every((name) => name.length < 3);
    byId("classes").classList.toggle("numbers", narrow);
    byId("recall").classList.toggle("numbers", narrow);
    byId("classes").replaceChildren(
      ...names.map((name, c) => {
        const bar = element("b");
        bar.style.width = `${(100 * counts[c]) / most}%`;
        const button = element(
          "button",
          {
            type: "button",
            role: "radio",
            "aria-checked": "false",
            tabindex: "-1",
            "data-class": c,
            "aria-label": `${name} ${whole(counts[c])} real features`,
          },
          element("span", { class: "name bdi", title: name }, name),
          element("span", { class: "track real" }, bar),
          element("span", { class: "value" }, whole(counts[c])),
        );
        button.addEventListener("click", () => this.choose(c));
        return button;
      }),
    );
    const order = counts.map((_, c) => c).sort((a, b) => counts[b] - counts[a] || a - b);
    this.listed = names.length <= LISTED ? names.map((_, c) => c) : order.slice(-LISTED);
    this.bars = this.listed.map((c) => {
      const bar = element("b"),
        tick = element("i"),
        value = element("span", { class: "value" });
      const before = fixedPart.before?.[c] ?? 0;
      tick.style.left = `calc(${100 * before}% - .09rem)`;
      const row = element(
        "li",
        {},
        element("span", { class: "name bdi", title: names[c] }, names[c]),
        element("span", { class: "track" }, bar, tick),
        value,
      );
      return { row, bar, value, c };
    });
    byId("recall").replaceChildren(...this.bars.map(({ row }) => row));
    this.n = 0;
    this.join();
  }

  /** Arrow keys move the choice of a class, as in a group of radio buttons. */
  key(event) {
    const by = { ArrowDown: 1, ArrowRight: 1, ArrowUp: -1, ArrowLeft: -1 }[event.key];
    if (!by) return;
    event.preventDefault();
    const { length } = this.fixed.names,
      next = (this.shown + by + length) % length;
    this.choose(next);
    byId("classes").children[next].focus();
  }

  /** The lines that are always there. */
  join() {
    const { edges } = this,
      [dictionary, g, parents, mix, pull, d, projector, classifier] = [
        "dictionary",
        "g",
        "parents",
        "mix",
        "pull",
        "d",
        "projector",
        "classifier",
      ].map(byId);
    edges.set("drawn", dictionary, parents, "real");
    edges.set("w", g, parents, "made", { thick: 3 });
    edges.set("to-d", mix, d, "made", { onward: true });
    edges.set("to-projector", mix, projector, "made", { onward: true });
    edges.set("to-classifier", mix, classifier, "made", { way: "under", lane: 1 });
    edges.set("real-classifier", dictionary, classifier, "real", { way: "under", lane: 0 });
    edges.set("real-d", dictionary, d, "real", { way: "over" });
    edges.set("from-d", d, pull, "told", { flows: false });
    edges.set("from-projector", projector, pull, "told", { flows: false });
    edges.set("pull-g", pull, g, "told", { flows: false });
  }

  /** The rows of shares: as many as features are mixed. */
  rows(n) {
    this.n = n;
    const { images } = this.fixed;
    byId("shares").classList.toggle("many", n > MANY);
    byId("shares").classList.toggle("plain", !images);
    this.shares = Array.from({ length: n }, () => {
      const image = element("canvas", { class: "image", "aria-hidden": "true" });
      const strip = element("canvas", { class: "strip", "aria-hidden": "true" });
      const bar = element("b"),
        track = element("span", { class: "track" }, bar),
        value = element("span", { class: "value" });
      return {
        row: element("li", {}, ...(images ? [image] : []), strip, track, value),
        image,
        strip,
        bar,
        track,
        value,
        painted: -1,
      };
    });
    byId("shares").replaceChildren(...this.shares.map(({ row }) => row));
    const names = new Set();
    this.shares.forEach(({ track }, j) => {
      names.add(`share${j}`);
      this.edges.set(`share${j}`, n > MANY && j < n / 2 ? byId("parents") : track, byId("mix"), "made", {
        flows: false,
      });
    });
    this.edges.keepOnly("share", names);
    this.place();
  }

  place() {
    if (this.fixed) this.edges.place();
  }

  /** What a frame has. @param pick the generated feature that is followed. @param last the last step's row. */
  draw(now, pick, last, settings, steps) {
    const {
        fixed: { wanted, names, features, images, dim, counts, before },
      } = this,
      label = wanted[pick],
      { n } = now;
    if (n !== this.n) this.rows(n);
    this.shown = label;
    [...byId("classes").children].forEach((button, c) => {
      mark(button, "aria-checked", c === label);
      mark(button, "tabindex", c === label ? 0 : -1);
    });
    say(
      byId("parents-title"),
      n === 1 ? `1 real one of ${short(names[label])}` : `${n} real ones of ${short(names[label])} × w`,
    );
    const shares = [...now.w.subarray(pick * n, (pick + 1) * n)];
    this.shares.forEach((one, j) => {
      const row = now.rows[pick * n + j],
        key = `${row}|${this.low}`;
      if (one.painted !== key) {
        one.painted = key;
        if (images) paint(one.image, images.subarray(64 * row, 64 * row + 64), 8, 0, 255, true);
        paint(one.strip, features.subarray(row * dim, (row + 1) * dim), dim, this.low, this.high);
      }
      one.bar.style.width = `${100 * shares[j]}%`;
      say(one.value, fixed(shares[j]));
      this.edges.thicken(`share${j}`, 0.5 + 9 * shares[j]);
    });
    this.drawMix(now, pick, shares, label);
    this.drawG(pick, settings);
    this.gauges.draw(now, pick, last, settings.oversampler === "facog");
    const { recall } = now;
    for (const { row, bar, value, c } of this.bars) {
      bar.style.width = `${100 * recall[c]}%`;
      say(value, fixed(recall[c]));
      mark(
        row,
        "aria-label",
        `${names[c]}: recall ${fixed(recall[c])}, before phase 2 ${fixed(before?.[c] ?? 0)}, ${whole(counts[c])} real features`,
      );
    }
    if (steps) this.edges.flow(steps);
  }

  drawMix(now, pick, shares, label) {
    const { images, dim, names } = this.fixed,
      width = now.made.length / this.fixed.wanted.length;
    byId("blend").hidden = !images;
    if (images) {
      const blend = new Float32Array(64);
      shares.forEach((share, j) => {
        const row = now.rows[pick * now.n + j];
        for (let k = 0; k < 64; k++) blend[k] += share * images[64 * row + k];
      });
      paint(byId("blend"), blend, 8, 0, 255, true);
    }
    paint(byId("feature"), now.made.subarray(pick * width, pick * width + dim), dim, this.low, this.high);
    const near = now.nearest[pick];
    say(
      byId("mix-said"),
      near === label
        ? `for class ${short(names[label])}`
        : `for class ${short(names[label])}; nearest real: ${short(names[near])}`,
    );
  }

  drawG(pick, settings) {
    const learned = settings.oversampler === "facog";
    say(
      byId("g-said"),
      learned ? "100 numbers by lot, and the class, to shares w" : "not asked: w comes from elsewhere",
    );
    const key = `${pick}|${learned}`;
    if (this.noise !== key) {
      this.noise = key;
      const strip = Float32Array.from({ length: 100 }, (_, k) => this.fixed.noise[pick * 100 + k]);
      paint(byId("noise"), strip, 100, -2, 2);
      byId("noise").hidden = !learned;
      for (const name of ["w", "from-d", "from-projector", "pull-g", "real-d"])
        this.edges.show(name, learned);
      this.place();
    }
  }
}

const short = (name) => (name.length > 14 ? `${name.slice(0, 13)}…` : name);
