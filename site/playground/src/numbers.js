// Numbers that are the same on every machine: a generator, and exp and log from + - * / alone.
// The standard leaves Math.exp and Math.log to the browser; a link must give the same run anywhere.

const LN2_HIGH = 0.69314718036912381649,
  LN2_LOW = 1.90821492927058770002e-10;
const INVERSE = Float64Array.from({ length: 14 }, (_, n) => 1 / n);
const POWERS = new Float64Array(2100); // 2^(k - 1050)
for (let k = 0, low = 1, high = 1; k <= 1049; k++, low /= 2, high *= 2) {
  POWERS[1050 - k] = low;
  POWERS[1050 + k] = k < 1024 ? high : Infinity;
}

/** e^x to about 1e-15. */
export function exp(x) {
  if (x !== x) return x;
  if (x > 709.7) return Infinity;
  if (x < -720) return 0;
  const k = Math.round(x * 1.4426950408889634);
  const r = x - k * LN2_HIGH - k * LN2_LOW;
  let sum = 1;
  for (let n = 13; n > 0; n--) sum = 1 + sum * r * INVERSE[n];
  return sum * POWERS[1050 + k];
}

const split = new Float64Array(1),
  words = new Uint32Array(split.buffer);
const TOP = new Uint8Array(new Uint32Array([1]).buffer)[0] ? 1 : 0; // the word with the exponent

/** The natural logarithm of a positive number to about 1e-15; -Infinity of 0. */
export function log(x) {
  if (!(x > 0)) return x === 0 ? -Infinity : NaN;
  if (x === Infinity) return x;
  let k = 0;
  if (x < 2.3e-308) {
    x *= 18014398509481984;
    k = -54;
  }
  split[0] = x;
  k += (words[TOP] >>> 20) - 1023;
  words[TOP] = (words[TOP] & 0xfffff) | 0x3ff00000;
  let m = split[0];
  if (m > 1.4142135623730951) {
    m /= 2;
    k += 1;
  }
  const s = (m - 1) / (m + 1),
    square = s * s;
  let sum = 0;
  for (let n = 21; n >= 1; n -= 2) sum = sum * square + 1 / n;
  return k * LN2_HIGH + (k * LN2_LOW + 2 * s * sum);
}

function scramble(x) {
  // the finaliser of MurmurHash3
  x = Math.imul(x ^ (x >>> 16), 0x85ebca6b);
  x = Math.imul(x ^ (x >>> 13), 0xc2b2ae35);
  return (x ^ (x >>> 16)) >>> 0;
}

/**
 * Random numbers by sfc32 (Chris Doty-Humphrey, PractRand), seeded by what they are for.
 * Other keys give independent numbers, so no state need be kept from step to step.
 */
export class Random {
  /** @param {...(number|string)} keys e.g. the seed, "noise", the step. */
  constructor(...keys) {
    this.a = 0x9e3779b9;
    this.b = 0x243f6a88;
    this.c = 0xb7e15162;
    this.d = 1;
    for (const letter of keys.join("\x1f")) {
      this.a = scramble(this.a ^ letter.codePointAt(0));
      this.b = scramble(this.b + this.a);
      this.c = scramble(this.c ^ this.b);
    }
    for (let k = 0; k < 12; k++) this.bits();
    this.spare = NaN;
  }

  /** 32 random bits. */
  bits() {
    const sum = (this.a + this.b + this.d) | 0;
    this.d = (this.d + 1) | 0;
    this.a = this.b ^ (this.b >>> 9);
    this.b = (this.c + (this.c << 3)) | 0;
    this.c = (((this.c << 21) | (this.c >>> 11)) + sum) | 0;
    return sum >>> 0;
  }

  /** In [0, 1). */
  uniform() {
    return this.bits() / 4294967296;
  }

  /** A whole number from 0 to n - 1. */
  below(n) {
    return Math.floor(this.uniform() * n);
  }

  /** Standard normal, by Marsaglia's polar method. */
  normal() {
    if (this.spare === this.spare) {
      const kept = this.spare;
      this.spare = NaN;
      return kept;
    }
    let u, v, square;
    do {
      u = 2 * this.uniform() - 1;
      v = 2 * this.uniform() - 1;
      square = u * u + v * v;
    } while (square >= 1 || square === 0);
    const scale = Math.sqrt((-2 * log(square)) / square);
    this.spare = v * scale;
    return u * scale;
  }

  /** Exponential with mean 1. */
  exponential() {
    return -log(1 - this.uniform());
  }

  /** Swaps the entries of an array into random order, in place. */
  shuffle(array) {
    for (let last = array.length - 1; last > 0; last--) {
      const other = this.below(last + 1);
      [array[last], array[other]] = [array[other], array[last]];
    }
    return array;
  }
}
