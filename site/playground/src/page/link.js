// The state as a link: seed, settings, every change with its step, how far. The same link, the same run.
import { CHOICES, MOST_SEED, NUMBERS, checked, defaults, shortened } from "../settings.js";
import { MOST_STEPS } from "../lab.js";

const MOST_CHANGES = 300;

/** A whole number within bounds, or an Error that says so. */
export function wholeNumber(name, text, most) {
  if (!/^\d{1,12}$/.test(text) || Number(text) > most) {
    throw new Error(`${name} = “${shortened(text)}”: it must be a whole number from 0 to ${most}.`);
  }
  return Number(text);
}

/** What a hash asks for; what is not understood is listed in `wrong` and left at its default. */
export function read(hash) {
  const asked = {
    seed: 0,
    settings: defaults(),
    changes: [],
    step: 0,
    theme: "auto",
    large: false,
    data: "digits",
    wrong: [],
  };
  for (const [name, text] of new URLSearchParams(hash.replace(/^#/, ""))) {
    try {
      if (name === "seed") asked.seed = wholeNumber("seed", text, MOST_SEED);
      else if (name === "step") asked.step = wholeNumber("step", text, MOST_STEPS);
      else if (name === "theme" && ["auto", "light", "dark"].includes(text)) asked.theme = text;
      else if (name === "type" && text === "large") asked.large = true;
      else if (name === "data" && text === "own") asked.data = "own";
      else if (name === "then") asked.changes = text.split(",").slice(0, MOST_CHANGES).map(changeOf);
      else asked.settings[name] = checked(name, text);
    } catch (error) {
      asked.wrong.push(error.message);
    }
  }
  asked.changes.sort((a, b) => a.step - b.step);
  return asked;
}

function changeOf(text) {
  const [step, name, value] = text.split(":");
  return {
    step: wholeNumber("the step of a change", step ?? "", MOST_STEPS),
    name,
    value: checked(name ?? "", value ?? ""),
  };
}

/** The hash of a state; settings at their defaults are left out. */
export function write({ seed, start, changes, step, theme, large, data }) {
  const parts = new URLSearchParams(),
    usual = defaults();
  if (data === "own") parts.set("data", data);
  if (seed) parts.set("seed", seed);
  for (const name of [...Object.keys(NUMBERS), ...Object.keys(CHOICES)]) {
    if (start[name] !== usual[name]) parts.set(name, start[name]);
  }
  if (changes.length)
    parts.set("then", changes.map((one) => `${one.step}:${one.name}:${one.value}`).join(","));
  if (step) parts.set("step", step);
  if (theme !== "auto") parts.set("theme", theme);
  if (large) parts.set("type", "large");
  return parts.toString().replaceAll("%3A", ":").replaceAll("%2C", ",");
}
