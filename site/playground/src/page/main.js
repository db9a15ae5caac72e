// The page: what is pressed goes to the lab as messages, what the lab sends is drawn.
import { MOST_SEED } from "../settings.js";
import { MOST_STEPS } from "../lab.js";
import { Address } from "./address.js";
import { byId, mark, say, whole } from "./dom.js";
import { Pictures } from "./pictures.js";
import { Controls } from "./controls.js";
import { listenToButtons } from "./buttons.js";
import { connect } from "./connection.js";
import { read, wholeNumber } from "./link.js";
import { StoryTeller } from "./teller.js";
import { chosenSpeed, listenToSpeed } from "./pace.js";
import { fill } from "./tables.js";
import { listen, said } from "./own_data.js";
import { alarms, headline } from "./words.js";

/** The page and its state. */
export class Page {
  constructor() {
    this.calm = matchMedia("(prefers-reduced-motion: reduce)").matches;
    this.state = { rows: [], step: 0, running: false, ticket: 0, data: "digits", pick: 0, pickOf: null };
    this.pictures = new Pictures((pick) => this.follow(pick));
    this.controls = new Controls(
      byId("settings"),
      (name, value) => this.set(name, value),
      (text) => this.tell(text),
    );
    const file = JSON.parse(byId("digits-data").textContent);
    const script = document.querySelector('script[type="module"]').textContent;
    this.send = connect(file, script, (message) => this.receive(message));
    this.teller = new StoryTeller(this);
    this.address = new Address(this);
    listenToButtons(this);
    listenToSpeed(() => this.state.running && !this.teller.telling && this.run());
    listen(
      (chosen) => this.load(chosen),
      () => this.state.file && this.load(null),
    );
    this.openLink(true);
  }

  // What is asked of the lab

  /** A new loop, from settings at step 0. */
  open({ settings, changes = [], until = 0 }) {
    const { state } = this;
    state.ticket++;
    state.rows = [];
    state.running = until > 0;
    this.showRunning();
    this.send({
      do: "open",
      ticket: state.ticket,
      data: state.data,
      seed: state.seed,
      settings,
      changes,
      until,
    });
  }

  /** What the link asks for: settings, changes, and as many steps as it says. */
  openLink(first) {
    const asked = read(location.hash);
    this.teller.leave();
    byId("theme").value = asked.theme;
    byId("large").checked = asked.large;
    this.state.seed = asked.seed;
    byId("seed").value = asked.seed;
    this.look();
    if (asked.data === "own" && !this.state.file)
      asked.wrong.push(
        "This link was made with somebody’s own features, which are not in it: choose that file below, then open the link again. Shown are the digits.",
      );
    this.state.data = asked.data === "own" && this.state.file ? "own" : "digits";
    if (asked.wrong.length) this.tell(`The link: ${asked.wrong.join(" ")}`);
    this.controls.show(asked.settings);
    this.state.start = first && !asked.step && !this.calm && !document.hidden;
    this.state.resume = first && !asked.step && !this.calm && document.hidden;
    this.open({ settings: asked.settings, changes: asked.changes, until: asked.step });
  }

  run(more = {}) {
    if (this.state.step >= MOST_STEPS)
      return this.tell(`${whole(MOST_STEPS)} steps are the most that are taken: press Reset.`);
    this.state.running = true;
    this.showRunning();
    this.send({ do: "run", ...chosenSpeed(), ...(this.teller.telling?.run ?? {}), ...more });
  }

  pause() {
    this.send({ do: "pause" });
  }

  reset() {
    this.teller.leave();
    this.open({ settings: { ...this.start } });
    this.announce("Reset: step 0.");
  }

  /** One step that trains a part, or all. */
  step(trains) {
    this.teller.leave();
    this.send({ do: "step", trains });
  }

  digitsAgain() {
    Object.assign(this.state, { data: "digits", file: null });
    say(byId("own-said"), "");
    byId("digits-again").hidden = true;
    this.reset();
  }

  set(name, value) {
    this.teller.leave();
    this.send({ do: "set", name, value });
  }

  newSeed() {
    const box = byId("seed");
    try {
      this.state.seed = wholeNumber("Seed", box.value.trim(), MOST_SEED);
      box.removeAttribute("aria-invalid");
      this.reset();
    } catch (error) {
      mark(box, "aria-invalid", "true");
      this.tell(error.message);
    }
  }

  load(file) {
    this.teller.leave();
    this.state.loading = file ?? this.state.file;
    say(byId("own-said"), "Reading…");
    this.send({
      do: "table",
      file,
      name: this.state.loading.name,
      split: { ratio: byId("tail").checked ? 20 : 1 },
    });
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
    else if (message.is === "working")
      say(byId("own-said"), `Training a classifier on it: ${Math.round(100 * message.share)}%`);
    else if (message.is === "table") this.tableRead(message);
    else if (message.is === "failed") this.failed(message);
    else if (message.is === "saved") this.savedCame?.(message);
  }

  opened({ fixed: part, wasm }) {
    const { counts } = (this.fixed = part);
    this.wasm = wasm;
    this.state.now = null; // what is pending belongs to other features
    this.before = part.before;
    if (this.state.pickOf !== part.names.join()) {
      const rarest = counts.reduce((best, count, c) => (count < counts[best] ? c : best), 0);
      this.state.pick = rarest * part.each;
      this.state.pickOf = part.names.join();
    }
    this.pictures.open(part);
    this.controls.limit(counts);
  }

  frame({ step, rows, settings, start, changes, now }) {
    const { state } = this,
      taken = step - state.step;
    for (const row of rows) state.rows.push(row);
    Object.assign(state, { step, settings, changes, now });
    this.start = start;
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
    const { state, fixed: part } = this,
      { rows, now, settings, step } = state;
    if (!now) return;
    const first = !this.firstPicture;
    this.firstPicture ??= performance.now();
    const { text, copies } = headline(rows, settings, step, now);
    say(byId("headline"), [text, ...alarms(rows, now, part.wanted)].join(" "));
    byId("headline").parentElement.classList.toggle("copies", copies);
    if (copies && !this.copied && settings.oversampler === "facog" && settings.n_s > 1 && step)
      this.announce(`Step ${step}. ${text}`);
    this.copied = copies;
    this.rate();
    this.pictures.draw(state, this.teller.ghosts, this.taken);
    this.taken = 0;
    this.controls.show(settings);
    this.teller.progress();
    this.address.keep();
    if (first && this.state.start) this.run();
    this.state.start = false;
    if (byId("numbers").open) this.fillTables();
  }

  /** Steps a second, over the last two seconds. */
  rate() {
    const { state } = this,
      at = performance.now();
    this.times = (this.times ?? []).filter(([when, step]) => at - when < 2000 && step <= state.step);
    this.times.push([at, state.step]);
    const [when, step] = this.times[0],
      speed = (state.step - step) / ((at - when) / 1000);
    this.stepsPerSecond = state.running && at - when > 400 ? speed : 0;
    say(
      byId("pace"),
      `step ${whole(state.step)}${this.stepsPerSecond ? `, ${Math.round(speed)} a second` : ""}`,
    );
  }

  stopped({ why, step }) {
    this.state.running = false;
    this.showRunning();
    this.times = [];
    this.draw(); // the words of the last picture may have been left out while it ran
    const { rows, settings, now } = this.state,
      at = this.state.step;
    if (why === "paused" || why === "step") {
      this.announce(
        `${why === "step" ? "Step" : "Paused at step"} ${at}. ${headline(rows, settings, at, now).text}`,
      );
    }
    this.teller.stopped(why);
    if (why === "until" && !this.teller.telling && step >= MOST_STEPS)
      this.tell(`${whole(MOST_STEPS)} steps are the most that are taken.`);
    this.address.keep(true);
  }

  tableRead({ summary, name }) {
    const { state } = this;
    state.file = state.loading;
    state.data = "own";
    said(name, summary);
    byId("digits-again").hidden = false;
    const equal = summary.counts.every((count) => count === summary.counts[0]),
      settings = { ...this.start };
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
    const help =
      about === "run" || about === "step"
        ? " A learning rate may be too high: press Reset, or lower it and press Reset."
        : "";
    this.tell(
      ours ? `This should not happen: ${text}. Press Reset; if it stays, please report it.` : text + help,
    );
    this.controls.show(this.state.settings ?? this.start);
  }

  // What the page shows of itself

  follow(pick) {
    this.state.pick = pick;
    this.draw();
  }

  look() {
    const theme = byId("theme").value,
      large = byId("large").checked;
    document.documentElement.dataset.theme = theme;
    document.documentElement.dataset.type = large ? "large" : "usual";
    this.pictures.resize();
    this.address.keep(true);
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

  fillTables() {
    const { state } = this,
      at = performance.now();
    if (!byId("numbers").open || !state.now || (state.running && at - (this.filled ?? -1e9) < 1000)) return;
    this.filled = at;
    fill(byId("tables"), {
      fixed: { ...this.fixed, before: this.before },
      now: state.now,
      pick: state.pick,
      rows: state.rows,
      changes: state.changes,
    });
  }

  /** The weights, as the lab has them: for tests and the console. */
  saved() {
    return new Promise((resolve) => {
      this.savedCame = resolve;
      this.send({ do: "saved" });
    });
  }
}
