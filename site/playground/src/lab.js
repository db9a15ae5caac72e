// Drives a loop by messages, in a worker or, where there is none, in the page: open, set, run, pause.
import { Phase2, TrainingError } from "./phase2.js";
import { RecordedDraws } from "./draws.js";
import { View } from "./view.js";
import { parseTable } from "./table.js";
import { ownSource } from "./own.js";

const SLICE = 24; // milliseconds of training at a time; then messages are read
const BETWEEN = 60; // milliseconds at least between two pictures of a run
export const MOST_STEPS = 100_000;

/**
 * Messages in: {do: "open" | "set" | "run" | "pause" | "step" | "drawn" | "table" | "own" | "saved"}.
 * Messages out: {is: "opened" | "frame" | "stopped" | "failed" | "working" | "table" | "saved"}.
 */
export class Lab {
  /** @param post sends a message to the page. @param digits makes the digits' source. */
  constructor(post, digits) {
    this.post = post;
    this.digits = digits;
    this.turns = new MessageChannel();
    this.turns.port1.onmessage = ({ data }) => this.turn(data);
    this.chain = 0; // of turns; a new run ends the old one's
    this.source = null;
    this.table = null;
    this.running = null;
    this.waiting = false; // for the page to draw the last picture
  }

  /** Does what a message asks; what goes wrong is told, never lost. */
  async receive(message) {
    try {
      await this[`on_${message.do}`](message);
    } catch (error) {
      this.running = null;
      this.fail(message.do, error);
    }
  }

  /** Tells what went wrong; `ours` where it is no fault of what was asked for. */
  fail(about, error) {
    const ours = !error.told && !(error instanceof TrainingError);
    this.post({ is: "failed", about, text: error.message, ours });
  }

  /** A new loop: {data: "digits" | "own", seed, settings, changes, until, recorded, plain}. */
  on_open({ data, seed, settings, changes = [], until = 0, recorded = null, plain = false, ticket }) {
    this.running = null;
    this.source = data === "own" ? this.own : (this.kept ??= this.digits());
    this.check(settings.label_selection);
    const draws = recorded && new RecordedDraws(recorded.draws);
    this.loop = new Phase2(this.source, seed, { draws, plain, used: this.loop?.arena });
    if (recorded?.start.generator) {
      this.loop.generator.load(recorded.start.generator);
      this.loop.discriminator.load(recorded.start.discriminator);
    }
    this.ticket = ticket;
    this.settings = { ...settings };
    this.start = { ...settings };
    this.changes = [];
    this.planned = [...changes];
    this.rows = [];
    this.last = null;
    this.view = new View(this.loop);
    this.applyPlanned();
    this.post({ is: "opened", ticket, fixed: this.view.fixed(), wasm: Boolean(this.loop.arena.wasm) });
    this.frame();
    if (until) this.on_run({ speed: Infinity, until });
  }

  on_set({ name, value }) {
    if (name === "label_selection") this.check(value);
    this.planned = []; // whoever steers leaves the recorded way
    this.change(name, value);
    if (!this.running) this.frame();
  }

  /** Changes a setting before the next step, and notes it for the link. */
  change(name, value) {
    const { step } = this.loop,
      { changes } = this;
    this.settings[name] = value;
    if (!step) {
      this.start[name] = value;
      return;
    }
    const again = changes.findIndex((one) => one.step === step && one.name === name);
    if (again >= 0) changes.splice(again, 1);
    const before = changes.findLast((one) => one.name === name)?.value ?? this.start[name];
    if (value !== before) changes.push({ step, name, value });
  }

  /** @throws where the classes are equally large and the rule would choose none of them. */
  check(selection) {
    const { counts } = this.source;
    if (selection !== "gamo" || counts.some((count) => count !== counts[0])) return;
    const error = new Error(
      `All ${counts.length} classes have ${counts[0]} rows to learn from, so the rule N_max − N_c ` +
        "chooses none of them: take “all classes alike”.",
    );
    error.told = true;
    throw error;
  }

  /** {speed: steps a second, slow: steps a second while w falls, until: a step, below: an entropy}. */
  on_run({ speed, slow = null, until = MOST_STEPS, below = null }) {
    if (this.loop.step >= Math.min(until, MOST_STEPS)) return this.stop("until");
    this.running = { speed, slow, until: Math.min(until, MOST_STEPS), below, next: performance.now() };
    this.chain++;
    this.schedule();
  }

  on_pause() {
    if (this.running) this.stop("paused");
  }

  /** One step that trains what is named; then the setting is as it was. */
  on_step({ trains }) {
    this.running = null;
    this.planned = [];
    const kept = this.settings.trains;
    this.change("trains", trains);
    try {
      this.take();
    } finally {
      this.change("trains", kept);
    }
    this.frame();
    this.post({ is: "stopped", why: "step", ticket: this.ticket });
  }

  on_drawn() {
    this.waiting = false;
  }

  /** A file, or the one before split in another way. */
  async on_table({ file = null, name, split }) {
    const number = (this.tables = (this.tables ?? 0) + 1);
    const table = file ? await parseTable(file) : this.table;
    if (number !== this.tables) return; // another was chosen while this one was read
    this.own = ownSource(table, split, (share) => this.post({ is: "working", share }));
    this.table = table;
    this.post({ is: "table", name, summary: this.own.summary });
  }

  /** All weights, and the shares w of the last batch, which a picture has overwritten since. */
  on_saved() {
    this.loop.weigh(this.settings.n_s, this.settings.oversampler);
    this.post({ is: "saved", saved: this.loop.saved(), w: this.loop.w.slice(), recall: this.loop.recall() });
  }

  applyPlanned() {
    while (this.planned.length && this.planned[0].step <= this.loop.step) {
      const { name, value } = this.planned.shift();
      this.change(name, value);
    }
  }

  take() {
    this.applyPlanned();
    const row = this.loop.next(this.settings);
    this.rows.push({ ...row, n_s: this.settings.n_s });
    this.last = row;
    this.applyPlanned();
  }

  /** Steps a second at present: slower while w falls, where that is wanted. */
  pace() {
    const { speed, slow } = this.running,
      { oversampler, n_s } = this.settings;
    if (!slow || oversampler !== "facog" || n_s < 2 || !this.last) return speed;
    const share = this.last.entropy / Math.log(n_s);
    return share < 0.95 && share > 0.12 ? Math.min(speed, slow) : speed;
  }

  turn(chain) {
    const { running } = this,
      until = performance.now() + SLICE;
    if (!running || chain !== this.chain) return;
    try {
      while (performance.now() < until && running.next <= performance.now()) {
        this.take();
        running.next = Math.max(running.next + 1000 / this.pace(), performance.now() - 100);
        const enough = running.below !== null && this.last.entropy < running.below;
        if (enough || this.loop.step >= running.until) return this.stop(enough ? "below" : "until");
      }
    } catch (error) {
      this.stop("failed");
      this.fail("run", error);
      return;
    }
    const now = performance.now();
    if (!this.waiting && this.rows.length && now - this.drawn > BETWEEN) this.frame();
    this.schedule();
  }

  schedule() {
    const wait = this.running.next - performance.now(),
      { chain } = this;
    if (wait > 4) setTimeout(() => this.turn(chain), wait);
    else this.turns.port2.postMessage(chain);
  }

  stop(why) {
    this.running = null;
    this.frame();
    this.post({ is: "stopped", why, step: this.loop.step, ticket: this.ticket });
  }

  frame() {
    this.waiting = true;
    this.drawn = performance.now();
    const { rows, settings, ticket, start, changes } = this;
    this.rows = [];
    const now = this.view.now(settings),
      { step } = this.loop;
    this.post({
      is: "frame",
      ticket,
      step,
      rows,
      settings: { ...settings },
      start: { ...start },
      changes: [...changes],
      now,
    });
  }
}
