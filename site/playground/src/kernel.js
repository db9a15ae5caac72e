// The matrix product, in WebAssembly's 128-bit SIMD: nearly all the time of a step goes into it.
// The module is written here, opcode by opcode, so that nothing has to be compiled beforehand.
// Every element is summed in float32 in the order of k, so the plain version gives the same bits.

const I32 = 0x7f,
  V128 = 0x7b;
const PARAMS = ["a", "aRow", "aK", "b", "bRow", "c", "cRow", "m", "n", "k", "add"];
const INTS = ["left", "at", "to", "bAt", "turns", "width", "row0", "row1", "row2", "row3"];
const VECTORS = ["b0", "b1", "s00", "s01", "s10", "s11", "s20", "s21", "s30", "s31", "x"];
const LOCALS = [...PARAMS, ...INTS, ...VECTORS];

function leb(value) {
  const bytes = [];
  for (;;) {
    const low = value & 0x7f;
    value >>= 7;
    if ((value === 0 && !(low & 0x40)) || (value === -1 && low & 0x40)) return [...bytes, low];
    bytes.push(low | 0x80);
  }
}

function unsigned(value) {
  const bytes = [];
  while (value > 0x7f) {
    bytes.push((value & 0x7f) | 0x80);
    value >>>= 7;
  }
  return [...bytes, value];
}

const get = (name) => [0x20, ...unsigned(LOCALS.indexOf(name))];
const set = (name) => [0x21, ...unsigned(LOCALS.indexOf(name))];
const number = (value) => [0x41, ...leb(value)];
const plus = (name, ...by) => [...get(name), ...by.flat(), 0x6a, ...set(name)];
const times = (name, factor) => [...get(name), ...number(factor), 0x6c];
const load = (offset) => [0xfd, 0x00, 0x04, ...unsigned(offset)];
const store = (offset) => [0xfd, 0x0b, 0x04, ...unsigned(offset)];
const LOAD_SPLAT = [0xfd, 0x09, 0x02, 0x00];
const MULTIPLY = [0xfd, 0xe6, 0x01],
  ADD = [0xfd, 0xe4, 0x01];
const ZERO = [0xfd, 0x0c, ...new Array(16).fill(0)];
// Repeats the body while `name` is at least `least`; the body lowers it.
const whileAtLeast = (name, least, body) => [
  0x02,
  0x40,
  0x03,
  0x40,
  ...get(name),
  ...number(least),
  0x48,
  0x0d,
  0x01,
  ...body,
  0x0c,
  0x00,
  0x0b,
  0x0b,
];

// A tile of C, `rows` high and 4·`wide` wide, held in registers over all of k.
function tile(rows, wide) {
  const r = [...Array(rows).keys()],
    v = [...Array(wide).keys()];
  const eachRow = (body) => r.flatMap((row) => [...body(row), ...plus("to", get("cRow"))]);
  const start = [...get("left"), ...set("row0")];
  for (const row of r.slice(1)) {
    start.push(...get(`row${row - 1}`), ...get("aRow"), 0x6a, ...set(`row${row}`));
  }
  const loaded = eachRow((row) => v.flatMap((k) => [...get("to"), ...load(16 * k), ...set(`s${row}${k}`)]));
  const zeros = r.flatMap((row) => v.flatMap((k) => [...ZERO, ...set(`s${row}${k}`)]));
  const sums = r.flatMap((row) => [
    ...get(`row${row}`),
    ...LOAD_SPLAT,
    ...set("x"),
    ...v.flatMap((k) => [
      ...get(`s${row}${k}`),
      ...get("x"),
      ...get(`b${k}`),
      ...MULTIPLY,
      ...ADD,
      ...set(`s${row}${k}`),
    ]),
    ...plus(`row${row}`, get("aK")),
  ]);
  const turn = [
    ...v.flatMap((k) => [...get("bAt"), ...load(16 * k), ...set(`b${k}`)]),
    ...sums,
    ...plus("bAt", get("bRow")),
    ...plus("turns", number(-1)),
  ];
  return [
    ...start,
    ...get("at"),
    ...set("bAt"),
    ...get("k"),
    ...set("turns"),
    ...get("c"),
    ...set("to"),
    ...get("add"),
    0x04,
    0x40,
    ...loaded,
    0x05,
    ...zeros,
    0x0b,
    ...whileAtLeast("turns", 1, turn),
    ...get("c"),
    ...set("to"),
    ...eachRow((row) => v.flatMap((k) => [...get("to"), ...get(`s${row}${k}`), ...store(16 * k)])),
  ];
}

// All columns of `rows` rows of C, then those rows of the next; `c` walks, so it is set back by 4·n.
function band(rows) {
  const columns = [2, 1].flatMap((wide) =>
    whileAtLeast("n", 4 * wide, [
      ...tile(rows, wide),
      ...plus("at", number(16 * wide)),
      ...plus("c", number(16 * wide)),
      ...plus("n", number(-4 * wide)),
      ...plus("width", number(16 * wide)),
    ]),
  );
  return whileAtLeast("m", rows, [
    ...get("a"),
    ...set("left"),
    ...get("b"),
    ...set("at"),
    ...number(0),
    ...set("width"),
    ...columns,
    ...get("c"),
    ...get("width"),
    0x6b,
    ...times("cRow", rows),
    0x6a,
    ...set("c"),
    ...get("width"),
    ...number(2),
    0x76,
    ...set("n"),
    ...get("a"),
    ...times("aRow", rows),
    0x6a,
    ...set("a"),
    ...plus("m", number(-rows)),
  ]);
}

function moduleBytes() {
  const section = (id, ...content) => [id, ...unsigned(content.flat().length), ...content.flat()];
  const text = (name) => [name.length, ...[...name].map((letter) => letter.charCodeAt(0))];
  const body = [
    2,
    ...unsigned(INTS.length),
    I32,
    ...unsigned(VECTORS.length),
    V128,
    ...band(4),
    ...band(1),
    0x0b,
  ];
  return new Uint8Array([
    0,
    0x61,
    0x73,
    0x6d,
    1,
    0,
    0,
    0,
    ...section(1, 1, 0x60, PARAMS.length, ...PARAMS.map(() => I32), 0),
    ...section(2, 1, text("page"), text("memory"), 2, 0, 1),
    ...section(3, 1, 0),
    ...section(7, 1, text("product"), 0, 0),
    ...section(10, 1, unsigned(body.length), body),
  ]);
}

/** Float32 arrays and their product: C = A·B, or C += A·B. n and the rows of B, C: multiples of 4. */
export class Arena {
  /** @param {number} megabytes room for all arrays. @param {boolean} plain without WebAssembly. */
  constructor(megabytes, plain = false) {
    this.used = 0;
    this.room = megabytes * 2 ** 20;
    this.wasm = null;
    if (!plain) {
      try {
        const memory = new WebAssembly.Memory({ initial: megabytes * 16 });
        const made = new WebAssembly.Instance(new WebAssembly.Module(moduleBytes()), { page: { memory } });
        this.memory = memory;
        this.wasm = made.exports.product;
      } catch {
        this.wasm = null; // a browser without SIMD: slower, and the same numbers
      }
    }
  }

  /** The used arena, emptied, where it is large enough: browsers free such memory late. */
  static again(used, megabytes, plain) {
    if (!used?.wasm || plain || used.room < megabytes * 2 ** 20) return new Arena(megabytes, plain);
    new Uint8Array(used.memory.buffer, 0, used.used).fill(0);
    used.used = 0;
    return used;
  }

  /** A Float32Array of zeros. */
  floats(length) {
    if (!this.wasm) return new Float32Array(length);
    const start = this.used;
    this.used += (4 * length + 15) & ~15;
    if (this.used > this.room) throw new RangeError(`an arena of ${this.room} bytes is too small`);
    return new Float32Array(this.memory.buffer, start, length);
  }

  /** C (m×n) = A (m×k) · B (k×n); a's element (i, l) lies at i·aRow + l·aK, other rows end to end. */
  product(a, aRow, aK, b, bRow, c, cRow, m, n, k, add = false) {
    if (this.wasm) {
      this.wasm(
        a.byteOffset,
        4 * aRow,
        4 * aK,
        b.byteOffset,
        4 * bRow,
        c.byteOffset,
        4 * cRow,
        m,
        n,
        k,
        add ? 1 : 0,
      );
      return;
    }
    const round = Math.fround;
    for (let i = 0; i < m; i++) {
      const at = i * cRow;
      if (!add) c.fill(0, at, at + n);
      for (let l = 0; l < k; l++) {
        const x = a[i * aRow + l * aK],
          from = l * bRow;
        for (let j = 0; j < n; j++) c[at + j] = round(c[at + j] + round(x * b[from + j]));
      }
    }
  }
}
