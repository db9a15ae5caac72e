// What the page shows of a loop between its steps: a map, some generated features, recall.
import { NOISE } from "./phase2.js";
import { padded } from "./layers.js";
import { normalise } from "./losses.js";
import { drawRows, room } from "./draws.js";
import { Random } from "./numbers.js";

const GENERATED = 60,
  EACH = 6; // on the map: at most so many, and of one class
const FITTED = 2000; // real features at most that the map is fitted on

/** The two directions of most variance, and the share of it that they keep. */
export function principal(arena, features, rows, width) {
  const step = Math.max(1, Math.floor(rows / FITTED)),
    count = Math.floor((rows - 1) / step) + 1;
  const mean = new Float64Array(width),
    centred = arena.floats(count * width);
  for (let i = 0; i < count; i++) {
    for (let k = 0; k < width; k++) mean[k] += features[i * step * width + k] / count;
  }
  for (let i = 0; i < count; i++) {
    for (let k = 0; k < width; k++) centred[i * width + k] = features[i * step * width + k] - mean[k];
  }
  const covariance = arena.floats(width * width);
  arena.product(centred, 1, width, centred, width, covariance, width, width, width, count);
  let total = 0,
    kept = 0;
  for (let k = 0; k < width; k++) total += covariance[k * width + k];
  const axes = [];
  const random = new Random("map");
  for (let axis = 0; axis < 2; axis++) {
    let v = Float64Array.from({ length: width }, () => random.normal()),
      value = 0;
    for (let turn = 0; turn < 200; turn++) {
      for (const other of axes) {
        let along = 0;
        for (let k = 0; k < width; k++) along += v[k] * other[k];
        for (let k = 0; k < width; k++) v[k] -= along * other[k];
      }
      const length = Math.sqrt(v.reduce((sum, x) => sum + x * x, 0)) || 1;
      const unit = v.map((x) => x / length);
      value = length;
      v = Float64Array.from({ length: width }, (_, i) => {
        let sum = 0;
        for (let k = 0; k < width; k++) sum += covariance[i * width + k] * unit[k];
        return sum;
      });
      if (turn === 199) axes.push(unit);
    }
    kept += value;
  }
  return { mean, axes, share: total ? kept / total : 1 };
}

/** A window on a loop. Its generated features have the same noise and parents every time. */
export class View {
  constructor(loop) {
    this.loop = loop;
    const { source, arena, features, width, classes, seed } = loop,
      rows = source.labels.length;
    this.map = principal(arena, features, rows, width);
    this.each = Math.max(1, Math.min(EACH, Math.floor(GENERATED / classes)));
    this.size = this.each * classes;
    this.batch = room(arena, this.size, 20, NOISE);
    for (let i = 0; i < this.size; i++) this.batch.labels[i] = Math.floor(i / this.each);
    const random = new Random(seed, "view");
    for (let i = 0; i < this.batch.noise.length; i++) this.batch.noise[i] = random.normal();
    this.n = 0;
    this.columns = padded(rows);
    this.turned = arena.floats(this.columns * width);
    this.squares = new Float64Array(rows);
    for (let i = 0; i < rows; i++) {
      for (let k = 0; k < width; k++) {
        const x = features[i * width + k];
        this.turned[k * this.columns + i] = x;
        this.squares[i] += x * x;
      }
    }
    this.products = arena.floats(this.size * this.columns);
    this.means = this.classMeans();
  }

  /** (C, embedding): the mean embedding of the real features of each class. */
  classMeans() {
    const { loop } = this,
      { source, classes, embedding: e, width } = loop,
      means = new Float64Array(classes * e);
    const rows = source.labels.length,
      most = 256,
      z = new Float32Array(most * e),
      lengths = new Float32Array(most);
    for (let first = 0; first < rows; first += most) {
      const size = Math.min(most, rows - first);
      const part = loop.features.subarray(first * width, (first + size) * width);
      normalise(loop.projector.forward(part, size), z, lengths, size, e);
      for (let i = 0; i < size; i++) {
        const label = source.labels[first + i];
        for (let k = 0; k < e; k++) means[label * e + k] += z[i * e + k] / source.counts[label];
      }
    }
    return means;
  }

  /** Draws the parents anew where n_s has changed. */
  draw(n) {
    if (n === this.n) return;
    this.n = n;
    const { batch, loop } = this,
      { starts } = loop.source,
      random = new Random(loop.seed, "parents", n);
    for (let i = 0; i < this.size; i++) {
      const label = batch.labels[i];
      drawRows(random, starts[label], starts[label + 1] - starts[label], n, batch.rows, i * n);
      for (let j = 0; j < n; j++) batch.waits[i * n + j] = random.exponential();
    }
  }

  /** Places (rows, width) features on the map: (rows, 2). */
  place(features, rows) {
    const { mean, axes } = this.map,
      { width } = this.loop,
      made = new Float32Array(2 * rows);
    for (let i = 0; i < rows; i++) {
      for (let axis = 0; axis < 2; axis++) {
        let sum = 0;
        for (let k = 0; k < width; k++) sum += (features[i * width + k] - mean[k]) * axes[axis][k];
        made[2 * i + axis] = sum;
      }
    }
    return made;
  }

  /** All that does not change while it trains. */
  fixed() {
    const { source, features, step } = this.loop,
      rows = source.labels.length;
    return {
      kind: source.kind,
      names: source.names,
      counts: [...source.counts],
      starts: [...source.starts],
      dim: source.dim,
      images: source.images ?? null,
      features: source.features,
      tests: source.testLabels.length,
      labels: source.labels,
      points: this.place(features, rows),
      share: this.map.share,
      before: step ? null : this.loop.recall(),
      wanted: this.batch.labels.slice(0, this.size),
      noise: this.batch.noise.slice(),
      each: this.each,
    };
  }

  /** The generated features at present: parents, w, place, scores, embeddings; and recall. */
  now(settings) {
    const { loop, batch, size } = this,
      n = settings.n_s,
      { width, embedding: e, classes } = loop;
    this.draw(n);
    loop.weigh(n, settings.oversampler, batch);
    loop.mix(n, size, loop.mixed, 0, batch.rows);
    const w = loop.w.slice(0, size * n),
      place = this.place(loop.mixed, size);
    const made = loop.mixed.slice(0, size * width);
    const scores = loop.discriminator.forward(loop.mixed, size, batch.labels);
    const apart = loop.discriminator.layers.at(-1).out;
    const score = Float32Array.from({ length: size }, (_, i) => scores[i * apart]);
    normalise(loop.projector.forward(loop.mixed, size), loop.z, loop.lengths, size, e);
    const own = new Float32Array(size),
      other = new Float32Array(size);
    for (let i = 0; i < size; i++) {
      other[i] = -1;
      for (let c = 0; c < classes; c++) {
        let dot = 0;
        for (let k = 0; k < e; k++) dot += loop.z[i * e + k] * this.means[c * e + k];
        if (c === batch.labels[i]) own[i] = dot;
        else if (dot > other[i]) other[i] = dot;
      }
    }
    const nearest = this.nearest();
    return {
      n,
      rows: batch.rows.slice(0, size * n),
      w,
      place,
      score,
      own,
      other,
      nearest,
      made,
      recall: loop.recall(),
    };
  }

  /** The classes of the real features nearest to the generated ones in `loop.mixed`. */
  nearest() {
    const { loop, size, columns, products, squares } = this,
      { labels } = loop.source;
    loop.arena.product(
      loop.mixed,
      loop.width,
      1,
      this.turned,
      columns,
      products,
      columns,
      size,
      columns,
      loop.width,
    );
    return Int32Array.from({ length: size }, (_, i) => {
      let best = 0,
        least = Infinity;
      for (let k = 0; k < squares.length; k++) {
        const far = squares[k] - 2 * products[i * columns + k];
        if (far < least) [least, best] = [far, k];
      }
      return labels[best];
    });
  }
}
