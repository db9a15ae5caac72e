// Sentences about what was measured: the headline, the alarms, the texts behind the pictures.
import { fixed } from "./dom.js";

const RECENT = 25; // last steps that an alarm looks at, as in the lab's alarms
export const COPIED = 0.1; // of log n_s: w with a lower entropy is a copy
export const EVEN = 0.95; // and with a higher one an even mix

/** The mean of a column over rows; NaN where none has it. */
export function mean(rows, name) {
  const values = rows.map((row) => row[name]).filter((value) => value !== undefined);
  return values.reduce((sum, value) => sum + value, 0) / values.length;
}

const percent = (share) => `${Math.round(100 * share)}%`;

/** How even w is: entropy over log n_s, of the last steps; null where nothing is mixed. */
export function evenness(rows, settings, last = 5) {
  const recent = rows.slice(-last);
  if (!recent.length || settings.n_s < 2 || recent.some((row) => row.n_s !== settings.n_s)) return null;
  return mean(recent, "entropy") / Math.log(settings.n_s);
}

/** The same of the generated features that the page follows, where no step has these settings yet. */
function followed(now) {
  let entropy = 0,
    largest = 0;
  for (let i = 0; i < now.w.length; i += now.n) {
    const shares = now.w.subarray(i, i + now.n);
    largest += (Math.max(...shares) * now.n) / now.w.length;
    for (const share of shares) if (share > 0) entropy -= (share * Math.log(share) * now.n) / now.w.length;
  }
  return { even: entropy / Math.log(now.n), top: largest };
}

/** What happens to w, in one sentence, and whether it copies. */
export function headline(rows, settings, step, now) {
  const { n_s: n, oversampler } = settings,
    measured = evenness(rows, settings);
  if (n === 1)
    return { text: "One real feature, with all of the share: there is nothing to mix.", copies: true };
  if (oversampler === "random_oversampling")
    return {
      text: "Random oversampling: each “new” feature is one real one, copied. Nothing is learned.",
      copies: true,
    };
  if (oversampler === "uniform_weights")
    return {
      text: `Uniform: each new feature is the mean of ${n} real ones. Nothing is learned.`,
      copies: false,
    };
  if (oversampler === "dirichlet_weights")
    return {
      text: `Dirichlet(1): the shares of the ${n} real ones are drawn by lot. Nothing is learned.`,
      copies: false,
    };
  if (!step)
    return {
      text: `Before training, G gives each of the ${n} real ones about the same share: ${percent(1 / n)}.`,
      copies: false,
    };
  const { even, top } =
    measured === null ? followed(now) : { even: measured, top: mean(rows.slice(-5), "max_weight") };
  if (even > EVEN)
    return {
      text: `It mixes: the largest of the ${n} shares is ${percent(top)} on average; an even mix has ${percent(1 / n)}.`,
      copies: false,
    };
  if (even > COPIED)
    return {
      text: `The mix falls: one of the ${n} real ones now takes ${percent(top)} on average.`,
      copies: false,
    };
  return {
    text: `It copies: one real feature has ${percent(top)} of the share. G has learned random oversampling.`,
    copies: true,
  };
}

/** What a teacher would call out, as in the lab's alarms. */
export function alarms(rows, now, wanted) {
  const recent = rows.slice(-RECENT),
    said = [];
  if (recent.length && recent.every((row) => row.score_real !== undefined)) {
    const real = mean(recent, "score_real"),
      made = mean(recent, "score_generated");
    if (real > 0.9 && made < 0.1) {
      said.push(
        `D always wins: it scores real features ${fixed(real)} and new ones ${fixed(made)}. Train G faster or D slower.`,
      );
    }
  }
  const astray = now.nearest.filter((label, i) => label !== wanted[i]).length / wanted.length;
  if (astray > 0.1)
    said.push(
      `New features leave their class: ${percent(astray)} of them have their nearest real one in another.`,
    );
  return said;
}

/** Mean recall of all classes, and of the rarest fifth. */
export function recallOf(recall, counts) {
  const order = counts.map((_, c) => c).sort((a, b) => counts[b] - counts[a] || a - b);
  const tail = order.slice(-Math.max(1, Math.round(0.2 * counts.length)));
  const average = (classes) => classes.reduce((sum, c) => sum + recall[c], 0) / classes.length;
  return { all: average(order), tail: average(tail), rarest: order.at(-1), head: order[0] };
}

/** The entropy curve in words. */
export function entropySaid(rows, settings) {
  if (!rows.length)
    return `Evenness of w: no step yet. The even mix has entropy ${fixed(Math.log(settings.n_s))}.`;
  const first = rows.findIndex((row) => row.n_s > 1 && row.entropy < COPIED * Math.log(row.n_s));
  const fell =
    first < 0 ? "It has not fallen to a copy." : `It first fell below a tenth of that at step ${first + 1}.`;
  return `Evenness of w over ${rows.length} steps: entropy ${fixed(rows.at(-1).entropy)} now, ${fixed(Math.log(settings.n_s))} for an even mix. ${fell}`;
}

/** The losses in words. */
export function lossesSaid(rows) {
  const last = rows.at(-1);
  if (!last) return "Losses: no step yet.";
  const of = (name, words) => (last[name] === undefined ? "" : `${words} ${fixed(last[name], 3)}; `);
  return `Losses at step ${rows.length}: ${of("loss_d", "D")}${of("loss_adv", "G, look real")}${of("loss_asc", "G, stay in class")}${of("loss_cls", "classifier")}`.replace(
    /; $/,
    ".",
  );
}

/** The map in words. */
export function mapSaid(fixedPart, now, pick) {
  const name = fixedPart.names[fixedPart.wanted[pick]],
    shares = now.w.subarray(pick * now.n, (pick + 1) * now.n);
  const top = Math.max(...shares);
  return (
    `Map of ${fixedPart.labels.length} real and ${fixedPart.wanted.length} new features. The one followed, of class ${name}, ` +
    `lies among its ${now.n} real ones; the largest share is ${percent(top)}.`
  );
}
