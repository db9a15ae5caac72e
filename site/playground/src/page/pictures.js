// The pictures of a run together: diagram, evenness of w, losses, map, each with its text.
import { Chart } from "./chart.js";
import { Diagram } from "./diagram.js";
import { byId, fixed, say } from "./dom.js";
import { FeatureMap } from "./map.js";
import { entropySaid, lossesSaid, mapSaid } from "./words.js";

/** All pictures of the page. */
export class Pictures {
  /** @param follow told which generated feature is to be followed. */
  constructor(follow) {
    this.entropy = new Chart(
      byId("entropy"),
      byId("entropy-legend"),
      { entropy: { label: "w at present", colour: "--made" } },
      { low: 0 },
    );
    this.losses = new Chart(
      byId("losses"),
      byId("losses-legend"),
      {
        loss_asc: { label: "L_asc, stay in class", colour: "--mixing" },
        loss_d: { label: "L_D", colour: "--copy", dash: "6 3" },
        loss_adv: { label: "L_adv, look real", colour: "--made" },
        loss_cls: { label: "L_cls", colour: "--real", dash: "2 2" },
      },
      { low: 0.001, log: true },
    );
    this.map = new FeatureMap(byId("map"), follow);
    this.diagram = new Diagram((label) => follow(label * this.fixed.each));
    this.texts = {};
  }

  /** Another set of features. */
  open(part) {
    this.fixed = part;
    this.diagram.open(part);
    this.map.open(part);
    say(byId("map-said"), `PCA: ${Math.round(100 * part.share)}% of the variance`);
  }

  /** After another theme, another size of type. */
  resize() {
    for (const part of [this.entropy, this.losses, this.map]) part.resize();
    this.diagram.place();
  }

  /** @param state of the page. @param ghosts curves of runs before. @param taken steps since the last picture. */
  draw({ rows, settings, changes, now, pick, running }, ghosts, taken) {
    this.diagram.draw(now, pick, rows.at(-1), settings, taken);
    const even = Math.log(settings.n_s);
    const most = Math.max(
      Math.log(2),
      even,
      ...ghosts.map(({ values }) => values[0] ?? 0),
      rows.reduce((top, row) => Math.max(top, row.entropy), 0),
    );
    const lines = [{ value: 0, words: settings.n_s > 1 ? "a copy: 0" : "one feature: 0" }];
    if (settings.n_s > 1) lines.push({ value: even, words: `even mix of ${settings.n_s}: ${fixed(even)}` });
    const marks = changes.map(({ step }) => step).slice(-12);
    this.entropy.draw(
      rows,
      Math.ceil(most * 1.12 * 5) / 5,
      { lines, marks, ghosts },
      this.seldom("entropy", running, () => entropySaid(rows, settings)),
    );
    byId("ghosts").hidden = !ghosts.length;
    say(byId("ghosts"), ghosts.length ? `grey: ${ghosts.map(({ label }) => label).join("; ")}` : "");
    this.losses.draw(
      rows,
      10,
      { marks },
      this.seldom("losses", running, () => lossesSaid(rows)),
    );
    this.map.draw(
      now,
      pick,
      this.seldom("map", running, () => mapSaid(this.fixed, now, pick)),
    );
  }

  /** A text alternative every second at most, and always when nothing runs. */
  seldom(name, running, text) {
    const at = performance.now();
    if (running && at - (this.texts[name] ?? -1e9) < 1000) return "";
    this.texts[name] = at;
    return text();
  }
}
