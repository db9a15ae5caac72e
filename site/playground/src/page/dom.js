// The few helpers by which the page is written. Text goes in as text, never as HTML.

/** The element with an id. */
export const byId = (id) => document.getElementById(id);

/** An element with attributes and children; a child that is a string becomes text. */
export function element(name, attributes = {}, ...children) {
  const made = document.createElement(name);
  for (const [key, value] of Object.entries(attributes)) {
    if (key === "class") made.className = value;
    else if (value === true) made.setAttribute(key, "");
    else if (value !== false && value !== null) made.setAttribute(key, value);
  }
  made.append(...children);
  return made;
}

/** An SVG element with attributes. */
export function shape(name, attributes = {}) {
  const made = document.createElementNS("http://www.w3.org/2000/svg", name);
  for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
  return made;
}

/** Sets text only where it changes: a screen reader and the layout are left alone otherwise. */
export function say(node, text) {
  if (node.textContent !== text) node.textContent = text;
}

/** Sets an attribute only where it changes. */
export function mark(node, name, value) {
  if (node.getAttribute(name) !== String(value)) node.setAttribute(name, value);
}

/** A number to so many digits after the point; -0 is 0. */
export const fixed = (value, digits = 2) =>
  (Math.abs(value) < 0.5 / 10 ** digits ? 0 : value).toFixed(digits);

/** A whole number with commas. */
export const whole = (value) => Math.round(value).toLocaleString("en-US");

// Petroff (2021), "Accessible color sequences for data visualization", as in the lab's figures.
const PALETTE = [
  "#3f90da",
  "#ffa90e",
  "#bd1f01",
  "#94a4a2",
  "#832db6",
  "#a96b59",
  "#e76300",
  "#b9ac70",
  "#717581",
  "#92dadd",
];

/** The colour of a class; past ten, hues at equal angles. */
export const classColour = (label, classes) =>
  classes <= PALETTE.length ? PALETTE[label] : `hsl(${Math.round((360 * label) / classes)} 65% 50%)`;

/** Paints numbers as a strip or square of colours, dark to light from `low` to `high`. */
export function paint(canvas, values, columns, low, high, grey = false) {
  const rows = Math.ceil(values.length / columns);
  if (canvas.width !== columns) canvas.width = columns;
  if (canvas.height !== rows) canvas.height = rows;
  const context = canvas.getContext("2d"),
    image = context.createImageData(columns, rows);
  values.forEach((value, i) => {
    const t = Math.max(0, Math.min(1, (value - low) / (high - low || 1))) || 0; // NaN is 0
    image.data.set(grey ? [255 * t, 255 * t, 255 * t, 255] : viridis(t), 4 * i);
  });
  context.putImageData(image, 0, 0);
}

const STOPS = [
  [68, 1, 84],
  [65, 68, 135],
  [42, 120, 142],
  [34, 168, 132],
  [122, 209, 81],
  [253, 231, 37],
];
function viridis(t) {
  const at = t * (STOPS.length - 1),
    k = Math.min(STOPS.length - 2, Math.floor(at));
  return [...STOPS[k].map((low, c) => low + (at - k) * (STOPS[k + 1][c] - low)), 255];
}
