// A table of one's own: a label and numbers in every row. Errors say what is wrong, and in which line.
import { shortened } from "./settings.js";

export const MOST = { rows: 5000, numbers: 256, classes: 100, bytes: 64 * 2 ** 20, size: 1e30 };
const LABELS = ["label", "labels", "class", "classes", "category", "target", "species"]; // the first that is there
const NAMED = { ",": "commas", ";": "semicolons", "\t": "tabs", "|": "bars" };

/** What is wrong with a file, in words for whoever made it. */
export class TableError extends Error {
  told = true;
}

const quoted = (text) => `“${shortened(text.trim() || text, 30)}”`;
const thousands = (n) => n.toLocaleString("en-US");

/** The text of a file, and how it was read. */
export async function textOf(file) {
  if (!file.size) throw new TableError("The file is empty.");
  if (file.size > MOST.bytes) {
    throw new TableError(
      `The file has ${thousands(Math.round(file.size / 2 ** 20))} MB, and at most 64 are ` +
        `read: ${thousands(MOST.rows)} rows of ${MOST.numbers} numbers take about 30.`,
    );
  }
  const bytes = new Uint8Array(await file.arrayBuffer());
  if (bytes[0] === 0x50 && bytes[1] === 0x4b) {
    throw new TableError("This is a zip or an Excel file. Save the sheet as CSV and take that.");
  }
  const wide =
    bytes[0] === 0xff && bytes[1] === 0xfe
      ? "utf-16le"
      : bytes[0] === 0xfe && bytes[1] === 0xff
        ? "utf-16be"
        : null;
  if (!wide && bytes.subarray(0, 4096).includes(0))
    throw new TableError("This is not a text file: it holds zero bytes.");
  try {
    return {
      text: new TextDecoder(wide ?? "utf-8", { fatal: true }).decode(bytes),
      encoding: wide ? "UTF-16" : "UTF-8",
    };
  } catch {
    return { text: new TextDecoder("windows-1252").decode(bytes), encoding: "Windows-1252" };
  }
}

/** What separates the cells: the sign that splits the first lines into most, and equally many, cells. */
export function separatorOf(text) {
  const lines = text
    .slice(0, 100_000)
    .split(/\r\n|\n|\r/)
    .filter((line) => line.trim())
    .slice(0, 20);
  if (lines.length > 1 && text.length > 100_000) lines.pop(); // it may be cut
  let best = null;
  for (const sign of Object.keys(NAMED)) {
    const cells = lines.map((line) => line.replace(/"[^"]*"/g, "").split(sign).length);
    const even = cells.filter((count) => count === cells[0]).length / cells.length;
    // Decimal commas split lines as evenly as commas that separate: what is no comma goes first.
    const score = cells[0] > 1 ? even * (sign === "," ? 1 : 1.5) : 0;
    if (score > (best?.score ?? 0)) best = { sign, score };
  }
  if (!best) {
    throw new TableError(
      `Line 1 is ${quoted(lines[0] ?? "")}, one cell: cells must be separated by commas, semicolons or tabs.`,
    );
  }
  return best.sign;
}

/** Records of cells with the line that each begins in; quotes as in RFC 4180. */
export function* records(text, separator) {
  const end = text.length;
  let at = 0,
    line = 1;
  while (at < end) {
    const feed = text.indexOf("\n", at),
      stop = feed < 0 ? end : feed,
      quote = text.indexOf('"', at);
    if (quote < 0 || quote >= stop) {
      // most lines: nothing is quoted
      for (const one of text.slice(at, stop).split("\r")) {
        if (one.trim()) yield { cells: one.split(separator), line };
      }
      at = stop + 1;
      line++;
      continue;
    }
    const record = quotedRecord(text, separator, at, line);
    if (record.cells.some((cell) => cell.trim())) yield { cells: record.cells, line };
    ({ at, line } = record);
  }
}

/** The record at a place, sign by sign: quoted cells may hold separators and ends of lines. */
function quotedRecord(text, separator, at, line) {
  const cells = [];
  let cell = "",
    quoting = 0,
    closed = false;
  for (; ; at++) {
    const sign = at < text.length ? text[at] : "\n";
    if (quoting) {
      if (at >= text.length)
        throw new TableError(`Line ${thousands(quoting)}: a quote is opened and never closed.`);
      if (sign === "\n") line++;
      if (sign !== '"') cell += sign;
      else if (text[at + 1] === '"') {
        cell += '"';
        at++;
      } else quoting = 0;
    } else if (sign === '"' && !cell.trim() && !closed) {
      quoting = line;
      closed = true;
      cell = "";
    } else if (sign === separator || sign === "\n") {
      cells.push(cell);
      if (sign === "\n") return { cells, at: at + 1, line: line + 1 };
      cell = "";
      closed = false;
    } else if (sign !== "\r") cell += sign;
  }
}

const decimal = (text) => /^\s*[-+]?\d+,\d+([eE][-+]?\d+)?\s*$/.test(text);
const NUMBER = /^[-+]?(\d+\.?\d*|\.\d+)([eE][-+]?\d+)?$/;
/** The number in a cell; undefined where there is none. */
function numberOf(text, commas) {
  const trimmed = commas && decimal(text) ? text.trim().replace(",", ".") : text.trim();
  return NUMBER.test(trimmed) ? Number(trimmed) : undefined;
}

/** Which column has the label, and whether the first record names the columns. */
function layoutOf(all, commas) {
  const [first, ...later] = all.slice(0, 6);
  const isNumber = (text) =>
    numberOf(text, commas) !== undefined || /^\s*[-+]?(nan|inf(inity)?)\s*$/i.test(text);
  const header = first.cells.some(
    (text, k) => text.trim() && !isNumber(text) && later.some(({ cells }) => isNumber(cells[k] ?? "")),
  );
  const body = header ? later[0] : first;
  const names = first.cells.map((text, k) => (header ? text.trim() : "") || `column ${k + 1}`);
  const places = header ? first.cells.map((text) => LABELS.indexOf(text.trim().toLowerCase())) : [];
  const known = places.indexOf(Math.min(...places.filter((place) => place >= 0)));
  if (known >= 0) return { header, names, label: known };
  const texts = body.cells.map((text, k) => (text.trim() && !isNumber(text) ? k : -1)).filter((k) => k >= 0);
  if (texts.length > 1) {
    throw new TableError(
      `Line ${body.line}: columns ${texts[0] + 1} (${quoted(names[texts[0]])}) and ${texts[1] + 1} ` +
        `(${quoted(names[texts[1]])}) both hold text, and only the label may: leave the other out.`,
    );
  }
  if (texts.length) return { header, names, label: texts[0] };
  const rows = header ? all.slice(1) : all;
  const distinct = (k) => new Set(rows.map(({ cells }) => cells[k])).size;
  const last = body.cells.length - 1;
  const label = [0, last].find((k) => distinct(k) <= Math.min(MOST.classes, Math.max(2, rows.length / 2)));
  if (label === undefined) {
    throw new TableError(
      "No column looks like a label: none holds text, none is named “label”, and the first and the last " +
        `have ${distinct(0)} and ${distinct(last)} different values. Name one “label” in the first line.`,
    );
  }
  return { header, names, label };
}

/** A file as {names of classes, labels, dim, values (rows, dim), and how it was read}. */
export async function parseTable(file) {
  const { text, encoding } = await textOf(file);
  const separator = separatorOf(text),
    all = [];
  for (const record of records(text, separator)) {
    all.push(record);
    if (all.length > MOST.rows + 1) break;
  }
  if (all.length < 2)
    throw new TableError(
      `The file has ${all.length} line(s) with something in it: a label and numbers are needed in each of several.`,
    );
  const commas = separator !== "," && all[1].cells.some(decimal);
  const { header, names, label } = layoutOf(all, commas);
  const rows = header ? all.slice(1) : all;
  if (rows.length > MOST.rows) {
    throw new TableError(
      `The file has more than ${thousands(MOST.rows)} rows, which is the most that are read: leave some out.`,
    );
  }
  const width = all[0].cells.length,
    dim = width - 1;
  if (dim > MOST.numbers)
    throw new TableError(
      `Each row has ${dim} numbers, and at most ${MOST.numbers} are read: reduce them first, by PCA for instance.`,
    );
  const values = new Float64Array(rows.length * dim),
    found = [];
  rows.forEach(({ cells, line }, row) => {
    if (cells.length !== width) {
      throw new TableError(
        `Line ${thousands(line)} has ${cells.length} cell(s), and line ${all[0].line} has ${width}: all must have as many.`,
      );
    }
    const name = cells[label].trim();
    if (!name) throw new TableError(`Line ${thousands(line)}: the label, column ${label + 1}, is empty.`);
    found.push(name);
    let k = 0;
    cells.forEach((cell, column) => {
      if (column === label) return;
      const value = numberOf(cell, commas);
      if (!(Math.abs(value) <= MOST.size)) {
        const where = `Line ${thousands(line)}, column ${column + 1}${header ? ` (${quoted(names[column])})` : ""}`;
        throw new TableError(
          value !== undefined
            ? `${where} is ${quoted(cell)}: numbers must not be larger than 1e30.`
            : cell.trim()
              ? `${where} is ${quoted(cell)}: it must be a finite number.`
              : `${where} is empty: it must be a number.`,
        );
      }
      values[row * dim + k++] = value;
    });
  });
  return {
    ...classesOf(found, rows),
    dim,
    values,
    encoding,
    separator: NAMED[separator],
    commas,
    header,
    label: label + 1,
    labelName: names[label],
  };
}

function classesOf(found, rows) {
  const count = new Map();
  for (const name of found) count.set(name, (count.get(name) ?? 0) + 1);
  const names = [...count.keys()];
  const numeric = names.every((name) => NUMBER.test(name));
  names.sort(numeric ? (a, b) => a - b : (a, b) => (a < b ? -1 : 1));
  if (names.length < 2)
    throw new TableError(
      `All ${thousands(found.length)} rows have the label ${quoted(names[0])}: at least two classes are needed.`,
    );
  if (names.length > MOST.classes) {
    throw new TableError(
      `There are ${thousands(names.length)} different labels (${names.slice(0, 3).map(quoted).join(", ")} …), ` +
        `and at most ${MOST.classes} classes are read. Is the label in another column? Name that one “label” in the first line.`,
    );
  }
  const single = names.find((name) => count.get(name) < 2);
  if (single !== undefined) {
    throw new TableError(
      `Class ${quoted(single)} has one row, line ${thousands(rows[found.indexOf(single)].line)}: each class needs two at least, ` +
        "one to learn from and one to test on.",
    );
  }
  const number = new Map(names.map((name, k) => [name, k]));
  return {
    names: names.map((name) => shortened(name)),
    labels: Int32Array.from(found, (name) => number.get(name)),
  };
}
