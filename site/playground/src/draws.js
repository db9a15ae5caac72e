// What is drawn for each step: labels, real features, features to mix, noise. It follows from seed,
// step and purpose alone; the classifier's draws are the same under every oversampler.
import { Random } from "./numbers.js";

/** How often each class is generated for the classifier (label selection), summing to 1. */
export function chances(counts, selection) {
  const most = Math.max(...counts);
  const rule = {
    gamo: (n) => most - n,
    inverse: (n) => 1 / n,
    uniform: () => 1,
    as_found: (n) => n,
  }[selection];
  const weights = [...counts].map(rule),
    sum = weights.reduce((a, b) => a + b, 0);
  return weights.map((weight) => weight / sum);
}

/** Rows of n features of one class: without replacement where it has n, with it where it has fewer. */
export function drawRows(random, first, size, n, rows, at) {
  if (size < n) {
    for (let j = 0; j < n; j++) rows[at + j] = first + random.below(size);
    return;
  }
  for (let j = 0; j < n; j++) {
    // Floyd: at turn j draw from 0..last; what was drawn before is last
    const last = size - n + j,
      pick = first + random.below(last + 1);
    let taken = false;
    for (let k = 0; k < j; k++) taken ||= rows[at + k] === pick;
    rows[at + j] = taken ? first + last : pick;
  }
  random.shuffle(rows.subarray(at, at + n));
}

/** A batch's room: labels, rows of real features, rows to mix, noise, exponential draws. */
export function room(arena, size, mostMixed, noise) {
  return {
    labels: new Int32Array(2 * size),
    real: new Int32Array(size),
    rows: new Int32Array(size * mostMixed),
    noise: arena.floats(size * noise),
    waits: new Float64Array(size * mostMixed),
    size,
  };
}

/** Draws by a seed. */
export class Draws {
  constructor(seed, source) {
    this.seed = seed;
    this.source = source;
    this.classes = source.counts.length;
  }

  /** For a step of D ("d") or G ("g"): even labels, a real feature of each, n rows to mix, noise. */
  pair(part, step, n, into) {
    const random = new Random(this.seed, part, step),
      { starts } = this.source;
    for (let i = 0; i < into.size; i++) {
      const label = random.below(this.classes);
      into.labels[i] = label;
      into.real[i] = starts[label] + random.below(starts[label + 1] - starts[label]);
    }
    this.mixed(random, n, into);
    this.noise(part, step, into);
  }

  /** For the classifier: labels by label selection, as many rows from all, n rows to mix each. */
  classifier(step, n, share, into) {
    const random = new Random(this.seed, "classifier", step),
      total = this.source.labels.length;
    for (let i = 0; i < into.size; i++) {
      const u = random.uniform();
      let label = 0,
        reached = share[0];
      while (u >= reached && label < this.classes - 1) reached += share[++label];
      while (!share[label]) label--; // where rounding went past the last that can be chosen
      into.labels[i] = label;
      into.real[i] = random.below(total);
    }
    this.mixed(random, n, into);
  }

  mixed(random, n, into) {
    const { starts } = this.source;
    for (let i = 0; i < into.size; i++) {
      const label = into.labels[i];
      drawRows(random, starts[label], starts[label + 1] - starts[label], n, into.rows, i * n);
    }
  }

  /** Noise for G, apart, so that other oversamplers' steps have the same labels and rows. */
  noise(part, step, into) {
    const random = new Random(this.seed, part, "noise", step);
    for (let i = 0; i < into.noise.length; i++) into.noise[i] = random.normal();
  }

  /** Exponential draws: the largest is in a random slot; divided by their sum they are Dirichlet(1). */
  waits(step, n, into) {
    const random = new Random(this.seed, "waits", step);
    for (let i = 0; i < into.size * n; i++) into.waits[i] = random.exponential();
  }
}

/** The same draws as another implementation made, handed in: how the page is held against Python. */
export class RecordedDraws {
  /** @param steps of each step {d, g, classifier}, with labels, real, rows, noise or waits. */
  constructor(steps) {
    this.steps = steps;
  }

  pair(part, step, n, into) {
    const made = this.steps[step][part];
    for (const name of ["labels", "real", "rows", "noise"]) into[name].set(made[name]);
  }

  classifier(step, n, share, into) {
    const made = this.steps[step].classifier;
    for (const name of ["labels", "real", "rows"]) into[name].set(made[name]);
  }

  noise(part, step, into) {
    into.noise.set(this.steps[step].classifier.noise);
  }

  waits(step, n, into) {
    into.waits.set(this.steps[step].classifier.waits);
  }
}
