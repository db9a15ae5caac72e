// The digits that come with the page: features of a small ResNet after phase 1, as float16.

/** Bytes of a base64 text. */
function bytes(text) {
  return Uint8Array.from(atob(text), (letter) => letter.charCodeAt(0));
}

/** Float32 numbers of little-endian float16 ones. */
function halves(text) {
  const raw = bytes(text),
    view = new DataView(raw.buffer),
    made = new Float32Array(raw.length / 2);
  for (let i = 0; i < made.length; i++) {
    const bits = view.getUint16(2 * i, true);
    const exponent = (bits >> 10) & 31,
      fraction = bits & 1023;
    const size = exponent ? (1 + fraction / 1024) * 2 ** (exponent - 15) : fraction * 2 ** -24;
    made[i] = bits >> 15 ? -size : size;
  }
  return made;
}

/** Where each class begins, and where the last ends. */
export function startsOf(counts) {
  const starts = [0];
  for (const count of counts) starts.push(starts.at(-1) + count);
  return starts;
}

/** The source that `Phase2` starts from, from what export.py wrote. */
export function digitsSource(file) {
  const layers = (saved) => saved.map((one) => ({ weight: halves(one.weight), bias: halves(one.bias) }));
  return {
    kind: "digits",
    names: file.names,
    counts: file.counts,
    starts: startsOf(file.counts),
    dim: file.dim,
    features: halves(file.features),
    labels: Int32Array.from(file.counts.flatMap((count, label) => new Array(count).fill(label))),
    testFeatures: halves(file.test_features),
    testLabels: Int32Array.from(file.test_labels),
    images: bytes(file.images),
    classifier: layers(file.classifier),
    projector: layers(file.projector),
  };
}
