// The four stories: what to watch, runs of the present data and seed, and a sentence from what they gave.
import { defaults } from "../settings.js";
import { fixed, whole } from "./dom.js";
import { COPIED, EVEN, mean, recallOf } from "./words.js";

const percent = (share) => `${Math.round(100 * share)}%`;
const LITERAL_RATE = 0.2,
  LITERAL_STEPS = 800,
  OFF_STEPS = 600,
  AFTER = 40,
  MOST = 2000,
  ALIKE_STEPS = 200;

/** Runs until w copies, or for MOST steps; where the fall began and ended. */
async function collapse(stage, settings) {
  const share = Math.log(settings.n_s);
  const run = await stage.play({ settings, until: MOST, below: COPIED * share, speed: 80, slow: 12 });
  const begun = run.rows.findLastIndex((row) => row.entropy >= EVEN * share) + 1;
  const fell = run.rows.length > 0 && run.rows.at(-1).entropy < COPIED * share;
  return { ...run, begun, fell, share };
}

/** Each story: title, what to tell before, what to watch, legs for the progress bar, and `run`. */
export const STORIES = [
  {
    title: "1 The collapse",
    before: ({ settings }) =>
      `G begins with an even mix: each of the ${settings.n_s} real features has about the same share. ` +
      "Run it with the usual settings. How long does the even mix last?",
    watch: "Watch the bars of w, the curve of its evenness, and what D scores.",
    async run(stage) {
      const made = await collapse(stage, stage.settings),
        { rows } = made;
      const step = rows.length;
      if (!made.fell) {
        return (
          `In ${whole(step)} steps w did not fall to a copy: its entropy is ${fixed(rows.at(-1).entropy)} of ${fixed(made.share)}, ` +
          `the largest share ${percent(rows.at(-1).max_weight)}. Try another seed, or another learning rate of G.`
        );
      }
      const eve = rows.slice(Math.max(0, made.begun - 25), made.begun),
        now = await stage.more({ until: step + AFTER, speed: 80 });
      const last = now.rows.slice(-25),
        end = stage.recall(),
        start = stage.before();
      return (
        `The even mix lasted ${whole(made.begun)} steps; the fall took ${whole(step - made.begun)}. One real feature now has ` +
        `${percent(mean(last, "max_weight"))} of the share. Before the fall D told real features (${fixed(mean(eve, "score_real"))}) from ` +
        `new ones (${fixed(mean(eve, "score_generated"))}): mixes scatter less than real ones do. Now it scores them ` +
        `${fixed(mean(last, "score_real"))} and ${fixed(mean(last, "score_generated"))}: copies look real. Mean recall went from ` +
        `${fixed(start.all, 3)} to ${fixed(end.all, 3)}, that of the rarest classes from ${fixed(start.tail, 3)} to ${fixed(end.tail, 3)}.`
      );
    },
    legs: ["until w copies", "a little longer"],
  },
  {
    title: "2 “Look real” off, before and after",
    before: () =>
      `First λ_adv = 0 from the start, for ${OFF_STEPS} steps. Then the usual run to the collapse, and λ_adv = 0 only from there on. ` +
      "Does the order matter?",
    watch: "Watch the evenness of w, and “What pulls w”: is there anything that pulls it back?",
    async run(stage) {
      const { settings } = stage;
      const off = await stage.play({
        settings: { ...settings, lambda_adv: 0 },
        until: OFF_STEPS,
        speed: Infinity,
      });
      stage.keep("λ_adv = 0 from the start");
      const made = await collapse(stage, settings);
      const never = off.rows.at(-1).entropy,
        share = made.share;
      const first =
        `Off from the start: after ${OFF_STEPS} steps the entropy of w is ${fixed(never)} of ${fixed(share)}, ` +
        `${never > EVEN * share ? "still an even mix" : "no even mix any more"}. `;
      if (!made.fell)
        return `${first}The usual run did not collapse in ${whole(made.rows.length)} steps, so there is no “after”.`;
      const there = (await stage.more({ until: made.rows.length + AFTER, speed: Infinity })).rows.at(
        -1,
      ).entropy;
      stage.set("lambda_adv", 0);
      const { rows } = await stage.more({ until: made.rows.length + AFTER + OFF_STEPS, speed: Infinity });
      const back = rows.at(-1).entropy,
        last = rows.slice(-50),
        pull = mean(last, "pull_asc");
      const strongest = Math.max(...made.rows.map((row) => -row.pull_adv));
      const outcome =
        back > 0.5 * share
          ? "the mix came back"
          : back > there + 0.1 * share
            ? "it came back a little"
            : "it stays a copy";
      return (
        `${first}Off after the collapse: from ${fixed(there, 3)} to ${fixed(back, 3)} in as many steps: ${outcome}. “Stay in class” alone ` +
        `now pulls w ${pull > 0 ? "towards the mix" : "no way but to the copy"} by ${(1000 * Math.abs(pull)).toPrecision(2)} thousandths; in the fall “look real” pulled by up to ` +
        `${(1000 * strongest).toPrecision(2)}. With one share at ${percent(mean(last, "max_weight"))} the softmax hardly moves.`
      );
    },
    legs: [
      `λ_adv = 0 from the start, ${OFF_STEPS} steps`,
      "the usual run to the collapse",
      "a little longer",
      `λ_adv = 0 from here on, ${OFF_STEPS} steps`,
    ],
  },
  {
    title: "3 Generated batches alone",
    before: ({ names, counts }) => {
      const { head } = recallOf(
        counts.map(() => 0),
        counts,
      );
      return (
        `The paper’s sentence has the classifier learn from generated features alone. The largest class, ${names[head]}, is then never seen: its ` +
        `chance is N_max − N_c = 0. Both ways for ${LITERAL_STEPS} steps, with the classifier’s learning rate at ${LITERAL_RATE}, forty times the usual, so that it shows soon.`
      );
    },
    watch: ({ names, counts }) =>
      `Watch the recall of class ${
        names[
          recallOf(
            counts.map(() => 0),
            counts,
          ).head
        ]
      } in the classifier’s card.`,
    async run(stage) {
      const settings = { ...stage.settings, lr_classifier: LITERAL_RATE },
        { head } = stage.before(),
        name = stage.names[head];
      const start = stage.beforeOf(head);
      await stage.play({
        settings: { ...settings, classifier_batches: "literal" },
        until: LITERAL_STEPS,
        speed: Infinity,
      });
      const alone = { own: stage.recallOf(head), ...stage.recall() };
      stage.keep("generated alone");
      await stage.play({ settings, until: LITERAL_STEPS, speed: Infinity });
      const both = { own: stage.recallOf(head), ...stage.recall() };
      const lost = start - alone.own,
        verdict =
          lost > 0.1
            ? "it forgets what it no longer sees"
            : lost > 0.02
              ? "a little was lost"
              : "on these data it forgot nothing yet";
      return (
        `Class ${name}, recall ${fixed(start)} before. From generated features alone ${fixed(alone.own)}: ${verdict}. With as many real ones ` +
        `${fixed(both.own)}. Mean recall ${fixed(alone.all, 3)} against ${fixed(both.all, 3)}.`
      );
    },
    legs: [`generated alone, ${LITERAL_STEPS} steps`, `generated and real, ${LITERAL_STEPS} steps`],
  },
  {
    title: "4 One feature, n_s = 1",
    before: () =>
      `With n_s = 1 there is one share, and it is 1. FACoG and the three that learn nothing each take ${ALIKE_STEPS} steps on the same draws. ` +
      "How far apart will they end?",
    watch: "Watch the shares, and the recall at the end of each.",
    async run(stage) {
      const ends = [],
        ways = {
          facog: "FACoG",
          random_oversampling: "random",
          uniform_weights: "uniform",
          dirichlet_weights: "Dirichlet(1)",
        };
      for (const oversampler of Object.keys(ways)) {
        const { rows } = await stage.play({
          settings: { ...stage.settings, n_s: 1, oversampler },
          until: ALIKE_STEPS,
          speed: Infinity,
        });
        ends.push({
          loss: rows.at(-1).loss_cls,
          recall: stage.recall().all,
          w: rows.at(-1).max_weight,
          all: [...stage.now.recall],
        });
      }
      const losses = ends.map(({ loss }) => loss),
        apart = Math.max(...losses) - Math.min(...losses);
      const same = ends.every(({ all }) => all.every((value, c) => value === ends[0].all[c]));
      const recalls = Object.values(ways)
        .map((name, k) => `${name} ${fixed(ends[k].recall, 3)}`)
        .join(", ");
      return (
        `Mean recall: ${recalls}. The recall of every class is ${same ? "the same" : "not the same"} under all four, and the last losses lie ` +
        `${apart === 0 ? "0 apart: the same to the last digit" : `${apart.toExponential(1)} apart`}. The largest share was ${fixed(ends[0].w)} throughout: ` +
        "what G learns can make no difference here."
      );
    },
    legs: ["FACoG", "random", "uniform", "Dirichlet(1)"],
  },
];

/** The settings that stories start from: the usual ones, as far as the classes allow them. */
export function usual(counts) {
  const settings = defaults();
  if (counts.every((count) => count === counts[0])) settings.label_selection = "uniform";
  return settings;
}
