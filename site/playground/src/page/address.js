// Keeps the page's address in step with its state, and says what was changed on the way.
import { CHOICES, NUMBERS } from "../settings.js";
import { byId, say, whole } from "./dom.js";
import { write } from "./link.js";

/** The address of a page. */
export class Address {
  constructor(page) {
    this.page = page;
    this.written = location.hash;
    byId("link").addEventListener("click", () => this.copy());
    addEventListener("hashchange", () => {
      if (location.hash !== this.written) page.openLink(false);
    });
  }

  hash(withStep) {
    const { seed, step, data, changes } = this.page.state,
      { start } = this.page;
    return write({
      seed,
      start,
      changes,
      step: withStep ? step : 0,
      theme: byId("theme").value,
      large: byId("large").checked,
      data,
    });
  }

  /** The number of steps is written only while nothing runs: else a reload would first repeat them. */
  keep(now = false) {
    const { page } = this,
      { running } = page.state;
    if (!page.start || page.teller.telling) return;
    const at = performance.now();
    if (!now && running && at - (this.at ?? -1e9) < 1000) return;
    this.at = at;
    const hash = this.hash(!running);
    this.written = hash ? `#${hash}` : "";
    if (location.hash !== this.written)
      history.replaceState(null, "", this.written || location.pathname + location.search);
    say(byId("changes"), this.changesSaid());
  }

  changesSaid() {
    const { changes } = this.page.state;
    if (!changes.length) return "";
    const shown = changes
      .slice(-3)
      .map(
        ({ step, name, value }) =>
          `after step ${whole(step)}: ${(NUMBERS[name] ?? CHOICES[name]).label} to ${CHOICES[name]?.options[value] ?? value}`,
      );
    return `Changed ${shown.join("; ")}${changes.length > 3 ? `, and ${changes.length - 3} more` : ""}.`;
  }

  /** Copies the link to this very step, or shows it where the browser does not let it. */
  async copy() {
    const address = `${location.href.split("#")[0]}#${this.hash(true)}`;
    try {
      await navigator.clipboard.writeText(address);
      this.page.announce("The link is copied: it leads to this very step.");
      say(byId("link"), "Copied");
    } catch {
      this.page.tell(`Copy this: ${address}`);
    }
    setTimeout(() => say(byId("link"), "Copy link"), 2000);
  }
}
