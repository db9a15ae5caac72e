// One's own features: by the file button or dropped on the page; what was read is said in words.
import { byId, say, whole } from "./dom.js";

/** Tells `load(file)` when a file is chosen or dropped, and `split()` when its option changes. */
export function listen(load, split) {
  const input = byId("file"),
    veil = byId("drop");
  input.addEventListener("change", () => {
    if (input.files[0]) load(input.files[0]);
    input.value = ""; // so that the same file, mended, can be chosen again
  });
  byId("tail").addEventListener("change", split);
  let depth = 0;
  const ofFile = (event) => [...(event.dataTransfer?.types ?? [])].includes("Files");
  addEventListener("dragenter", (event) => {
    if (!ofFile(event)) return;
    depth++;
    veil.hidden = false;
  });
  addEventListener("dragleave", () => {
    depth = Math.max(0, depth - 1);
    veil.hidden = depth === 0;
  });
  addEventListener("dragover", (event) => event.preventDefault());
  addEventListener("drop", (event) => {
    event.preventDefault(); // else the browser leaves the page for the file
    depth = 0;
    veil.hidden = true;
    if (event.dataTransfer.files[0]) load(event.dataTransfer.files[0]);
  });
}

/** What was read, in words. */
export function said(name, one) {
  const sizes = [...one.counts].sort((a, b) => b - a);
  const notes = [
    `“${name}”: ${whole(one.rows)} rows of ${one.dim} number${one.dim > 1 ? "s" : ""}, ${one.classes} classes; labels from column ${one.label}` +
      `${one.header ? ` (“${one.labelName}”)` : ""}; cells separated by ${one.separator}${one.commas ? ", decimal commas" : ""}${one.encoding === "UTF-8" ? "" : `, read as ${one.encoding}`}.`,
    `${whole(one.tests)} rows are held out for the test; ${whole(one.train)} train, ${whole(sizes[0])} of the largest class and ${whole(sizes.at(-1))} of the smallest.`,
    "Each column is brought to mean 0 and deviation 1.",
    one.flat
      ? `${one.flat} column${one.flat > 1 ? "s do" : " does"} not vary and count${one.flat > 1 ? "" : "s"} as 0.`
      : "",
    `A classifier was trained on them here first, by plain cross-entropy, ${one.steps} steps (last loss ${one.loss.toFixed(3)}), and a projector by the contrastive loss.`,
    sizes[0] === sizes.at(-1)
      ? "All classes are equally large, so all are generated alike; the box above makes a long tail."
      : "",
  ];
  say(byId("own-said"), notes.filter(Boolean).join(" "));
}
