// Tells a story: shows its words, plays its runs one after the other, ends when a person steers.
import { byId, element, mark, say } from "./dom.js";
import { STORIES, usual } from "./stories.js";
import { recallOf } from "./words.js";

/** Thrown inside a story that somebody has left. */
class Left extends Error {}

/** The stories of a page; it is also what a story's `run` is given to play on. */
export class StoryTeller {
  constructor(page) {
    this.page = page;
    this.ghosts = [];
    this.telling = null; // {story, run, legs, resolve, reject} while one runs
    STORIES.forEach((story) => {
      const button = element("button", { type: "button" }, story.title);
      button.addEventListener("click", () => this.show(story));
      byId("stories").append(button);
    });
    byId("story-run").addEventListener("click", () => this.tell());
    byId("story-close").addEventListener("click", () => {
      this.leave();
      byId("story").hidden = true;
    });
  }

  show(story) {
    this.leave();
    this.story = story;
    const scene = { settings: this.settings, names: this.names, counts: this.page.fixed.counts };
    const text = (words) => (typeof words === "function" ? words(scene) : words);
    say(byId("story-title"), story.title);
    say(byId("story-before"), text(story.before));
    say(byId("story-watch"), text(story.watch));
    byId("story-after").hidden = true;
    byId("story-progress").hidden = true;
    say(byId("story-leg"), "");
    byId("story").hidden = false;
    byId("story-title").focus();
    byId("story").scrollIntoView({ block: "nearest" });
  }

  async tell() {
    this.leave();
    const { story, page } = this,
      telling = (this.telling = { story, leg: 0 });
    this.ghosts = [];
    byId("story-after").hidden = true;
    mark(byId("story-progress"), "value", 0);
    byId("story-progress").hidden = false;
    say(byId("story-run"), "Run it again");
    try {
      const after = await story.run(this);
      this.telling = null;
      say(byId("story-leg"), "");
      byId("story-progress").hidden = true;
      say(byId("story-after"), `Measured: ${after}`);
      byId("story-after").hidden = false;
      page.announce(`Measured: ${after}`);
    } catch (error) {
      if (this.telling === telling) this.telling = null;
      if (!(error instanceof Left)) throw error;
    }
    page.address.keep(true);
  }

  /** Ends the story that runs, if there is one: somebody has taken over. */
  leave() {
    const { telling } = this;
    this.ghosts = [];
    if (!telling) return;
    this.telling = null;
    say(byId("story-leg"), "The story was left.");
    byId("story-progress").hidden = true;
    telling.reject?.(new Left());
    if (this.page.state.running) this.page.pause();
  }

  /** The lab has stopped: the end of a leg, unless somebody paused. */
  stopped(why) {
    const { telling } = this;
    if (telling?.resolve && (why === "until" || why === "below")) {
      const { resolve } = telling;
      telling.resolve = telling.reject = null;
      telling.leg++;
      resolve({ rows: [...this.page.state.rows] }); // the page's own list grows on
    }
  }

  progress() {
    const { telling, page } = this;
    if (!telling?.run) return;
    const legs = telling.story.legs,
      { until, from } = telling.run,
      part = (page.state.step - from) / (until - from);
    mark(
      byId("story-progress"),
      "value",
      ((telling.leg + Math.max(0, Math.min(1, part))) / legs.length).toFixed(3),
    );
    say(byId("story-leg"), `${telling.leg + 1} of ${legs.length}: ${legs[telling.leg] ?? ""}`);
  }

  // What a story plays on

  get settings() {
    return usual(this.page.fixed.counts);
  }

  get names() {
    return this.page.fixed.names;
  }

  get now() {
    return this.page.state.now;
  }

  /** Mean recalls before phase 2, and which class is the largest. */
  before() {
    return recallOf(this.page.before, this.page.fixed.counts);
  }

  recall() {
    return recallOf(this.now.recall, this.page.fixed.counts);
  }

  beforeOf(label) {
    return this.page.before[label];
  }

  recallOf(label) {
    return this.now.recall[label];
  }

  /** A run from step 0; resolves with its rows. */
  play({ settings, ...run }) {
    this.page.open({ settings });
    return this.wait({ from: 0, below: null, slow: null, ...run });
  }

  /** The same run, further. */
  more(run) {
    return this.wait({ from: this.page.state.step, below: null, slow: null, ...run });
  }

  wait(run) {
    return new Promise((resolve, reject) => {
      Object.assign(this.telling, { run, resolve, reject });
      this.page.run();
    });
  }

  set(name, value) {
    this.page.send({ do: "set", name, value });
  }

  /** Keeps the run's curve as a faint one behind the next. */
  keep(label) {
    this.ghosts = [
      ...this.ghosts,
      { label, colour: "--quiet", values: this.page.state.rows.map((row) => row.entropy) },
    ].slice(-3);
  }
}
