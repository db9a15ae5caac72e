// What can be pressed, and what of the page it asks.
import { byId, mark } from "./dom.js";

/** Listens to all buttons but those of speed, stories and link, which listen for themselves. */
export function listenToButtons(page) {
  const on = (id, kind, what) => byId(id).addEventListener(kind, what);
  on("start", "click", () => (page.state.running ? page.pause() : page.run()));
  on("reset", "click", () => page.reset());
  on("seed", "change", () => page.newSeed());
  on("large", "change", () => page.look());
  on("theme", "change", () => page.look());
  on("numbers", "toggle", () => page.fillTables());
  on("digits-again", "click", () => page.digitsAgain());
  for (const button of document.querySelectorAll("[data-step]")) {
    button.addEventListener("click", () => page.step(button.dataset.step));
  }
  on("another", "click", () => {
    const { each } = page.fixed,
      { pick } = page.state;
    page.follow(pick - (pick % each) + ((pick + 1) % each));
  });
  on("closer", "click", () => {
    const close = byId("closer").getAttribute("aria-pressed") !== "true";
    mark(byId("closer"), "aria-pressed", String(close));
    page.pictures.map.closer(close);
  });
  byId("told")
    .querySelector("button")
    .addEventListener("click", () => {
      byId("told").hidden = true;
      byId("start").focus();
    });
  document.addEventListener("visibilitychange", () => {
    // nobody looks: nothing runs
    const { state } = page;
    if (document.hidden && state.running && !page.teller.telling) {
      page.pause();
      state.resume = true;
    } else if (!document.hidden && state.resume) {
      state.resume = false;
      page.run();
    }
  });
}
