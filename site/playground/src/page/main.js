// The page: what is pressed goes to the lab as messages, what the lab sends is drawn.
import { CHOICES, NUMBERS } from "../settings.js";
import { MOST_STEPS } from "../lab.js";
import { byId, element, fixed, mark, say, whole } from "./dom.js";
import { Chart } from "./chart.js";
import { FeatureMap } from "./map.js";
import { Diagram } from "./diagram.js";
import { Controls } from "./controls.js";
import { connect } from "./connection.js";
import { read, write } from "./link.js";
import { StoryTeller } from "./teller.js";
import { fill } from "./tables.js";
import { listen, said } from "./own_data.js";
import { alarms, entropySaid, headline, lossesSaid, mapSaid } from "./words.js";

const SPEEDS = [1, 2, 5, 10, 20, 40, 80, Infinity], SLOW = 2, IN_THE_FALL = 10;
const MEASURED = ["entropy", "loss_d", "loss_adv", "loss_asc", "loss_cls"];

/** The page and its state. */
export class Page {
  constructor() {
    this.calm = matchMedia("(prefers-reduced-motion: reduce)").matches;
    this.state = { rows: [], step: 0, running: false, ticket: 0, data: "digits", pick: 0, pickOf: null };
    this.entropy = new Chart(byId("entropy"), byId("entropy-legend"), { entropy: { label: "w at present", colour: "--made" } }, { low: 0 });
    this.losses = new Chart(byId("losses"), byId("losses-legend"), {
      loss_asc: { label: "L_asc, stay in class", colour: "--mixing" },
      loss_d: { label: "L_D", colour: "--copy", dash: "6 3" },
      loss_adv: { label: "L_adv, look real", colour: "--made" },
      loss_cls: { label: "L_cls", colour: "--real", dash: "2 2" },
    }, { low: 0.001, log: true });
    this.map = new FeatureMap(byId("map"), (pick) => this.follow(pick));
    this.diagram = new Diagram((label) => this.follow(label * this.fixed.each));
    this.controls = new Controls(byId("settings"), (name, value) => this.set(name, value), (text) => this.tell(text));
    const file = JSON.parse(byId("digits-data").textContent);
    const script = document.querySelector('script[type="module"]').textContent;
    this.send = connect(file, script, (message) => this.receive(message));
    this.teller = new StoryTeller(this);
    this.listen();
    listen((chosen) => this.load(chosen), () => this.state.file && this.load(null));
    this.openLink(true);
  }

  listen() {
    byId("start").addEventListener("click", () => (this.state.running ? this.pause() : this.run()));
    byId("reset").addEventListener("click", () => this.reset());
    for (const button of document.querySelectorAll("[data-step]")) {
      button.addEventListener("click", () => {
        this.teller.leave();
        this.send({ do: "step", trains: button.dataset.step });
      });
    }
    byId("speed").addEventListener("input", () => {
      mark(byId("slow-motion"), "aria-pressed", "false");
      this.newSpeed();
    });
    byId("slow").addEventListener("change", () => this.newSpeed());
    byId("slow-motion").addEventListener("click", () => {
      mark(byId("slow-motion"), "aria-pressed", String(byId("slow-motion").getAttribute("aria-pressed") !== "true"));
      this.newSpeed();
    });
    byId("another").addEventListener("click", () => {
      const { each } = this.fixed, label = Math.floor(this.state.pick / each);
      this.follow(label * each + ((this.state.pick + 1) % each));
    });
    byId("closer").addEventListener("click", () => {
      const on = byId("closer").getAttribute("aria-pressed") !== "true";
      mark(byId("closer"), "aria-pressed", String(on));
      this.map.closer(on);
    });
    byId("large").addEventListener("change", () => this.look());
    byId("theme").addEventListener("change", () => this.look());
    byId("link").addEventListener("click", () => this.copyLink());
    byId("told").querySelector("button").addEventListener("click", () => (byId("told").hidden = true));
    byId("digits-again").addEventListener("click", () => {
      Object.assign(this.state, { data: "digits", file: null });
      say(byId("own-said"), "");
      byId("digits-again").hidden = true;
      this.reset();
    });
    byId("numbers").addEventListener("toggle", () => this.fillTables());
    addEventListener("hashchange", () => {
      if (location.hash !== this.written) this.openLink(false);
    });
    document.addEventListener("visibilitychange", () => {
      if (document.hidden && this.state.running && !this.teller.telling) {
        this.pause();
        this.state.resume = true;
      } else if (!document.hidden && this.state.resume) {
        this.state.resume = false;
        this.run();
      }
    });
    this.sayPace();
  }

  // What is asked of the lab

  /** A new loop, from settings at step 0. */
  open({ settings, changes = [], until = 0 }) {
    const { state } = this;
    state.ticket++;
    state.rows = [];
    state.running = until > 0;
    this.showRunning();
    this.send({ do: "open", ticket: state.ticket, data: state.data, seed: state.seed, settings, changes, until });
  }

  /** What the link asks for: settings, changes, and as many steps as it says. */
  openLink(first) {
    const asked = read(location.hash);
    this.teller.leave();
    byId("theme").value = asked.theme;
    byId("large").checked = asked.large;
    this.state.seed = asked.seed;
    this.look();
    if (asked.data === "own" && !this.state.file) asked.wrong.push("This link was made with somebody’s own features, which are not in it: choose that file below, then open the link again. Shown are the digits.");
    this.state.data = asked.data === "own" && this.state.file ? "own" : "digits";
    if (asked.wrong.length) this.tell(`The link: ${asked.wrong.join(" ")}`);
    this.controls.show(asked.settings);
    this.state.start = first && !asked.step && !this.calm && !document.hidden;
    this.state.resume = first && !asked.step && !this.calm && document.hidden;
    this.open({ settings: asked.settings, changes: asked.changes, until: asked.step });
  }

  run(more = {}) {
    if (this.state.step >= MOST_STEPS) return this.tell(`${whole(MOST_STEPS)} steps are the most that are taken: press Reset.`);
    this.state.running = true;
    this.showRunning();
    this.send({ do: "run", ...this.speed(), ...(this.teller.telling?.run ?? {}), ...more });
  }

  pause() {
    this.send({ do: "pause" });
  }

  reset() {
    this.teller.leave();
    this.open({ settings: { ...this.start } });
    this.announce("Reset: step 0.");
  }

  set(name, value) {
    this.teller.leave();
    this.send({ do: "set", name, value });
  }

  load(file) {
    this.teller.leave();
    this.state.loading = file ?? this.state.file;
    say(byId("own-said"), "Reading…");
    this.send({ do: "table", file, name: this.state.loading.name, split: { ratio: byId("tail").checked ? 20 : 1 } });
  }

  /** Steps a second, and in the fall of w. */
  speed() {
    if (byId("slow-motion").getAttribute("aria-pressed") === "true") return { speed: SLOW, slow: null };
    return { speed: SPEEDS[byId("speed").value], slow: byId("slow").checked ? IN_THE_FALL : null };
  }

  newSpeed() {
    this.sayPace();
    if (this.state.running && !this.teller.telling) this.run();
  }

  sayPace() {
    const chosen = SPEEDS[byId("speed").value], text = Number.isFinite(chosen) ? `${chosen} step${chosen > 1 ? "s" : ""} a second` : "full speed";
    say(byId("speed-said"), text);
    mark(byId("speed"), "aria-valuetext", text);
  }

  // What the lab sends

  receive(message) {
    const { state } = this;
    if (message.ticket !== undefined && message.ticket !== state.ticket) {
      if (message.is === "frame") this.send({ do: "drawn" });
      return;
    }
    if (message.is === "opened") this.opened(message);
    else if (message.is === "frame") this.frame(message);
    else if (message.is === "stopped") this.stopped(message);
    else if (message.is === "working") say(byId("own-said"), `Training a classifier on it: ${Math.round(100 * message.share)}%`);
    else if (message.is === "table") this.tableRead(message);
    else if (message.is === "failed") this.failed(message);
    else if (message.is === "saved") this.savedCame?.(message);
  }

  opened({ fixed: part, wasm }) {
    const { counts } = (this.fixed = part);
    this.wasm = wasm;
    this.before = part.before;
    if (this.state.pickOf !== part.names.join()) {
      const rarest = counts.reduce((best, count, c) => (count < counts[best] ? c : best), 0);
      this.state.pick = rarest * part.each;
      this.state.pickOf = part.names.join();
    }
    this.diagram.open(part);
    this.map.open(part);
    this.controls.limit(counts);
    say(byId("map-said"), `PCA: ${Math.round(100 * part.share)}% of the variance`);
  }

  frame({ step, rows, settings, start, changes, now }) {
    const { state } = this, taken = step - state.step;
    for (const row of rows) state.rows.push(row);
    Object.assign(state, { step, settings, changes, now });
    this.start = start;
    this.latest = { settings, start, changes };
    this.taken = (this.taken ?? 0) + Math.max(0, taken);
    if (!this.asked) {
      this.asked = true;
      const draw = () => {
        this.asked = false;
        this.draw();
        this.send({ do: "drawn" });
      };
      if (document.hidden) draw();
      else requestAnimationFrame(draw);
    }
  }

  draw() {
    const { state, fixed: part } = this, { rows, now, settings, step, pick } = state;
    if (now.n * part.wanted.length !== now.w.length) return;
    const first = !this.firstPicture;
    this.firstPicture ??= performance.now();
    const { text, copies } = headline(rows, settings, step, now);
    say(byId("headline"), [text, ...alarms(rows, now, part.wanted)].join(" "));
    byId("headline").parentElement.classList.toggle("copies", copies);
    if (copies && !this.copied && settings.oversampler === "facog" && settings.n_s > 1 && step) this.announce(`Step ${step}. ${text}`);
    this.copied = copies;
    this.rate();
    this.diagram.draw(now, pick, rows.at(-1), settings, this.taken);
    this.taken = 0;
    this.drawCharts();
    this.controls.show(settings);
    this.teller.progress();
    this.writeLink();
    if (first && this.state.start) this.run();
    this.state.start = false;
    if (byId("numbers").open) this.fillTables();
  }

  drawCharts() {
    const { state, fixed: part } = this, { rows, settings, changes, now, pick } = state;
    const most = Math.max(Math.log(Math.max(2, settings.n_s)), ...rows.map((row) => row.entropy), ...this.teller.ghosts.flatMap(({ values }) => values[0] ?? 0));
    const even = Math.log(settings.n_s);
    const lines = settings.n_s > 1 ? [{ value: even, words: `even mix of ${settings.n_s}: ${fixed(even)}`}, { value: 0, words: "a copy: 0" }] : [{ value: 0, words: "one feature: 0" }];
    const marks = changes.map(({ step }) => step).slice(-12), notes = { lines, marks, ghosts: this.teller.ghosts };
    this.entropy.draw(rows, Math.ceil(most * 1.12 * 5) / 5, notes, this.seldom("entropy", () => entropySaid(rows, settings)));
    const { ghosts } = this.teller;
    byId("ghosts").hidden = !ghosts.length;
    say(byId("ghosts"), ghosts.length ? `grey: ${ghosts.map(({ label }) => label).join("; ")}` : "");
    this.losses.draw(rows, 10, { marks }, this.seldom("losses", () => lossesSaid(rows)));
    this.map.draw(now, pick, this.seldom("map", () => mapSaid(part, now, pick)));
  }

  /** A text alternative every second at most, and always when nothing runs. */
  seldom(name, text) {
    const at = performance.now(), last = (this.texts ??= {})[name] ?? -1e9;
    if (this.state.running && at - last < 1000) return "";
    this.texts[name] = at;
    return text();
  }

  /** Steps a second, over the last two seconds. */
  rate() {
    const { state } = this, at = performance.now();
    this.times = (this.times ?? []).filter(([when, step]) => at - when < 2000 && step <= state.step);
    this.times.push([at, state.step]);
    const [when, step] = this.times[0], speed = (state.step - step) / ((at - when) / 1000);
    this.stepsPerSecond = state.running && at - when > 400 ? speed : 0;
    say(byId("pace"), `step ${whole(state.step)}${this.stepsPerSecond ? `, ${Math.round(speed)} a second` : ""}`);
  }

  stopped({ why, step }) {
    this.state.running = false;
    this.showRunning();
    this.times = [];
    this.rate();
    const { rows, settings, now } = this.state, at = this.state.step;
    if (why === "paused" || why === "step") {
      this.announce(`${why === "step" ? "Step" : "Paused at step"} ${at}. ${headline(rows, settings, at, now).text}`);
    }
    this.teller.stopped(why);
    if (why === "until" && !this.teller.telling && step >= MOST_STEPS) this.tell(`${whole(MOST_STEPS)} steps are the most that are taken.`);
    this.writeLink(true);
  }

  tableRead({ summary, name }) {
    const { state } = this;
    state.file = state.loading;
    state.data = "own";
    said(name, summary);
    byId("digits-again").hidden = false;
    const equal = summary.counts.every((count) => count === summary.counts[0]), settings = { ...this.start };
    if (equal && settings.label_selection === "gamo") settings.label_selection = "uniform";
    byId("told").hidden = true;
    this.open({ settings });
    this.announce("Your features are read. Press Start.");
  }

  failed({ about, text, ours }) {
    this.state.running = false;
    this.showRunning();
    this.teller.leave();
    if (about === "table") say(byId("own-said"), this.state.file ? "The file before is still in use." : "");
    const help = about === "run" || about === "step" ? " A learning rate may be too high: press Reset, or lower it and press Reset." : "";
    this.tell(ours ? `This should not happen: ${text}. Press Reset; if it stays, please report it.` : text + help);
    this.controls.show(this.state.settings ?? this.start);
  }

  // What the page shows of itself

  follow(pick) {
    this.state.pick = pick;
    if (this.state.now) this.draw();
  }

  look() {
    const theme = byId("theme").value, large = byId("large").checked;
    document.documentElement.dataset.theme = theme;
    document.documentElement.dataset.type = large ? "large" : "usual";
    for (const part of [this.entropy, this.losses, this.map]) part.resize();
    this.diagram.place();
    this.writeLink(true);
  }

  showRunning() {
    const { running } = this.state;
    say(byId("start"), running ? "Pause" : "Start");
  }

  tell(text) {
    say(byId("told").querySelector("p"), text);
    byId("told").hidden = false;
  }

  announce(text) {
    say(byId("announce"), text);
  }

  hash(withStep) {
    const { seed, step, data } = this.state, { start, changes } = this.latest;
    return write({ seed, start, changes, step: withStep ? step : 0, theme: byId("theme").value, large: byId("large").checked, data });
  }

  /** Keeps the address in step with the state; the number of steps only while nothing runs. */
  writeLink(now = false) {
    if (!this.latest || this.teller.telling) return;
    const at = performance.now();
    if (!now && at - (this.wroteAt ?? -1e9) < 1000 && this.state.running) return;
    this.wroteAt = at;
    const hash = this.hash(!this.state.running);
    this.written = hash ? `#${hash}` : "";
    if (location.hash !== this.written) history.replaceState(null, "", this.written || location.pathname + location.search);
    say(byId("changes"), this.changesSaid());
  }

  changesSaid() {
    const { changes } = this.latest;
    if (!changes.length) return "";
    const shown = changes.slice(-3).map(({ step, name, value }) => `after step ${whole(step)}: ${(NUMBERS[name] ?? CHOICES[name]).label} to ${CHOICES[name]?.options[value] ?? value}`);
    return `Changed ${shown.join("; ")}${changes.length > 3 ? `, and ${changes.length - 3} more` : ""}.`;
  }

  async copyLink() {
    const address = `${location.href.split("#")[0]}#${this.hash(true)}`;
    try {
      await navigator.clipboard.writeText(address);
      this.announce("The link is copied: it leads to this very step.");
      say(byId("link"), "Copied");
    } catch {
      this.tell(`Copy this: ${address}`);
    }
    setTimeout(() => say(byId("link"), "Copy link"), 2000);
  }

  fillTables() {
    const { state } = this, at = performance.now();
    if (!byId("numbers").open || !state.now || (state.running && at - (this.filled ?? -1e9) < 1000)) return;
    this.filled = at;
    fill(byId("tables"), { fixed: { ...this.fixed, before: this.before }, now: state.now, pick: state.pick, rows: state.rows, changes: state.changes });
  }

  /** The weights, as the lab has them: for tests and the console. */
  saved() {
    return new Promise((resolve) => {
      this.savedCame = resolve;
      this.send({ do: "saved" });
    });
  }
}
