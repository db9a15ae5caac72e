// The gauges of the judges: what D scores, whose class a new feature is like, and what pulls w.
import { byId, element, fixed, say } from "./dom.js";

const STRONG = 0.05; // a pull that fills its bar
const box = (kind, ...children) => element("div", { class: kind }, ...children);
const words = (text) => element("span", {}, text);
const value = () => element("span", { class: "value" });

/** The gauges, and how thick the lines are that lead from the judges. */
export class Gauges {
  constructor(edges) {
    this.edges = edges;
    this.real = element("span", { class: "real" });
    this.made = element("span", { class: "made" });
    this.one = element("span", { class: "one" });
    const line = element("div", { class: "line", "aria-hidden": "true" }, this.real, this.made, this.one);
    Object.assign(this, { scoreReal: value(), scoreMade: value(), score: value() });
    byId("scores").append(
      line,
      box("gauge ends", element("div", { "aria-hidden": "true" }, words("0 made"), words("1 real"))),
      box("gauge", box("", this.scoreReal, this.scoreMade, this.score)),
    );
    this.own = this.bar("closeness", "like its own class", "track");
    this.other = this.bar("closeness", "like the next one", "track real");
    byId("pulls").append(box("gauge ends", box("", words("← copy"), words("× 0.001"), words("mix →"))));
    this.adv = this.bar("pulls", "look real", "twosided");
    this.asc = this.bar("pulls", "stay in class", "twosided");
  }

  /** A named bar in a card. */
  bar(card, title, kind) {
    const made = { bar: element("b"), value: value() };
    const track = element("div", { class: kind, "aria-hidden": "true" }, made.bar);
    byId(card).append(box("gauge", box("", words(title), made.value), track));
    return made;
  }

  /** @param last the last step's row. @param learned whether D and G take part. */
  draw(now, pick, last, learned) {
    const has = last?.score_real !== undefined;
    const at = (score) => `${(100 * (Math.max(-0.2, Math.min(1.2, score)) + 0.2)) / 1.4}%`;
    this.real.hidden = this.made.hidden = !has;
    if (has) {
      this.real.style.left = at(last.score_real);
      this.made.style.left = at(last.score_generated);
    }
    this.one.style.left = at(now.score[pick]);
    say(this.scoreReal, has ? `real ${fixed(last.score_real)}` : learned ? "no step yet" : "takes no part");
    say(this.scoreMade, has ? `new ${fixed(last.score_generated)}` : "");
    say(this.score, `◇ this one ${fixed(now.score[pick])}`);
    for (const name of ["own", "other"]) {
      this[name].bar.style.width = `${100 * Math.max(0, now[name][pick])}%`;
      say(this[name].value, fixed(now[name][pick]));
    }
    this.drawPull(this.adv, last?.pull_adv ?? 0, "from-d", "d");
    this.drawPull(this.asc, last?.pull_asc ?? 0, "from-projector", "projector");
  }

  drawPull(gauge, pull, line, from) {
    const size = 50 * Math.min(1, Math.sqrt(Math.abs(pull) / STRONG)),
      copy = pull < 0;
    gauge.bar.style.left = `${copy ? 50 - size : 50}%`;
    gauge.bar.style.width = `${size}%`;
    gauge.bar.style.background = copy ? "var(--copy)" : "var(--mixing)";
    const thousandths = (1000 * Math.abs(pull)).toFixed(1);
    say(gauge.value, thousandths === "0.0" ? thousandths : `${copy ? "−" : "+"}${thousandths}`);
    this.edges.thicken(line, 1 + size / 8);
    this.edges.set(line, byId(from), byId("pull"), copy ? "told copy" : "told", { flows: false });
  }
}
