// Phase 2: every step trains D, then G, then the classifier, each with fresh draws.
import { Arena } from "./kernel.js";
import { Network, padded } from "./layers.js";
import {
  Contrast,
  crossEntropy,
  discriminatorLoss,
  generatorLoss,
  normalise,
  softmax,
  spread,
  unnormalise,
} from "./losses.js";
import { Draws, chances, room } from "./draws.js";
import { Random, log } from "./numbers.js";
import { MOST_MIXED, trains } from "./settings.js";

export const BATCH = 128;
export const NOISE = 100;
const AT_ONCE = 2 * BATCH; // rows of a forward pass

/** A loss that is no number: names step and term. */
export class TrainingError extends Error {}

/** Features in rows of padded width, in an arena. */
export function laidOut(arena, rows, dim, values) {
  const width = padded(dim),
    made = arena.floats(rows * width);
  for (let i = 0; i < rows; i++) made.set(values.subarray(i * dim, (i + 1) * dim), i * width);
  return made;
}

/**
 * The loop. A source has dim, features (rows, dim) grouped by class, labels, counts, starts, names,
 * testFeatures, testLabels, and the classifier and projector of phase 1 as `Network.saved` gives them
 * (the projector null where there is none: then the features themselves, normalised, are compared).
 */
export class Phase2 {
  /**
   * @param draws another source of draws than the seed. @param plain without WebAssembly.
   * @param used the arena of a loop that is done with, to be used again.
   */
  constructor(source, seed, { draws = null, plain = false, used = null } = {}) {
    Object.assign(this, { source, seed, classes: source.counts.length, step: 0 });
    const { dim } = source,
      width = padded(dim),
      { classes } = this;
    const rows = source.labels.length,
      tests = source.testLabels.length;
    const megabytes = 24 + Math.ceil((4 * (rows + tests) * width + 40 * dim * (dim + 600)) / 2 ** 20);
    const arena = (this.arena = Arena.again(used, megabytes, plain));
    this.width = width;
    this.features = laidOut(arena, rows, dim, source.features);
    this.tests = laidOut(arena, tests, dim, source.testFeatures);
    const embedding = source.projector.at(-1).bias.length;
    this.embedding = padded(embedding);
    this.generator = new Network(arena, [NOISE, 256, 64, MOST_MIXED], 0, AT_ONCE, classes);
    this.discriminator = new Network(arena, [dim, 256, 128, 1], 0.1, AT_ONCE, classes);
    this.classifier = new Network(arena, [dim, dim, classes], 0, AT_ONCE);
    this.projector = new Network(arena, [dim, dim, embedding], 0, AT_ONCE);
    this.generator.start(new Random(seed, "weights", "generator"));
    this.discriminator.start(new Random(seed, "weights", "discriminator"));
    this.classifier.load(source.classifier);
    this.projector.load(source.projector);
    this.draws = draws ?? new Draws(seed, source);
    this.contrast = new Contrast(arena, BATCH, this.embedding);
    this.batch = room(arena, BATCH, MOST_MIXED, NOISE);
    const floats = (columns) => arena.floats(AT_ONCE * columns);
    this.mixed = floats(width);
    this.w = floats(MOST_MIXED);
    this.z = floats(this.embedding);
    this.dz = floats(this.embedding);
    this.lengths = floats(1);
    this.push = { adv: floats(width), asc: floats(width) };
    this.pull = { adv: floats(MOST_MIXED), asc: floats(MOST_MIXED) };
  }

  /** One step: what was measured, by the names of the lab's history. */
  next(settings) {
    const row = settings.oversampler === "facog" ? this.adversarialStep(settings) : {};
    Object.assign(row, this.classifierStep(settings));
    this.step++;
    for (const [name, value] of Object.entries(row)) {
      if (!Number.isFinite(value)) {
        throw new TrainingError(`Step ${this.step}: ${name} is no longer a finite number.`);
      }
    }
    return row;
  }

  adversarialStep(settings) {
    return { ...this.discriminatorStep(settings), ...this.generatorStep(settings) };
  }

  /** One step of D on L_adv (Eq. 3). */
  discriminatorStep(settings) {
    const { batch, discriminator: d, width } = this,
      n = settings.n_s;
    this.draws.pair("d", this.step, n, batch);
    this.weigh(n);
    this.mix(n, BATCH, this.mixed, BATCH);
    this.gather(batch.real, this.mixed);
    batch.labels.copyWithin(BATCH, 0, BATCH);
    const scores = d.forward(this.mixed, 2 * BATCH, batch.labels),
      apart = d.layers.at(-1).out;
    const made = discriminatorLoss(scores, apart, BATCH, d.gradient());
    if (trains(settings, "d")) {
      d.backward(2 * BATCH, batch.labels, true);
      d.descend(settings.lr_discriminator);
    }
    return { loss_d: made.loss, score_real: made.scoreReal, score_generated: made.scoreMade };
  }

  /** One step of G on L_ph2 = λ_adv L_adv + λ_asc L_asc (Eq. 5), and where each term pushes w. */
  generatorStep(settings) {
    const { batch, discriminator: d, projector, generator: g, width, embedding, z, lengths } = this;
    const n = settings.n_s;
    this.draws.pair("g", this.step, n, batch);
    this.weigh(n);
    this.mix(n, BATCH, this.mixed, 0);
    const scores = d.forward(this.mixed, BATCH, batch.labels),
      apart = d.layers.at(-1).out;
    const adv = generatorLoss(scores, apart, BATCH, settings.lambda_adv, d.gradient());
    d.backward(BATCH, batch.labels, false, this.push.adv);
    this.gather(batch.real, this.mixed, BATCH);
    batch.labels.copyWithin(BATCH, 0, BATCH);
    normalise(projector.forward(this.mixed, 2 * BATCH), z, lengths, 2 * BATCH, embedding);
    const asc = this.contrast.loss(
      z,
      batch.labels,
      BATCH,
      2 * BATCH,
      settings.temperature,
      settings.lambda_asc,
      this.dz,
    );
    unnormalise(z, this.dz, lengths, projector.gradient(), BATCH, embedding);
    projector.backward(BATCH, null, false, this.push.asc);
    const pull = { adv: this.onLogits("adv", n), asc: this.onLogits("asc", n) };
    if (trains(settings, "g")) {
      const out = g.gradient(),
        step = g.layers.at(-1).out;
      out.fill(0, 0, BATCH * step);
      for (let i = 0; i < BATCH; i++) {
        for (let j = 0; j < n; j++) out[i * step + j] = this.pull.adv[i * n + j] + this.pull.asc[i * n + j];
      }
      g.backward(BATCH, batch.labels, true);
      g.descend(settings.lr_generator);
    }
    const total = settings.lambda_adv * adv + settings.lambda_asc * asc;
    return { loss_g: total, loss_adv: adv, loss_asc: asc, pull_adv: pull.adv, pull_asc: pull.asc };
  }

  /**
   * The gradient of a term on G's logits, from that on the mixes; and which way a small step against
   * it moves w: the change of the entropy, mean over the batch: above 0 to an even mix, below to a copy.
   */
  onLogits(term, n) {
    const { width, features, batch, w } = this,
      df = this.push[term],
      out = this.pull[term];
    const dw = new Float64Array(n);
    let change = 0;
    for (let i = 0; i < BATCH; i++) {
      let along = 0,
        entropy = 0;
      for (let j = 0; j < n; j++) {
        const at = batch.rows[i * n + j] * width,
          share = w[i * n + j];
        let dot = 0;
        for (let k = 0; k < width; k++) dot += df[i * width + k] * features[at + k];
        dw[j] = dot;
        along += share * dot;
        if (share > 0) entropy -= share * log(share);
      }
      for (let j = 0; j < n; j++) {
        const share = w[i * n + j],
          slope = share * (dw[j] - along);
        out[i * n + j] = slope;
        if (share > 0) change += slope * share * (log(share) + entropy);
      }
    }
    return change;
  }

  /** One step of the classifier: cross-entropy on generated features and, "mixed", as many real ones. */
  classifierStep(settings) {
    const { batch, classifier } = this,
      n = settings.n_s,
      { oversampler } = settings;
    this.draws.classifier(this.step, n, this.chances(settings.label_selection), batch);
    if (oversampler === "facog") this.draws.noise("classifier", this.step, batch);
    else this.draws.waits(this.step, n, batch);
    this.weigh(n, oversampler);
    this.mix(n, BATCH, this.mixed, 0);
    let rows = BATCH;
    if (settings.classifier_batches === "mixed") {
      this.gather(batch.real, this.mixed, BATCH);
      for (let i = 0; i < BATCH; i++) batch.labels[BATCH + i] = this.source.labels[batch.real[i]];
      rows *= 2;
    }
    const logits = classifier.forward(this.mixed, rows),
      apart = classifier.layers.at(-1).out;
    const loss = crossEntropy(logits, apart, rows, this.classes, batch.labels, classifier.gradient());
    if (trains(settings, "classifier")) {
      classifier.backward(rows, null, true);
      classifier.descend(settings.lr_classifier);
    }
    const { entropy, largest } = spread(this.w, BATCH, n);
    return { loss_cls: loss, entropy, max_weight: largest };
  }

  chances(selection) {
    this.shares ??= new Map();
    if (!this.shares.has(selection)) this.shares.set(selection, chances(this.source.counts, selection));
    return this.shares.get(selection);
  }

  /** Convex weights for the batch, into w (rows, n). */
  weigh(n, oversampler = "facog", batch = this.batch) {
    const { w } = this,
      { waits, size } = batch;
    if (oversampler === "facog") {
      const logits = this.generator.forward(batch.noise, size, batch.labels);
      softmax(logits, this.generator.layers.at(-1).out, size, n, w);
      return;
    }
    for (let i = 0; i < size; i++) {
      let sum = 0,
        top = 0;
      for (let j = 0; j < n; j++) {
        sum += waits[i * n + j];
        if (waits[i * n + j] > waits[i * n + top]) top = j;
      }
      for (let j = 0; j < n; j++) {
        const wait = waits[i * n + j] / sum;
        w[i * n + j] =
          { uniform_weights: 1 / n, random_oversampling: j === top ? 1 : 0 }[oversampler] ?? wait;
      }
    }
  }

  /** f̃ = Σ w_i f_i (§3.3), into rows of `into` from row `from` on. */
  mix(n, size, into, from, rows = this.batch.rows) {
    const { width, features, w } = this;
    for (let i = 0; i < size; i++) {
      const at = (from + i) * width;
      into.fill(0, at, at + width);
      for (let j = 0; j < n; j++) {
        const share = w[i * n + j],
          row = rows[i * n + j] * width;
        for (let k = 0; k < width; k++) into[at + k] += share * features[row + k];
      }
    }
  }

  gather(rows, into, from = 0) {
    const { width, features } = this;
    for (let i = 0; i < rows.length; i++) {
      into.set(features.subarray(rows[i] * width, (rows[i] + 1) * width), (from + i) * width);
    }
  }

  /** Recall of each class on the test features. */
  recall() {
    const { width, tests, classifier, classes } = this,
      labels = this.source.testLabels;
    const right = new Float64Array(classes),
      all = new Float64Array(classes);
    const apart = classifier.layers.at(-1).out;
    for (let first = 0; first < labels.length; first += AT_ONCE) {
      const size = Math.min(AT_ONCE, labels.length - first);
      const logits = classifier.forward(tests.subarray(first * width, (first + size) * width), size);
      for (let i = 0; i < size; i++) {
        let best = 0;
        for (let c = 1; c < classes; c++) if (logits[i * apart + c] > logits[i * apart + best]) best = c;
        all[labels[first + i]]++;
        if (best === labels[first + i]) right[best]++;
      }
    }
    return Array.from(right, (count, c) => count / all[c]);
  }

  /** All trained weights, as PyTorch lays them. */
  saved() {
    const { generator, discriminator, classifier } = this;
    return {
      generator: generator.saved(),
      discriminator: discriminator.saved(),
      classifier: classifier.saved(),
    };
  }
}
