// Sliders with a number box each, and lists, for what may change while it trains.
import { CHOICES, NUMBERS, checked } from "../settings.js";
import { element, mark } from "./dom.js";

/** The controls; `change(name, value)` is called with what a person has set. */
export class Controls {
  constructor(host, change, wrong) {
    Object.assign(this, { change, wrong, parts: {}, held: null });
    for (const name of Object.keys(NUMBERS)) host.append(this.number(name));
    for (const name of Object.keys(CHOICES)) host.append(this.choice(name));
  }

  number(name) {
    const { label, low, high, whole, slider } = NUMBERS[name],
      log = slider?.[0] < 0;
    const [from, to, step] = slider ?? [low, high, 1];
    const box = element("input", {
      type: "number",
      id: `set-${name}`,
      min: low,
      max: high,
      step: whole ? 1 : "any",
    });
    const range = element("input", {
      type: "range",
      id: `slide-${name}`,
      min: from,
      max: to,
      step,
      "aria-label": `${label}, slider`,
    });
    const exact = (place) => (log ? Number((10 ** place).toPrecision(2)) : Number(place));
    range.addEventListener("input", () => {
      const value = exact(Number(range.value));
      box.value = value;
      this.set(name, value, box);
    });
    box.addEventListener("change", () => this.set(name, box.value, box));
    this.parts[name] = {
      box,
      show: (value) => {
        if (document.activeElement !== box || Number(box.value) === value) box.value = value;
        const place = log ? Math.log10(value) : value;
        if (exact(Number(range.value)) !== value) range.value = place;
        mark(range, "aria-valuetext", String(value));
      },
    };
    return element("div", { class: "setting" }, element("label", { for: `set-${name}` }, label), range, box);
  }

  choice(name) {
    const { label, options } = CHOICES[name];
    const list = element(
      "select",
      { id: `set-${name}` },
      ...Object.entries(options).map(([value, text]) => element("option", { value }, text)),
    );
    list.addEventListener("change", () => this.set(name, list.value, list));
    this.parts[name] = { box: list, show: (value) => (list.value = value) };
    return element("div", { class: "setting" }, element("label", { for: `set-${name}` }, label), list);
  }

  set(name, text, box) {
    try {
      const value = checked(name, text);
      box.removeAttribute("aria-invalid");
      this.change(name, value);
    } catch (error) {
      mark(box, "aria-invalid", "true");
      this.wrong(error.message);
    }
  }

  /** Shows settings; a box that holds something not allowed is left to whoever types in it. */
  show(settings) {
    for (const [name, { box, show }] of Object.entries(this.parts)) {
      if (box.getAttribute("aria-invalid") === "true" && document.activeElement === box) continue;
      box.removeAttribute("aria-invalid");
      show(settings[name]);
    }
  }

  /** Which label selections can be chosen: with equal classes N_max − N_c chooses none. */
  limit(counts) {
    const equal = counts.every((count) => count === counts[0]);
    const option = this.parts.label_selection.box.querySelector('[value="gamo"]');
    option.disabled = equal;
  }
}
