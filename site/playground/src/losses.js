// The losses with their gradients. All are means over the batch; the numbers are those of the paper.
import { exp, log } from "./numbers.js";

/**
 * D's part of L_adv, Eq. 3: mean (1 - D(f))² + mean D(f̃)². Scores lie `step` apart.
 * Fills their gradients. `real` real ones come first, then as many generated ones.
 */
export function discriminatorLoss(scores, step, rows, gradient) {
  let real = 0,
    made = 0,
    meanReal = 0,
    meanMade = 0;
  gradient.fill(0, 0, 2 * rows * step);
  for (let i = 0; i < rows; i++) {
    const r = scores[i * step],
      g = scores[(rows + i) * step];
    real += (1 - r) * (1 - r);
    made += g * g;
    meanReal += r;
    meanMade += g;
    gradient[i * step] = (-2 * (1 - r)) / rows;
    gradient[(rows + i) * step] = (2 * g) / rows;
  }
  return { loss: (real + made) / rows, scoreReal: meanReal / rows, scoreMade: meanMade / rows };
}

/** G's part of L_adv, Eq. 3: mean (1 - D(f̃))². Fills the scores' gradients, times `weight`. */
export function generatorLoss(scores, step, rows, weight, gradient) {
  let sum = 0;
  gradient.fill(0, 0, rows * step);
  for (let i = 0; i < rows; i++) {
    const short = 1 - scores[i * step];
    sum += short * short;
    gradient[i * step] = (-2 * weight * short) / rows;
  }
  return sum / rows;
}

/** Embeddings of length 1: z = y / ‖y‖, with their lengths for the way back. */
export function normalise(y, z, lengths, rows, width) {
  for (let i = 0; i < rows; i++) {
    const at = i * width;
    let square = 0;
    for (let j = 0; j < width; j++) square += y[at + j] * y[at + j];
    const length = Math.max(Math.sqrt(square), 1e-12);
    lengths[i] = length;
    for (let j = 0; j < width; j++) z[at + j] = y[at + j] / length;
  }
}

/** The gradient of y from that of z = y / ‖y‖. */
export function unnormalise(z, dz, lengths, dy, rows, width) {
  for (let i = 0; i < rows; i++) {
    const at = i * width;
    let along = 0;
    for (let j = 0; j < width; j++) along += z[at + j] * dz[at + j];
    for (let j = 0; j < width; j++) dy[at + j] = (dz[at + j] - z[at + j] * along) / lengths[i];
  }
}

/** L_asc, Eq. 4, and, with no real embeddings, L_sc, Eq. 1; anchors are the first `anchors`. */
export class Contrast {
  constructor(arena, most, width) {
    Object.assign(this, { arena, width });
    this.turned = arena.floats(2 * most * width);
    this.similarity = arena.floats(2 * most * most);
    this.own = arena.floats(most * most);
    this.around = arena.floats(most * width);
  }

  /**
   * @param z (all, width) embeddings: the anchors, then real ones, which are constants.
   * @param labels of all. @param weight of the loss in the gradient.
   * @param dz (anchors, width), filled.
   */
  loss(z, labels, anchors, all, temperature, weight, dz) {
    const { arena, width, turned, similarity: s, own } = this;
    for (let k = 0; k < all; k++) {
      for (let j = 0; j < width; j++) turned[j * all + k] = z[k * width + j];
    }
    arena.product(z, width, 1, turned, all, s, all, anchors, all, width);
    let total = 0;
    for (let i = 0; i < anchors; i++) {
      const at = i * all;
      let top = -Infinity,
        positives = 0;
      for (let k = 0; k < all; k++) {
        s[at + k] /= temperature;
        if (k === i) continue;
        if (s[at + k] > top) top = s[at + k];
        if (labels[k] === labels[i]) positives++;
      }
      let sum = 0,
        close = 0;
      for (let k = 0; k < all; k++) {
        if (k === i) continue;
        if (labels[k] === labels[i]) close += s[at + k];
        sum += s[at + k] = exp(s[at + k] - top);
      }
      if (positives) total += top + log(sum) - close / positives;
      const scale = positives ? weight / (anchors * temperature) : 0;
      for (let k = 0; k < all; k++) {
        const share = labels[k] === labels[i] ? 1 / positives : 0;
        s[at + k] = k === i ? 0 : scale * (s[at + k] / sum - share);
      }
    }
    arena.product(s, all, 1, z, width, dz, width, anchors, width, all);
    for (let i = 0; i < anchors; i++) {
      for (let k = 0; k < anchors; k++) own[k * anchors + i] = s[i * all + k];
    }
    arena.product(own, anchors, 1, z, width, dz, width, anchors, width, anchors, true);
    return total / anchors;
  }
}

/** Softmax over the first n of every row of logits that lie `step` apart. */
export function softmax(logits, step, rows, n, w) {
  for (let i = 0; i < rows; i++) {
    let top = -Infinity,
      sum = 0;
    for (let j = 0; j < n; j++) top = Math.max(top, logits[i * step + j]);
    for (let j = 0; j < n; j++) sum += w[i * n + j] = exp(logits[i * step + j] - top);
    for (let j = 0; j < n; j++) w[i * n + j] /= sum;
  }
}

/** Cross-entropy, mean over rows; fills the logits' gradient. */
export function crossEntropy(logits, step, rows, n, labels, gradient) {
  let total = 0;
  gradient.fill(0, 0, rows * step);
  for (let i = 0; i < rows; i++) {
    const at = i * step;
    let top = -Infinity,
      sum = 0;
    for (let j = 0; j < n; j++) top = Math.max(top, logits[at + j]);
    for (let j = 0; j < n; j++) sum += exp(logits[at + j] - top);
    const norm = top + log(sum);
    total += norm - logits[at + labels[i]];
    for (let j = 0; j < n; j++) {
      gradient[at + j] = (exp(logits[at + j] - norm) - (j === labels[i] ? 1 : 0)) / rows;
    }
  }
  return total / rows;
}

/** Entropy of w in nats and its largest weight, means over rows. */
export function spread(w, rows, n) {
  let entropy = 0,
    largest = 0;
  for (let i = 0; i < rows; i++) {
    let top = 0;
    for (let j = 0; j < n; j++) {
      const share = w[i * n + j];
      if (share > 0) entropy -= share * log(share);
      if (share > top) top = share;
    }
    largest += top;
  }
  return { entropy: entropy / rows, largest: largest / rows };
}
