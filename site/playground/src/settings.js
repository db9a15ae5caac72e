// What may change while phase 2 runs; names, bounds and defaults are those of facog_lab's Controls.

export const NUMBERS = {
  n_s: { label: "Features mixed into one, n_s", low: 1, high: 20, start: 5, whole: true },
  lambda_adv: { label: "Weight of “look real”, λ_adv", low: 0, high: 1000, start: 1, slider: [0, 2, 0.05] },
  lambda_asc: {
    label: "Weight of “stay in class”, λ_asc",
    low: 0,
    high: 1000,
    start: 0.1,
    slider: [0, 1, 0.05],
  },
  temperature: {
    label: "Temperature of “stay in class”, τ",
    low: 1e-3,
    high: 100,
    start: 0.1,
    slider: [-2, 1, 0.1],
  },
  lr_generator: { label: "Learning rate of G", low: 1e-9, high: 100, start: 0.005, slider: [-5, 0, 0.1] },
  lr_discriminator: { label: "Learning rate of D", low: 1e-9, high: 100, start: 0.005, slider: [-5, 0, 0.1] },
  lr_classifier: {
    label: "Learning rate of the classifier",
    low: 1e-9,
    high: 100,
    start: 0.005,
    slider: [-5, 0, 0.1],
  },
};
export const CHOICES = {
  oversampler: {
    label: "Where the shares w come from",
    options: {
      facog: "FACoG: G learns them",
      random_oversampling: "Random: one real feature, copied",
      uniform_weights: "Uniform: all n_s alike",
      dirichlet_weights: "Dirichlet(1): by lot",
    },
  },
  label_selection: {
    label: "Classes generated for the classifier",
    options: {
      gamo: "rare ones most: N_max − N_c",
      inverse: "rare ones most: 1/N_c",
      uniform: "all classes alike",
      as_found: "as many as there are: N_c",
    },
  },
  classifier_batches: {
    label: "The classifier learns from",
    options: { mixed: "generated and real features", literal: "generated features alone" },
  },
  trains: {
    label: "A step trains",
    options: {
      all: "D, G and classifier",
      d_and_g: "D and G",
      d: "only D",
      g: "only G",
      classifier: "only the classifier",
    },
  },
};
export const MOST_MIXED = 20;
export const MOST_SEED = 2 ** 31 - 1;

/** Settings at their defaults. */
export function defaults() {
  const made = {};
  for (const [name, { start }] of Object.entries(NUMBERS)) made[name] = start;
  for (const [name, { options }] of Object.entries(CHOICES)) made[name] = Object.keys(options)[0];
  return made;
}

/** A value for a setting from what was typed or stands in a link; an Error says what is allowed. */
export function checked(name, text) {
  if (Object.hasOwn(CHOICES, name)) {
    const { label, options } = CHOICES[name];
    if (Object.hasOwn(options, text)) return text;
    throw new Error(`${label} = “${shortened(text)}”: it must be one of ${Object.keys(options).join(", ")}.`);
  }
  if (!Object.hasOwn(NUMBERS, name)) throw new Error(`There is no setting named “${shortened(name)}”.`);
  const { label, low, high, whole } = NUMBERS[name],
    value = Number(text);
  if (
    String(text).trim() === "" ||
    !(value >= low && value <= high) ||
    (whole && value !== Math.round(value))
  ) {
    const kind = whole ? "a whole number" : "a number";
    throw new Error(`${label} = “${shortened(text)}”: it must be ${kind} from ${low} to ${high}.`);
  }
  return value;
}

/** A stranger's text, cut to what fits a sentence. */
export function shortened(text, most = 40) {
  const letters = [...String(text)];
  return letters.length > most ? `${letters.slice(0, most - 1).join("")}…` : letters.join("");
}

/** Whether a step changes "d", "g" or "classifier". */
export function trains(settings, part) {
  const parts = { all: ["d", "g", "classifier"], d_and_g: ["d", "g"] };
  return (parts[settings.trains] ?? [settings.trains]).includes(part);
}
