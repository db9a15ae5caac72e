// One's own features as a source for phase 2: rows held out for the test, a classifier and a projector
// trained on the rest. It stands in for phase 1, whose backbone made the features elsewhere.
import { Arena } from "./kernel.js";
import { Network, padded } from "./layers.js";
import { Contrast, crossEntropy, normalise, unnormalise } from "./losses.js";
import { startsOf } from "./digits.js";
import { Random } from "./numbers.js";
import { laidOut } from "./phase2.js";

const BATCH = 128,
  STEPS = 400,
  RATE = 0.05,
  EMBEDDING = 64,
  LAMBDA_SC = 0.1,
  TEMPERATURE = 0.1;
const TESTED = 4,
  MOST_TESTED = 50; // every fourth row of a class, at most so many, is held out

/** Which rows train and which test; with `ratio`, training rows are left out to make a long tail. */
export function split(labels, classes, ratio) {
  const random = new Random("split"),
    of = Array.from({ length: classes }, () => []);
  labels.forEach((label, row) => of[label].push(row));
  const tests = [],
    train = [];
  for (const rows of of) {
    random.shuffle(rows);
    const held = Math.max(1, Math.min(MOST_TESTED, Math.floor(rows.length / TESTED)));
    tests.push(rows.slice(0, held));
    train.push(rows.slice(held));
  }
  if (ratio > 1) {
    const most = Math.max(...train.map((rows) => rows.length));
    const order = train.map((_, c) => c).sort((a, b) => train[b].length - train[a].length || a - b);
    order.forEach((c, place) => {
      const wanted = Math.floor(most * ratio ** (-place / (classes - 1)));
      train[c] = train[c].slice(0, Math.max(1, wanted));
    });
  }
  return { train, tests };
}

/** Every column with mean 0 and deviation 1 over the training rows; columns that do not vary are 0. */
function standardised(table, rows, all) {
  const { dim, values } = table,
    made = new Float32Array(all.length * dim);
  const mean = new Float64Array(dim),
    deviation = new Float64Array(dim);
  for (const row of rows) for (let k = 0; k < dim; k++) mean[k] += values[row * dim + k] / rows.length;
  for (const row of rows) {
    for (let k = 0; k < dim; k++) deviation[k] += (values[row * dim + k] - mean[k]) ** 2 / rows.length;
  }
  let flat = 0;
  for (let k = 0; k < dim; k++) {
    deviation[k] = Math.sqrt(deviation[k]);
    if (!(deviation[k] > 1e-9 * Math.abs(mean[k]) && deviation[k] > 1e-300)) {
      deviation[k] = Infinity;
      flat++;
    }
  }
  all.forEach((row, i) => {
    for (let k = 0; k < dim; k++) {
      const far = (values[row * dim + k] - mean[k]) / deviation[k];
      made[i * dim + k] = Math.max(-100, Math.min(100, far)); // a test row may lie far outside
    }
  });
  return { made, flat };
}

/** The source that `Phase2` starts from, with a summary in `summary`; `report` is told the share done. */
export function ownSource(table, { ratio = 1 } = {}, report = () => {}) {
  const classes = table.names.length,
    { train, tests } = split(table.labels, classes, ratio);
  const rows = train.flat(),
    held = tests.flat(),
    { made, flat } = standardised(table, rows, [...rows, ...held]);
  const counts = train.map((own) => own.length),
    cut = rows.length * table.dim;
  const source = {
    kind: "own",
    names: table.names,
    counts,
    starts: startsOf(counts),
    dim: table.dim,
    features: made.slice(0, cut),
    labels: Int32Array.from(rows, (row) => table.labels[row]),
    testFeatures: made.slice(cut),
    testLabels: Int32Array.from(held, (row) => table.labels[row]),
    images: null,
  };
  Object.assign(source, heads(source, report));
  const { encoding, separator, commas, header, label, labelName, dim } = table;
  source.summary = {
    rows: table.labels.length,
    train: rows.length,
    tests: held.length,
    dim,
    classes,
    counts,
    names: table.names,
    encoding,
    separator,
    commas,
    header,
    label,
    labelName,
    flat,
    ratio,
    loss: source.loss,
    steps: STEPS,
  };
  return source;
}

/** The classifier by cross-entropy, the projector by 0.1 L_sc, as in phase 1, on features as they are. */
function heads(source, report) {
  const { dim } = source,
    classes = source.counts.length,
    width = padded(dim),
    rows = source.labels.length;
  const arena = new Arena(16 + Math.ceil((4 * rows * width + 40 * dim * (dim + 600)) / 2 ** 20));
  const features = laidOut(arena, rows, dim, source.features);
  const classifier = new Network(arena, [dim, dim, classes], 0, BATCH);
  const projector = new Network(arena, [dim, dim, EMBEDDING], 0, BATCH);
  classifier.start(new Random("own", "classifier"));
  projector.start(new Random("own", "projector"));
  const contrast = new Contrast(arena, BATCH, EMBEDDING),
    random = new Random("own", "batches");
  const x = arena.floats(BATCH * width),
    labels = new Int32Array(BATCH),
    lengths = arena.floats(BATCH);
  const z = arena.floats(BATCH * EMBEDDING),
    dz = arena.floats(BATCH * EMBEDDING);
  let loss = 0;
  for (let step = 0; step < STEPS; step++) {
    if (step % 20 === 0) report(step / STEPS);
    for (let i = 0; i < BATCH; i++) {
      const row = random.below(rows);
      labels[i] = source.labels[row];
      x.set(features.subarray(row * width, (row + 1) * width), i * width);
    }
    const logits = classifier.forward(x, BATCH);
    loss = crossEntropy(logits, classifier.layers.at(-1).out, BATCH, classes, labels, classifier.gradient());
    classifier.backward(BATCH, null, true);
    normalise(projector.forward(x, BATCH), z, lengths, BATCH, EMBEDDING);
    contrast.loss(z, labels, BATCH, BATCH, TEMPERATURE, LAMBDA_SC, dz);
    unnormalise(z, dz, lengths, projector.gradient(), BATCH, EMBEDDING);
    projector.backward(BATCH, null, true);
    const rate = RATE * (step < STEPS * 0.8 ? 1 : 0.1);
    classifier.descend(rate);
    projector.descend(rate);
  }
  return { classifier: classifier.saved(), projector: projector.saved(), loss };
}
