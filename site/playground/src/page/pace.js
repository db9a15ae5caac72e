// How fast it runs: a slider, slow motion, and slower by itself while the mix falls.
import { byId, mark, say } from "./dom.js";

const SPEEDS = [1, 2, 5, 10, 20, 40, 80, Infinity],
  SLOW = 2,
  IN_THE_FALL = 10;
const pressed = () => byId("slow-motion").getAttribute("aria-pressed") === "true";

/** Calls `changed` whenever the speed is another one. */
export function listenToSpeed(changed) {
  const all = () => {
    sayPace();
    changed();
  };
  byId("speed").addEventListener("input", () => {
    mark(byId("slow-motion"), "aria-pressed", "false");
    all();
  });
  byId("slow").addEventListener("change", all);
  byId("slow-motion").addEventListener("click", () => {
    mark(byId("slow-motion"), "aria-pressed", String(!pressed()));
    all();
  });
  sayPace();
}

/** Steps a second, and while w falls. */
export function chosenSpeed() {
  if (pressed()) return { speed: SLOW, slow: null };
  return { speed: SPEEDS[byId("speed").value], slow: byId("slow").checked ? IN_THE_FALL : null };
}

function sayPace() {
  const chosen = SPEEDS[byId("speed").value];
  const text = Number.isFinite(chosen) ? `${chosen} step${chosen > 1 ? "s" : ""} a second` : "full speed";
  say(byId("speed-said"), text);
  mark(byId("speed"), "aria-valuetext", text);
}
