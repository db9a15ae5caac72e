// Fully connected layers with their gradients, and SGD. Rows are padded with zeros to multiples of 4.

export const padded = (n) => (n + 3) & ~3;
const MOMENTUM = 0.9,
  WEIGHT_DECAY = 1e-4;

/** A tensor of parameters with its gradient and its momentum. */
class Parameter {
  constructor(arena, length) {
    this.value = arena.floats(length);
    this.gradient = arena.floats(length);
    this.momentum = arena.floats(length);
  }

  /** One step of SGD with momentum 0.9 and weight decay 1e-4, as PyTorch takes it. */
  descend(rate) {
    const { value, gradient, momentum } = this;
    for (let i = 0; i < value.length; i++) {
      momentum[i] = MOMENTUM * momentum[i] + (gradient[i] + WEIGHT_DECAY * value[i]);
      value[i] -= rate * momentum[i];
    }
  }
}

/**
 * y = x W + b, and with `classes` also + T[label]: what a one-hot class beside x would add.
 * W lies as (inputs, outputs), so PyTorch's weight is its transpose, with T in its last columns.
 */
export class Linear {
  constructor(arena, inputs, outputs, classes = 0) {
    Object.assign(this, { arena, inputs, outputs, classes });
    this.width = padded(inputs);
    this.out = padded(outputs);
    this.weight = new Parameter(arena, this.width * this.out);
    this.bias = new Parameter(arena, this.out);
    this.table = classes ? new Parameter(arena, classes * this.out) : null;
    this.turned = arena.floats(this.width * this.out);
    this.parameters = [this.weight, this.bias, this.table].filter(Boolean);
  }

  /** PyTorch's default start: all uniform between ±1/√(number of inputs). */
  start(random) {
    const bound = 1 / Math.sqrt(this.inputs + this.classes);
    const any = () => (2 * random.uniform() - 1) * bound;
    this.load(
      Array.from({ length: this.outputs * (this.inputs + this.classes) }, any),
      Array.from({ length: this.outputs }, any),
    );
  }

  /** Takes PyTorch's weight (outputs, inputs + classes), row by row, and bias. */
  load(weight, bias) {
    const all = this.inputs + this.classes;
    for (const parameter of this.parameters) parameter.momentum.fill(0);
    for (let o = 0; o < this.outputs; o++) {
      this.bias.value[o] = bias[o];
      for (let i = 0; i < this.inputs; i++) this.weight.value[i * this.out + o] = weight[o * all + i];
      for (let c = 0; c < this.classes; c++) {
        this.table.value[c * this.out + o] = weight[o * all + this.inputs + c];
      }
    }
  }

  /** PyTorch's weight and bias, as `load` takes them. */
  saved() {
    const weight = [],
      bias = [...this.bias.value.subarray(0, this.outputs)];
    for (let o = 0; o < this.outputs; o++) {
      for (let i = 0; i < this.inputs; i++) weight.push(this.weight.value[i * this.out + o]);
      for (let c = 0; c < this.classes; c++) weight.push(this.table.value[c * this.out + o]);
    }
    return { weight, bias };
  }

  /** Fills y (rows, out) from x (rows, width). */
  forward(x, y, rows, labels) {
    const { out } = this,
      bias = this.bias.value,
      table = this.table?.value;
    for (let i = 0; i < rows; i++) {
      const at = i * out,
        from = table ? labels[i] * out : 0;
      if (table) for (let o = 0; o < out; o++) y[at + o] = bias[o] + table[from + o];
      else y.set(bias, at);
    }
    this.arena.product(x, this.width, 1, this.weight.value, out, y, out, rows, out, this.width, true);
  }

  /** The parameters' gradients from dy. */
  learn(x, dy, rows, labels) {
    const { out, arena, width } = this,
      bias = this.bias.gradient,
      table = this.table?.gradient;
    arena.product(x, 1, width, dy, out, this.weight.gradient, out, width, out, rows);
    bias.fill(0);
    table?.fill(0);
    for (let i = 0; i < rows; i++) {
      const at = i * out,
        into = table ? labels[i] * out : 0;
      for (let o = 0; o < out; o++) bias[o] += dy[at + o];
      if (table) for (let o = 0; o < out; o++) table[into + o] += dy[at + o];
    }
  }

  /** Fills dx (rows, width) from dy. */
  backward(dy, dx, rows) {
    const { out, width, turned } = this,
      weight = this.weight.value;
    for (let i = 0; i < width; i++) {
      for (let o = 0; o < out; o++) turned[o * width + i] = weight[i * out + o];
    }
    this.arena.product(dy, out, 1, turned, width, dx, width, rows, width, out);
  }
}

/** Linear layers with a leaky ReLU between them; slope 0 is a ReLU. */
export class Network {
  /**
   * @param widths of input, hidden layers and output.
   * @param classes of the one-hot class beside the input; 0 for none.
   * @param most rows in a forward pass.
   */
  constructor(arena, widths, slope, most, classes = 0) {
    this.slope = slope;
    this.layers = widths.slice(1).map((outputs, k) => new Linear(arena, widths[k], outputs, k ? 0 : classes));
    this.outputs = this.layers.map((layer) => arena.floats(most * layer.out));
    this.gradients = this.layers.map((layer) => arena.floats(most * layer.out));
    this.parameters = this.layers.flatMap((layer) => layer.parameters);
  }

  start(random) {
    for (const layer of this.layers) layer.start(random);
  }

  load(saved) {
    this.layers.forEach((layer, k) => layer.load(saved[k].weight, saved[k].bias));
  }

  saved() {
    return this.layers.map((layer) => layer.saved());
  }

  /** The output, (rows, padded outputs), valid until the next forward pass. */
  forward(x, rows, labels) {
    const { slope } = this,
      last = this.layers.length - 1;
    this.input = x;
    this.layers.forEach((layer, k) => {
      const y = this.outputs[k],
        size = rows * layer.out;
      layer.forward(k ? this.outputs[k - 1] : x, y, rows, labels);
      if (k < last) for (let i = 0; i < size; i++) if (y[i] < 0) y[i] *= slope;
    });
    return this.outputs[last];
  }

  /**
   * Goes back from the output's gradient, which lies in `gradient()`.
   * @param learn whether the parameters' gradients are wanted.
   * @param dx filled with the input's gradient; null where it is not wanted.
   */
  backward(rows, labels, learn, dx = null) {
    for (let k = this.layers.length - 1; k >= 0; k--) {
      const layer = this.layers[k],
        dy = this.gradients[k];
      if (learn) layer.learn(k ? this.outputs[k - 1] : this.input, dy, rows, labels);
      if (!k) {
        if (dx) layer.backward(dy, dx, rows);
        return;
      }
      const below = this.gradients[k - 1],
        y = this.outputs[k - 1],
        { slope } = this;
      layer.backward(dy, below, rows);
      for (let i = 0; i < rows * layer.width; i++) if (!(y[i] > 0)) below[i] *= slope;
    }
  }

  /** Where the gradient of the output goes, (rows, padded outputs). */
  gradient() {
    return this.gradients[this.layers.length - 1];
  }

  descend(rate) {
    for (const parameter of this.parameters) parameter.descend(rate);
  }
}
