"""Plants faults in a copy of the package, one at a time, and says which of them no test notices.

    python -m tests.mutants                    # all, half an hour and more
    python -m tests.mutants metrics.py phase1.py
    python -m tests.mutants --check            # whether each can still be planted; runs no test

Run by hand, after a change of tests; `make test` leaves it out. A fault is data: a file of the
package by its name or the end of its path; a text that occurs there once; what takes its place.
Where code moved or changed, the fault is reported as stale: change the file or the text here. A
fault that survives is a test that is missing: write it, in the test file of the same name.
"""

from __future__ import annotations

import argparse
import importlib
import multiprocessing
import os
import re
import shutil
import sys
import tempfile
import time
from pathlib import Path
from typing import Any, NamedTuple

import pytest

ROOT = Path(__file__).parents[1]
LEFT_OUT = (".git", ".venv", "outputs", "docs", "*cache*", "__pycache__")
PASS: set[str] = set()  # tests that are known to pass without a fault
SECONDS = 900  # a fault that makes its tests run longer is found
# What takes seconds to import, and is none of the package's: once, before processes are forked.
SLOW = ("torch", "torchvision.transforms", "sklearn.metrics", "imblearn", "pandas", "papermill")


class Fault(NamedTuple):
    """A fault.

    Attributes:
        file: of the package.
        old: a text that occurs in it once.
        new: what takes its place.
    """

    file: str
    old: str
    new: str

    def __str__(self) -> str:
        old, new = (" ".join(text.split()) for text in (self.old, self.new))
        return f"{self.file}: {old}  →  {new or 'nothing'}"


# The tests of a file are those of its name, in whichever folder, and the table of constants; here,
# what concerns it too.
BESIDES = {
    "cgan.py": ["generator"],
    "contrastive.py": ["objectives"],
    "divergence.py": ["faults/test_numbers"],
    "facog_attention.py": ["generator"],
    "generator.py": ["phase2", "loss_terms"],
    "geometry.py": ["ops", "views"],
    "head_loop.py": ["heads"],
    "load.py": ["long_tail"],
    "long_tail.py": ["load"],
    "nulls.py": ["generator"],
    "objectives.py": ["phase1", "rival_losses"],
    "parameters.py": ["settings_table", "notebooks/test_run_keys"],
    "per_sample.py": ["ops", "views"],
    "phase1.py": ["loss_terms", "objectives"],
    "presets.py": ["parameters", "settings_table", "notebooks/test_run_keys"],
    "builtin.py": ["presets", "load"],
    "checkpoint.py": ["phase1", "phase2"],
    "extract.py": ["dictionary"],
    "refit.py": ["heads"],
    "rivals/losses.py": ["rival_losses"],
    "settings.py": ["generator", "phase1", "phase2", "rival_losses"],
    "stages.py": ["replay"],
    "tailcalib.py": ["generator"],
    "training.py": ["stages"],
    "verify.py": ["replay"],
}

FAULTS = [
    # rng: streams and seeds
    Fault("rng.py", '"\\x1f".join(map(str, keys))', '"".join(map(str, keys))'),
    Fault("rng.py", "torch.default_generator.manual_seed(", "torch.manual_seed("),
    Fault("rng.py", "derive_seed(seed, epoch, stream)", "derive_seed(seed, stream)"),
    Fault("rng.py", "derive_seed(seed, epoch, stream)", "derive_seed(seed, epoch)"),
    Fault("rng.py", "_shift(bits, 40).float() / 2**24", "_shift(bits, 41).float() / 2**24"),
    Fault("rng.py", "columns = torch.arange(1, n + 1", "columns = torch.arange(0, n"),
    # metrics: borders, axes, means
    Fault("metrics.py", "recall[counts > MANY_ABOVE]", "recall[counts >= MANY_ABOVE]"),
    Fault("metrics.py", "(counts >= FEW_BELOW)", "(counts > FEW_BELOW)"),
    Fault("metrics.py", "recall[counts < FEW_BELOW]", "recall[counts <= FEW_BELOW]"),
    Fault("metrics.py", "(counts <= MANY_ABOVE) &", "(counts < MANY_ABOVE) &"),
    Fault("metrics.py", "MANY_ABOVE, FEW_BELOW = 100, 20", "MANY_ABOVE, FEW_BELOW = 101, 20"),
    Fault("metrics.py", "MANY_ABOVE, FEW_BELOW = 100, 20", "MANY_ABOVE, FEW_BELOW = 100, 19"),
    Fault("metrics.py", "share: float = 0.2", "share: float = 0.25"),
    Fault("metrics.py", "max(1, round(share * len(order)))", "max(1, int(share * len(order)))"),
    Fault("metrics.py", "descending=True, stable=True", "descending=False, stable=True"),
    Fault("metrics.py", "values.log().mean()", "values.log().sum()"),
    Fault("metrics.py", "top1=len(right) / len(labels)", "top1=recall.mean().item()"),
    Fault("metrics.py", "entr(weights).sum(1)", "entr(weights).sum(0)"),
    # losses: signs, candidates, detached gradients
    Fault("losses.py", "    real = real.detach()\n", ""),
    Fault("losses.py", "clamp(min=1)\n    return -(log_prob", "clamp(min=1)\n    return (log_prob"),
    Fault("losses.py", "(log_probability.sum(1) / positives).mean()",
          "(log_probability.sum(1) / positives).sum()"),
    Fault("losses.py", "(1 - real_scores).square()", "real_scores.square()"),
    Fault("losses.py", "return (1 - generated_scores).square()",
          "return generated_scores.square()"),
    Fault("losses.py", "torch.cat([labels, real_labels]),\n        own_rows,",
          "torch.cat([labels, real_labels]),\n        None,"),
    Fault("losses.py", ".logsumexp(1, keepdim=True)", ".logsumexp(0, keepdim=True)"),
    Fault("losses.py", "embeddings @ candidates.T / temperature",
          "embeddings @ candidates.T * temperature"),
    Fault("losses.py", "(weights * len(weights) / weights.sum())", "(weights / weights.sum())"),
    Fault("losses.py", "effective_number_beta ** class_counts.double()",
          "effective_number_beta ** (class_counts.double() - 1)"),
    # models
    Fault("models.py", "nn.LeakyReLU(0.1)", "nn.LeakyReLU(0.2)"),
    Fault("models.py", "nn.LeakyReLU(0.1)", "nn.ReLU()"),
    Fault("models.py", "hidden: tuple[int, ...] = (256, 128)",
          "hidden: tuple[int, ...] = (128, 256)"),
    Fault("models.py", "logits[:, : features.shape[1]].softmax(1)",
          "logits.softmax(1)[:, : features.shape[1]]"),
    Fault("models.py", "batch_norm: bool = False,\n        noise_dim: int = 100",
          "batch_norm: bool = False,\n        noise_dim: int = 64"),
    Fault("models.py", "F.normalize(self.projector(features), dim=1)",
          "F.normalize(self.projector(features), dim=0)"),
    Fault("models.py", '"resnet32": (5, 5, 5)', '"resnet32": (5, 5, 4)'),
    Fault("models.py", "half = self.new_channels // 2", "half = 0"),
    Fault("objectives.py", "return self.scale * F.linear", "return F.linear"),
    Fault("models.py", "x.mean((2, 3))", "x.amax((2, 3))"),
    Fault("models.py", "nn.Linear(inputs, inputs), nn.ReLU()",
          "nn.Linear(inputs, inputs), nn.Tanh()"),
    # phase 1
    Fault("settings.py", "momentum: float = Field(0.9", "momentum: float = Field(0.8"),
    Fault("phase1.py", '"weight_decay": config.weight_decay', '"weight_decay": 0.0'),
    Fault("settings.py", "warmup_epochs: int = Field(5", "warmup_epochs: int = Field(4"),
    Fault("phase1.py", "config.lr * (step + 1)", "config.lr * step"),
    Fault("phase1.py", "0.01 if done >= 0.8", "0.01 if done > 0.8"),
    Fault("phase1.py", "0.1 if done >= 0.6", "0.1 if done >= 0.5"),
    Fault("phase1.py", "done = math.floor(epoch) / config.epochs",
          "done = (math.floor(epoch) + 1) / config.epochs"),
    Fault("phase1.py", "(1 + math.cos(math.pi * after)) / 2", "math.cos(math.pi * after / 2)"),
    Fault("phase1.py", '"order", epoch)', '"order", 0)'),
    Fault("phase1.py", "if self._order[0] != epoch:", "if self._order[0] < 0:"),
    Fault("phase1.py", "min(self.step, self.total_steps - 1) //", "self.step //"),
    Fault("phase1.py", "        self.model.train()\n        loss,",
          "        self.model.eval()\n        loss,"),
    Fault("phase1.py", "self.sums += self.measured * len(labels)", "self.sums += self.measured"),
    Fault("phase1.py", "recall = self.right.cpu() / self.data.class_counts",
          "recall = self.right.cpu() / len(self.labels)"),
    Fault("phase1.py", "math.ceil(len(self.labels) / config.batch_size)",
          "math.floor(len(self.labels) / config.batch_size)"),
    Fault("phase1.py", "[*self.model.parameters(), *self.objective.parameters()]",
          "[*self.model.backbone.parameters(), *self.model.classifier.parameters()]"),
    Fault("phase1.py", "make_views(images, r, view=v, ", "make_views(images, r, "),
    Fault("phase1.py", '"epoch": epoch, "index": index', '"epoch": 0, "index": index'),
    Fault("phase1.py", 'seeded(config.seed, "phase1", "weights")',
          'seeded(0, "phase1", "weights")'),
    Fault("phase1.py", 'self.config.seed, "objective", self.step', 'self.config.seed, "objective"'),
    # what phase 1 minimises
    Fault("objectives.py", "alpha = 1 - (epoch / self.config.epochs) ** 2",
          "alpha = 1 - (epoch / self.config.epochs)"),
    Fault("phase1.py", "for_ce = for_ce.detach()", "for_ce = for_ce"),
    Fault("phase1.py", "(features[:1], features[1:])", "(features[:1], features[:2])"),
    Fault("phase1.py", "loss = loss + lambda_sc * sc", "loss = loss + sc"),
    Fault("phase1.py", '[regular, "simaugment", "simaugment"]',
          '[regular, regular, "simaugment"]'),
    Fault("contrastive.py", "MEMORY = 0.9", "MEMORY = 0.5"),
    Fault("objectives.py", "epoch >= math.ceil(0.8 * epochs)",
          "epoch > math.ceil(0.8 * epochs)"),
    Fault("objectives.py", "epoch >= math.ceil(0.8 * epochs)",
          "epoch >= math.ceil(0.7 * epochs)"),
    Fault("rivals/losses.py", "class_counts.double() ** -0.25",
          "class_counts.double() ** -0.5"),
    Fault("rivals/losses.py", "logits - scale * own * margins",
          "logits + scale * own * margins"),
    Fault("rivals/losses.py", "logits + prior.log()", "logits - prior.log()"),
    Fault("rivals/losses.py", "LDAM_MARGIN, LDAM_SCALE = 0.5, 30.0",
          "LDAM_MARGIN, LDAM_SCALE = 0.5, 10.0"),
    Fault("settings.py", "effective_number_beta: float = Field(0.9999",
          "effective_number_beta: float = Field(0.999"),
    Fault("contrastive.py", "K_POSITIVES = 6", "K_POSITIVES = 5"),
    Fault("contrastive.py", "own.roll(rows // 2, 1)", "own.roll(1, 1)"),
    # views
    Fault("views.py", "Recipe(padding=4, flip=0.5, autoaugment=",
          "Recipe(padding=3, flip=0.5, autoaugment="),
    Fault("views.py", 'autoaugment="cifar10", cutout=16', 'autoaugment="cifar10", cutout=8'),
    Fault("views.py", "area=(0.2, 1.0)", "area=(0.08, 1.0)"),
    Fault("views.py", "jitter=0.8, strengths=(0.4, 0.4, 0.4, 0.1)",
          "jitter=1.0, strengths=(0.4, 0.4, 0.4, 0.1)"),
    Fault("views.py", "grey=0.2, blur=0.5", "grey=0.5, blur=0.2"),
    Fault("views.py", "(0.1, 2.0)  # its least", "(0.5, 2.0)  # its least"),
    Fault("views.py", 'f"{operation}/{view}"', 'f"{operation}"'),
    Fault("geometry.py", "(u * (2 * padding + 1)).long()", "(u * (2 * padding)).long()"),
    Fault("geometry.py", "(u * side).long() - hole // 2", "(u * side).long()"),
    Fault("views.py", "            x = x.clone()\n", "            pass\n"),
    Fault("views.py", "x.sub_(centre).div_(scale)", "x.sub_(centre).mul_(scale)"),
    Fault("geometry.py", "scale.clamp(min=1)", "torch.ones_like(scale)"),
    Fault("per_sample.py", "return images.index_copy_(0, rows,",
          "return images.index_copy(0, rows * 0,"),
    # data
    Fault("long_tail.py", "500, 350, 200, 100, 60, 40)", "500, 350, 200, 100, 60, 50)"),
    Fault("long_tail.py", "largest, last = max(available), max(1, len(available) - 1)",
          "largest, last = max(available), max(1, len(available))"),
    Fault("load.py", "places[:800]", "places[:1000]"),
    Fault("long_tail.py", 'rng_for("cpu", "split", name, split_seed)',
          'rng_for("cpu", "split", name, 0)'),
    # the dictionary
    Fault("dictionary.py", "last = size - n_s + slot", "last = size - n_s"),
    Fault("dictionary.py", "chosen.gather(1, shuffle)", "chosen"),
    Fault("extract.py", "phase1.model.eval()", "phase1.model.train()"),
    Fault("extract.py", 'seed=derive_seed(seed, "dictionary")', "seed=0"),
    Fault("extract.py", "view=number", "view=0"),
    Fault("extract.py", 'recipes = [("clean", 0, 0)]',
          'recipes = [(phase1.config.augmentation, 0, 0)]'),
    Fault("dictionary.py", "!= self.image_index[row])", "== self.image_index)"),
    # the generator and the nulls
    Fault("generator.py", "momentum=0.9, weight_decay=1e-4", "momentum=0.5, weight_decay=1e-4"),
    Fault("generator.py", "momentum=0.9, weight_decay=1e-4", "momentum=0.9, weight_decay=0.0"),
    Fault("generator.py", "betas=(0.5, 0.999)", "betas=(0.9, 0.999)"),
    Fault("generator.py",
          "self.discriminator_step(controls, rng) | self.generator_step(controls, rng)",
          "self.generator_step(controls, rng) | self.discriminator_step(controls, rng)"),
    Fault("generator.py", "        with torch.no_grad():\n            fake = self.generate(",
          "        with torch.enable_grad():\n            fake = self.generate("),
    Fault("generator.py", "controls.lambda_adv * adv + controls.lambda_asc * asc",
          "controls.lambda_adv * adv - controls.lambda_asc * asc"),
    Fault("generator.py",
          "torch.randint(dictionary.num_classes, (size,), generator=rng, device=device)",
          "dictionary.labels[torch.randint(len(dictionary.labels), (size,), generator=rng)]"),
    Fault("nulls.py", "_one_hot(draws.argmax(1), draws)", "_one_hot(draws.argmin(1) * 0, draws)"),
    Fault("nulls.py", "ConvexNull(given.references(), torch.ones_like)",
          "ConvexNull(given.references(), lambda draws: draws)"),
    Fault("nulls.py", "exponential_(generator=rng)", "uniform_(generator=rng)"),
    Fault("generator.py", 'group["lr"], parameters = lr, group["params"]',
          'parameters = group["params"]'),
    Fault("dictionary.py", "return self.sets[labels, :n_s]", "return self.sets[labels, -n_s:]"),
    Fault("generator.py", "            controls.temperature,\n", "            0.2,\n"),
    # phase 2
    Fault("phase2.py", "counts.max() - counts", "counts.max() - counts + 1"),
    Fault("phase2.py", '"inverse": -1', '"inverse": -0.5'),
    Fault("phase2.py", 'make_optimizer(self.classifier, "sgd")',
          'make_optimizer(self.classifier, "adam")'),
    Fault("phase2.py", 'seed, "classifier", self.step)', 'seed, "oversampler", self.step)'),
    Fault("phase2.py", "len(self.dictionary.labels), (size,), generator",
          "len(self.dictionary.labels) // 2, (size,), generator"),
    Fault("phase2.py", "        with torch.no_grad():\n            generated =",
          "        with torch.enable_grad():\n            generated ="),
    Fault("phase2.py", "math.ceil(images / config.batch_size)",
          "math.floor(images / config.batch_size)"),
    Fault("phase2.py", "return (generated + rows / rows.sum()) / 2",
          "return generated + rows / rows.sum()"),
    Fault("phase2.py", "ends_epoch = batch == self.steps_per_epoch - 1", "ends_epoch = batch == 0"),
    Fault("settings.py", "Field(128, ge=2, le=65_536, description=\"of G",
          "Field(64, ge=2, le=65_536, description=\"of G"),
    Fault("settings.py", 'lambda_asc: float = Field(0.1', 'lambda_asc: float = Field(0.2'),
    Fault("settings.py", 'lr_classifier: float = Field(0.005', 'lr_classifier: float = Field(0.01'),
    Fault("settings.py", '"d_and_g": ("d", "g")', '"d_and_g": ("d",)'),
    Fault("generator.py", "copy.deepcopy(given.projector).to", "given.projector.to"),
    Fault("generator.py", "config.batch_size, config.asc_candidates", 'config.batch_size, "both"'),
    Fault("generator.py", 'seeded(self.config.seed, "phase2", "weights")',
          'seeded(0, "phase2", "weights")'),
    Fault("generator.py", 'self.config.seed, "references")', '"references")'),
    # the rivals
    Fault("cgan.py", "LR, BATCH = 2e-4, 32", "LR, BATCH = 2e-3, 32"),
    Fault("cgan.py", "LR, BATCH = 2e-4, 32", "LR, BATCH = 2e-4, 64"),
    Fault("cgan.py", "others = 1 - F.one_hot", "others = F.one_hot"),
    Fault("facog_attention.py", "features, a - b)", "features, b - a)"),
    Fault("tailcalib.py", "K = 3  #", "K = 2  #"),
    Fault("tailcalib.py", "self.deviation[near] / self.k**0.5", "self.deviation[near] / self.k"),
    Fault("smote.py", "K = 5  #", "K = 4  #"),
    Fault("smote.py", "torch.stack([1 - u, u], 1)", "torch.stack([u, u], 1)"),
    Fault("smote.py", "(others >= m / 2) & (others < m)", "(others > m / 2) & (others < m)"),
    Fault("heads.py", '"lr": 0.2,\n', '"lr": 0.1,\n'),
    Fault("heads.py", "classifier[-1], lengths(classifier) ** -tau",
          "classifier[-1], lengths(classifier) ** tau"),
    Fault("heads.py", "HELD_OUT = 0.2", "HELD_OUT = 0.5"),
    Fault("refit.py", 'seeded(config.seed, "head", "weights")',
          'seeded(0, "head", "weights")'),
    Fault("head_loop.py", 'rng_for(device, seed, "head", step)',
          'rng_for(device, seed, "head", 0)'),
    Fault("head_loop.py", 'seeded(seed, "head", "weights")', 'seeded(0, "head", "weights")'),
    Fault("heads.py", '"fits": "scales", "epochs": 5', '"fits": "scales", "epochs": 10'),
    # presets, runs, replay
    Fault("presets.py", '"warmup_epochs": 3', '"warmup_epochs": 5'),
    Fault("builtin.py", '{"epochs": 100, "batch_size": 64}', '{"epochs": 100}'),
    Fault("builtin.py", '({"epochs": 160}, {"epochs": 40})', '({"epochs": 200}, {"epochs": 40})'),
    Fault("parameters.py", 'return str(value) == "None"', "return value is None"),
    Fault("stages.py", 'get("entropy", [])[-loop.steps_per_epoch :]',
          'get("entropy", [])[: loop.steps_per_epoch]'),
    Fault("replay.py", "if length is not None and length < 1:",
          "if length is not None and length < -5:"),
    Fault("replay.py", "for step in range(loop.step + 1, until + 1):",
          "for step in range(loop.step + 1, until):"),
    Fault("verify.py", 'if name not in now or value != now[name]', "if name not in now"),
    Fault("store.py", "digest(FORMAT, config.model_dump(mode=\"json\"), upstream)",
          "digest(FORMAT, config.model_dump(mode=\"json\"))"),
    Fault("diagnostics.py", "if found.acsa >= UNDERFIT:", "if found.top1 >= UNDERFIT:"),
    Fault("diagnostics.py", "UNDERFIT = 0.6", "UNDERFIT = 0.5"),
    Fault("diagnostics.py", "(place < dictionary.class_counts[labels])", "(place >= 0)"),
    Fault("paired.py", "gain = len(differences), 100 *", "gain = len(differences), -100 *"),
    Fault("paired.py", "np.arange(len(order), 0, -1)", "len(order)"),
    Fault("paired.py", "np.maximum.accumulate(steps)", "steps"),
    Fault("bootstrap.py", "@ values / images / len(classes)", "@ values / len(labels)"),
    Fault("ladder.py", ".cummax()", ""),
    Fault("ladder.py", "chance = spread[0] / len(seen) + spread[1] / len(unseen)", "chance = 0"),
    Fault("ceiling.py", "others[: max(0, int(images) - count)]", "others[: int(images)]"),
    Fault("ceiling.py", "count - len(others)", "count"),
    Fault("imagined.py", "variance = 1 + known.unsure if", "variance = known.unsure if"),
    Fault("imagined.py", "(known.means if move else of.means)", "of.means"),
]  # fmt: skip


# Forked processes have what is imported here.
CONTEXT: Any = multiprocessing.get_context(
    "fork" if "fork" in multiprocessing.get_all_start_methods() else "spawn"
)


class Outcome(NamedTuple):
    """What came of a fault: "found", "survived" or "stale", and where or why."""

    fault: Fault
    what: str
    why: str
    seconds: float


def place(fault: Fault, root: Path) -> tuple[Path, str]:
    """The file that a fault is planted in, and its text with the fault.

    Raises:
        LookupError: if there is no such file, or its text does not occur there once.
    """
    found = [path for path in (root / "facog_lab").rglob(fault.file) if path.is_file()]
    fits = [path for path in found if path.read_text(encoding="utf-8").count(fault.old) == 1]
    if len(fits) != 1:
        times = [path.read_text(encoding="utf-8").count(fault.old) for path in found]
        raise LookupError(f"{len(found)} files of this name, with {times} of this text")
    text = fits[0].read_text(encoding="utf-8").replace(fault.old, fault.new)
    compile(text, fault.file, "exec")
    return fits[0], text


def tests_of(fault: Fault, root: Path) -> list[str]:
    """The test files that concern a fault's file, the quickest first."""
    own = [] if "/" in fault.file else [fault.file.removesuffix(".py")]
    names = [*own, *BESIDES.get(fault.file, []), "constants"]
    ends = [f"{n}.py" if "/" in n else f"test_{n}.py" for n in names]
    found = [path for end in ends for path in sorted((root / "tests").rglob(end))]
    found = [str(path.relative_to(root)) for path in found if path.parent.name != "browser"]
    return list(dict.fromkeys(found))


def tried(fault: Fault, root: Path) -> Outcome:
    """Plants a fault in a copy of the project, runs its tests, and takes it out again."""
    began = time.monotonic()
    try:
        path, text = place(fault, root)
    except (LookupError, SyntaxError) as error:
        return Outcome(fault, "stale", str(error), 0.0)
    before = path.read_text(encoding="utf-8")
    path.write_text(text, encoding="utf-8")
    try:
        code, text = ended(tests_of(fault, root), root)
    finally:
        path.write_text(before, encoding="utf-8")
    seconds = time.monotonic() - began
    if code is None:
        return Outcome(fault, "found", f"its tests ran for {SECONDS} s", seconds)
    if code == 0:
        return Outcome(fault, "survived", ", ".join(tests_of(fault, root)), seconds)
    where = re.search(r"^(?:FAILED|ERROR) (.*?)(?: - .*)?$", text, re.M)
    if code not in (1, 2) or not where:  # no tests, or none that pytest could run
        return Outcome(fault, "stale", f"pytest ended with {code}: {text}", seconds)
    if where[1] not in PASS:
        if ended([where[1]], root)[0] == 1:
            return Outcome(fault, "stale", f"{where[1]} fails without it, too", seconds)
        PASS.add(where[1])
    return Outcome(fault, "found", where[1], seconds)


def ended(names: list[str], root: Path) -> tuple[int | None, str]:
    """What pytest ends with on some tests, None if it does not end in time; and what it says."""
    said = root / "said.txt"
    process = CONTEXT.Process(target=_tests, args=(names, root, said))
    process.start()
    process.join(SECONDS)
    if process.is_alive():
        process.kill()
        process.join()
        return None, ""
    return process.exitcode, said.read_text(encoding="utf-8")


def _tests(names: list[str], root: Path, said: Path) -> None:
    """In a process of its own: the exit code is pytest's."""
    with said.open("w") as file:
        os.dup2(file.fileno(), 1)
        os.dup2(file.fileno(), 2)
    os.chdir(root)
    own = {"PYTHONPATH": str(root), "OMP_NUM_THREADS": "1", "FACOG_OUTPUTS": str(root / "outputs")}
    os.environ.update(own)
    here = (ROOT, Path(__file__).parent)
    sys.path[:] = [str(root), *(p for p in sys.path if p and Path(p).resolve() not in here)]
    sys.dont_write_bytecode = True
    code = int(pytest.main(["-x", "-p", "no:cacheprovider", *names]))
    tested = Path(str(sys.modules["facog_lab"].__file__))
    sys.stdout.flush()
    os._exit(code if tested.is_relative_to(root.resolve()) else 4)


def main() -> int:
    """Tries the faults; 1 if one survived or cannot be planted."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("files", nargs="*", help="faults of these files alone")
    parser.add_argument("--check", action="store_true", help="whether each can be planted")
    parser.add_argument("--jobs", type=int, default=2, help="copies that run side by side")
    options = parser.parse_args()
    chosen = [f for f in FAULTS if not options.files or f.file in options.files]
    done: list[Outcome] = []
    if options.check:
        for fault in chosen:
            try:
                place(fault, ROOT)
            except (LookupError, SyntaxError) as error:
                done.append(Outcome(fault, "stale", str(error), 0.0))
    else:
        done = _all(chosen, options.jobs)
    bad = [outcome for outcome in done if outcome.what != "found"]
    for outcome in bad:
        print(f"{outcome.what}: {outcome.fault}\n    {outcome.why}")
    print(f"{len(chosen)} faults, {len(bad)} survived or stale")
    return int(bool(bad))


def _all(faults: list[Fault], jobs: int) -> list[Outcome]:
    """Tries faults side by side, each job in a copy of its own."""
    for name in SLOW:
        try:
            importlib.import_module(name)
        except ImportError:  # its tests skip, or say so
            continue
    outcomes: Any = CONTEXT.SimpleQueue()
    done: list[Outcome] = []
    with tempfile.TemporaryDirectory() as folder:
        workers = [
            CONTEXT.Process(target=_work, args=(faults[i::jobs], Path(folder) / str(i), outcomes))
            for i in range(min(jobs, len(faults)))
        ]
        for worker in workers:
            worker.start()
        while len(done) < len(faults):
            last = outcomes.get()
            done.append(last)
            number = f"[{len(done)}/{len(faults)}]"
            print(f"{number} {last.what}, {last.seconds:.0f} s: {last.fault}", flush=True)
            print(f"    {last.why}", flush=True)
        for worker in workers:
            worker.join()
    return done


def _work(faults: list[Fault], root: Path, outcomes: Any) -> None:
    shutil.copytree(ROOT, root, ignore=shutil.ignore_patterns(*LEFT_OUT))
    for fault in faults:
        outcomes.put(tried(fault, root))


if __name__ == "__main__":
    sys.exit(main())
