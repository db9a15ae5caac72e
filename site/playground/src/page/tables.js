// All that the pictures show, as tables: for a screen reader, and for whoever wants the numbers.
import { element, fixed } from "./dom.js";

function table(caption, head, rows) {
  const line = (cells, name) =>
    element(
      "tr",
      {},
      ...cells.map((text, k) =>
        element(k && name !== "th" ? "td" : "th", { scope: name === "th" ? "col" : k ? null : "row" }, text),
      ),
    );
  return element(
    "table",
    {},
    element("caption", {}, caption),
    element("thead", {}, line(head, "th")),
    element("tbody", {}, ...rows.map((cells) => line(cells, "td"))),
  );
}

/** Fills the host with the present numbers. */
export function fill(host, { fixed: part, now, pick, rows, changes }) {
  const { n } = now,
    label = part.wanted[pick],
    tables = [];
  tables.push(
    table(
      `The new feature of class ${part.names[label]} that is followed`,
      ["real feature", "share w"],
      Array.from({ length: n }, (_, j) => [
        `number ${now.rows[pick * n + j] - part.starts[label] + 1} of ${part.counts[label]}`,
        fixed(now.w[pick * n + j], 4),
      ]),
    ),
  );
  tables.push(
    table(
      "Recall on held-out features",
      ["class", "real features", "before phase 2", "now"],
      part.names.map((name, c) => [
        name,
        String(part.counts[c]),
        fixed(part.before?.[c] ?? NaN, 3),
        fixed(now.recall[c], 3),
      ]),
    ),
  );
  const every = Math.max(1, Math.ceil(rows.length / 12)),
    shown = rows.map((row, i) => [i + 1, row]).filter(([step]) => step % every === 0 || step === rows.length);
  const names = {
    entropy: "entropy of w",
    max_weight: "largest share",
    loss_d: "L_D",
    loss_adv: "L_adv",
    loss_asc: "L_asc",
    loss_cls: "L_cls",
    score_real: "D of real",
    score_generated: "D of new",
  };
  tables.push(
    table(
      "Steps, some of them",
      ["step", ...Object.values(names)],
      shown.map(([step, row]) => [
        String(step),
        ...Object.keys(names).map((name) => (row[name] === undefined ? "–" : fixed(row[name], 4))),
      ]),
    ),
  );
  if (changes.length)
    tables.push(
      table(
        "Changes while it ran",
        ["after step", "setting", "to"],
        changes.map((one) => [String(one.step), one.name, String(one.value)]),
      ),
    );
  host.replaceChildren(...tables);
}
